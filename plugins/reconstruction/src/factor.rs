//! Factorizations of symmetric, positive definite matrices, on one thread.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{MatMut, MatRef, Par};

/// Replaces the lower triangle of a symmetric matrix by its Cholesky factor.
///
/// # Errors
/// It is not positive definite; the index of the row where that shows.
pub(crate) fn cholesky(matrix: MatMut<'_, f64>) -> Result<(), usize> {
    let scratch = cholesky_in_place_scratch::<f64>(matrix.nrows(), Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    match cholesky_in_place(matrix, Default::default(), Par::Seq, stack, Default::default()) {
        Ok(_) => Ok(()),
        Err(LltError::NonPositivePivot { index }) => Err(index),
    }
}

/// Returns the upper triangular `U` with `U^T U = H^-1`, row by row, for a symmetric `H` of `n` columns.
///
/// With `J` the reversal of the order, `U = J chol(J H J)^-1 J`: one factorization and one triangular inverse, instead of the
/// factorization of an inverse. Frantar & Alistarh 2023 (arXiv:2301.00774), section 3.3, need the rows of `U`.
///
/// # Errors
/// `H` is not positive definite; the column where that shows.
pub(crate) fn inverse_factor(mut h: Vec<f64>, n: usize) -> Result<Vec<f64>, usize> {
    // The reversed numbers of a matrix are those of the matrix with its rows and columns reversed.
    h.reverse();
    cholesky(MatMut::from_column_major_slice_mut(&mut h, n, n)).map_err(|index| n - 1 - index)?;
    let mut inverse = vec![0.0; n * n];
    let lower = MatRef::from_column_major_slice(&h, n, n);
    invert_lower_triangular(MatMut::from_row_major_slice_mut(&mut inverse, n, n), lower, Par::Seq);
    inverse.reverse();
    Ok(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_upper_triangular_and_that_of_the_inverse() {
        let n = 5;
        let h: Vec<f64> =
            (0..n * n).map(|i| if i % (n + 1) == 0 { 3.0 } else { 1.0 / (1 + i / n + i % n) as f64 }).collect();
        let u = inverse_factor(h.clone(), n).unwrap();
        for i in 0..n {
            assert!((0..i).all(|j| u[i * n + j] == 0.0) && u[i * n + i] > 0.0);
            for j in 0..n {
                // H U^T U
                let inner = |k: usize| (0..n).map(|l| u[l * n + k] * u[l * n + j]).sum::<f64>();
                let entry: f64 = (0..n).map(|k| h[i * n + k] * inner(k)).sum();
                assert!((entry - f64::from(u8::from(i == j))).abs() < 1e-12, "{i} {j} {entry}");
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_names_its_column() {
        // From the last column on, column 1 is the first that others explain.
        let h = vec![2.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        assert_eq!(inverse_factor(h, 3), Err(1));
    }
}
