//! The sweep that [`Obs`](crate::Obs) and [`SparseGpt`](crate::SparseGpt) share: [`sweep`].

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::Range;

/// Chooses the mask while a sweep is under way. The unit `()` leaves it as it is given.
pub(crate) trait Choose {
    /// Changes the mask of some columns before the first of them is swept. Both matrices are those of the whole layer.
    fn block(&self, _columns: Range<usize>, _weight: &[f64], _keep: &mut [bool]) {}

    /// Changes the mask of one row before `column` is swept.
    fn column(&self, _column: usize, _weight: &[f64], _keep: &mut [bool]) {}
}

impl Choose for () {}

/// Removes weights column by column, and lets the columns after each make up for it.
///
/// `weight` is `[rows, cols]`, row by row, and `factor` the upper triangular `U` with `U^T U = H^-1`: a removed weight `w` of column `j`
/// adds `-w / U_jj * U_jk` to every later column `k` of its row (Frantar & Alistarh 2023, arXiv:2301.00774, algorithm 1). Columns of
/// a block are updated at once, those after it by one product of matrices; the result is the same but for rounding.
pub(crate) fn sweep(
    weight: &mut [f64],
    keep: &mut [bool],
    (factor, cols): (&[f64], usize),
    block: usize,
    choose: &impl Choose,
) {
    let rows = weight.len() / cols;
    let block = block.min(cols);
    let mut errors = vec![0.0; rows * block];
    for start in (0..cols).step_by(block) {
        let end = (start + block).min(cols);
        choose.block(start..end, weight, keep);
        let errors = &mut errors[..rows * (end - start)];
        errors.fill(0.0);
        let lines = weight.chunks_exact_mut(cols).zip(keep.chunks_exact_mut(cols));
        for ((weight, keep), errors) in lines.zip(errors.chunks_exact_mut(end - start)) {
            for column in start..end {
                choose.column(column, weight, keep);
                if keep[column] {
                    continue;
                }
                let line = &factor[column * cols + column..column * cols + end];
                let error = weight[column] / line[0];
                weight[column] = 0.0;
                errors[column - start] = error;
                weight[column + 1..end].iter_mut().zip(&line[1..]).for_each(|(w, u)| *w -= error * u);
            }
        }
        if end < cols {
            let (width, after) = (end - start, cols - end);
            let errors = MatRef::from_row_major_slice(errors, rows, width);
            let lines = MatRef::from_row_major_slice(factor, cols, cols).submatrix(start, end, width, after);
            // Not `from_row_major_slice_with_stride_mut`: in faer 0.24.4 it confuses the strides, and writes past the slice.
            let later = MatMut::from_row_major_slice_mut(weight, rows, cols).submatrix_mut(0, end, rows, after);
            matmul(later, Accum::Add, errors, lines, -1.0, Par::Seq);
        }
    }
}
