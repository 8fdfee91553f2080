//! What a Gram matrix tells without a solve: dead inputs, and the error of a layer's output.

use pulp::Arch;

/// Rows of weights that share one pass over the Gram matrix.
const ROWS: usize = 4;
/// Sums that run side by side, so that the compiler can use vectors.
const LANES: usize = 8;

/// Returns the input columns that were zero in every row of a calibration: those whose entry of the diagonal is exactly 0.
///
/// `gram` is `[cols, cols]`, row by row.
///
/// ```
/// use pruning_core::reconstruct::dead_columns;
/// assert_eq!(dead_columns(&[1.0, 0.0, 0.0, 0.0], 2), [1]);
/// ```
///
/// # Panics
/// `gram` has another length.
#[must_use]
pub fn dead_columns(gram: &[f64], cols: usize) -> Vec<usize> {
    assert_eq!(gram.len(), cols * cols, "a Gram matrix has a row and a column for each input");
    (0..cols).filter(|c| gram[c * cols + c] == 0.0).collect()
}

/// Returns the squared error of a layer's output, relative to its size: `tr(D G D^T) / tr(W G W^T)` with `D = W - W'`.
///
/// `weight` are the weights `W` before and `new` the weights `W'` after, both `[rows, cols]`, row by row. `gram` is the Gram matrix `G`
/// `[cols, cols]` of the inputs, at any scale; it must be symmetric. The result is 0 for an output that stays the same, and infinite where
/// an output that was always 0 is 0 no longer. It costs `rows * cols^2 / 2` products for each of the two traces.
///
/// ```
/// use pruning_core::reconstruct::output_error;
/// // Two inputs that do not correlate: the smaller weight is a fifth of the squared output.
/// assert_eq!(output_error(&[2.0, 1.0], &[2.0, 0.0], &[3.0, 0.0, 0.0, 3.0], 1, 2), 0.2);
/// ```
///
/// # Panics
/// A slice has another length.
#[must_use]
pub fn output_error(weight: &[f64], new: &[f64], gram: &[f64], rows: usize, cols: usize) -> f64 {
    assert_eq!((weight.len(), new.len()), (rows * cols, rows * cols), "both weights are [rows, cols]");
    assert_eq!(gram.len(), cols * cols, "a Gram matrix has a row and a column for each input");
    let difference: Vec<f64> = weight.iter().zip(new).map(|(w, n)| w - n).collect();
    let error = trace(&difference, gram, cols);
    // Rounding can take a sum of squares below zero.
    if error <= 0.0 { 0.0 } else { error / trace(weight, gram, cols).max(0.0) }
}

/// Returns `tr(M G M^T)` for a symmetric `G`, from its upper triangle.
fn trace(matrix: &[f64], gram: &[f64], cols: usize) -> f64 {
    if cols == 0 {
        return 0.0;
    }
    let blocks = matrix.chunks(ROWS * cols).map(|block| {
        // Missing rows are zero, and add nothing.
        let mut rows = [&[][..]; ROWS];
        let zeros = vec![0.0; if block.len() < ROWS * cols { cols } else { 0 }];
        rows.fill(&zeros);
        rows.iter_mut().zip(block.chunks_exact(cols)).for_each(|(row, values)| *row = values);
        // An x86 that is not asked has no wide vectors.
        Arch::new().dispatch(|| quadratic(rows, gram, cols))
    });
    blocks.sum()
}

/// Returns the sum of `r G r^T` over rows `r`.
#[inline(always)]
fn quadratic(rows: [&[f64]; ROWS], gram: &[f64], cols: usize) -> f64 {
    let mut sum = 0.0;
    for i in 0..cols {
        let own = rows.map(|row| row[i]);
        if own == [0.0; ROWS] {
            continue;
        }
        let line = &gram[i * cols..(i + 1) * cols];
        let (chunks, rest) = line[i + 1..].as_chunks::<LANES>();
        let mut lanes = [[0.0; LANES]; ROWS];
        for (lanes, row) in lanes.iter_mut().zip(rows) {
            for (chunk, values) in chunks.iter().zip(row[i + 1..].as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    lanes[lane] += chunk[lane] * values[lane];
                }
            }
        }
        let tail = cols - rest.len();
        for ((own, row), lanes) in own.into_iter().zip(rows).zip(lanes) {
            let after: f64 = lanes.iter().sum::<f64>() + rest.iter().zip(&row[tail..]).map(|(g, r)| g * r).sum::<f64>();
            sum += own * (2.0 * after + line[i] * own);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_error_is_the_one_of_outputs(
            (rows, cols, samples, values) in (1..10usize, 1..30usize, 1..20usize).prop_flat_map(|(rows, cols, samples)| {
                let values = prop::collection::vec(-2.0..2.0f64, 2 * rows * cols + samples * cols);
                (Just(rows), Just(cols), Just(samples), values)
            })
        ) {
            let (weight, rest) = values.split_at(rows * cols);
            let (new, inputs) = rest.split_at(rows * cols);
            let mut gram = vec![0.0; cols * cols];
            let (mut error, mut size) = (0.0, 0.0);
            for x in inputs.chunks(cols) {
                (0..cols * cols).for_each(|i| gram[i] += x[i / cols] * x[i % cols] / samples as f64);
                for (w, n) in weight.chunks(cols).zip(new.chunks(cols)) {
                    let output = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                    error += (output(w) - output(n)).powi(2);
                    size += output(w).powi(2);
                }
            }
            let found = output_error(weight, new, &gram, rows, cols);
            prop_assert!((found - error / size).abs() <= 1e-9 * (1.0 + error / size), "{found} {}", error / size);
            prop_assert_eq!(output_error(weight, weight, &gram, rows, cols), 0.0);
        }
    }

    #[test]
    fn an_output_that_was_zero_has_no_relative_error() {
        assert_eq!(output_error(&[0.0], &[0.0], &[1.0], 1, 1), 0.0);
        assert_eq!(output_error(&[0.0], &[1.0], &[1.0], 1, 1), f64::INFINITY);
        assert_eq!(output_error(&[], &[], &[], 3, 0), 0.0);
    }
}
