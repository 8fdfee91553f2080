//! Matrices with their axes the other way round: [`turned`].

use transpose::transpose;

/// Transposes a matrix `[rows, cols]` of elements of 1, 2, 4 or 8 bytes.
pub(crate) fn turned(bytes: Vec<u8>, rows: usize, cols: usize) -> Vec<u8> {
    // A single row or column lies in memory like its transpose.
    if rows <= 1 || cols <= 1 {
        return bytes;
    }
    match bytes.len() / (rows * cols) {
        8 => of::<8>(&bytes, rows, cols),
        4 => of::<4>(&bytes, rows, cols),
        2 => of::<2>(&bytes, rows, cols),
        _ => of::<1>(&bytes, rows, cols),
    }
}

fn of<const N: usize>(bytes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let mut out = vec![0; bytes.len()];
    transpose(bytes.as_chunks::<N>().0, out.as_chunks_mut::<N>().0, cols, rows);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        assert_eq!(turned(vec![1, 2, 3, 4, 5, 6], 2, 3), [1, 4, 2, 5, 3, 6]);
        assert_eq!(turned(vec![1, 1, 2, 2, 3, 3, 4, 4], 2, 2), [1, 1, 3, 3, 2, 2, 4, 4]);
        let bytes: Vec<u8> = (0..=255).cycle().take(4 * 70 * 33).collect();
        assert_eq!(turned(turned(bytes.clone(), 70, 33), 33, 70), bytes);
        assert!(turned(Vec::new(), 0, 3).is_empty());
    }
}
