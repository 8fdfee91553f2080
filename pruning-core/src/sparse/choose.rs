//! Which format suits a matrix.

use super::packed::check_pattern;
use super::{Dense, Element, Format};

/// N:M patterns and blocks that are tried.
const PATTERNS: [(usize, usize); 4] = [(1, 4), (2, 8), (2, 4), (4, 8)];
const BLOCKS: [(usize, usize); 3] = [(4, 4), (8, 8), (16, 16)];

/// The format whose arrays take the fewest bytes for a matrix; the first one of [`Format`]'s order where several do.
///
/// Tried are dense, COO, CSR, bitmap, N:M for 1:4, 2:8, 2:4 and 4:8 where the matrix respects them, and square blocks of 4, 8 and 16
/// where they fill it.
#[must_use]
pub fn smallest<T: Element>(dense: &Dense<T>) -> Format {
    let (rows, cols, nonzeros) = (dense.rows(), dense.cols(), dense.nonzeros());
    let csr = if cols <= 1 << 16 { Format::Csr16 } else { Format::Csr32 };
    let mut candidates: Vec<_> = [Format::Dense, Format::Coo, csr, Format::Bitmap].map(|f| (f, nonzeros)).to_vec();
    for (n, m) in PATTERNS {
        if respects(dense, n, m) {
            candidates.push((Format::Packed { n, m }, nonzeros));
        }
    }
    for (height, width) in BLOCKS {
        if rows.is_multiple_of(height) && cols.is_multiple_of(width) {
            candidates.push((Format::Blocks { height, width }, blocks(dense, height, width)));
        }
    }
    let bytes = |&(format, stored): &(Format, usize)| format.bytes(rows, cols, stored, T::BYTES);
    // The first of equal ones.
    candidates.iter().min_by_key(|c| bytes(c)).map_or(Format::Dense, |c| c.0)
}

/// Whether every group of `m` columns has at most `n` values.
pub(crate) fn respects<T: Element>(dense: &Dense<T>, n: usize, m: usize) -> bool {
    let fits = |group: &[T]| group.iter().filter(|v| !v.is_zero()).count() <= n;
    check_pattern(dense.cols(), n, m).is_ok() && dense.values().chunks_exact(m).all(fits)
}

/// Blocks that are not all zero.
fn blocks<T: Element>(dense: &Dense<T>, height: usize, width: usize) -> usize {
    let across = dense.cols() / width;
    let mut seen = vec![false; dense.rows() / height * across];
    dense.for_each(|row, col, _| seen[row / height * across + col / width] = true);
    seen.into_iter().filter(|&s| s).count()
}
