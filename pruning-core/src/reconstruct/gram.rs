//! What a Gram matrix tells without a solve: dead inputs, and the power and error of a layer's output.

use pulp::Arch;

/// Rows of weights that share one pass over the Gram matrix.
const ROWS: usize = 16;
/// Sums that run side by side, so that the compiler can use vectors.
const LANES: usize = 32;

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

/// Returns the squared error of a layer's output, relative to its power: `tr(D G D^T) / tr(W G W^T)` with `D = W - W'`.
///
/// `weight` are the weights `W` before and `new` the weights `W'` after, both `[rows, cols]`, row by row. `gram` is the Gram matrix `G`
/// `[cols, cols]` of the inputs, at any scale; it must be symmetric. The result is 0 for an output that stays the same, and infinite where
/// an output that was always 0 is 0 no longer.
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
    assert_eq!(weight.len(), new.len(), "both weights are [rows, cols]");
    let difference: Vec<f64> = weight.iter().zip(new).map(|(w, n)| w - n).collect();
    let error = output_power(&difference, gram, rows, cols);
    if error == 0.0 { 0.0 } else { error / output_power(weight, gram, rows, cols) }
}

/// Returns the power of a layer's output, `tr(W G W^T)`: the mean over the calibration of the sum of its squares, without biases.
///
/// `weight` are the weights `W` `[rows, cols]`, row by row, and `gram` is the Gram matrix `G` `[cols, cols]` of the inputs; it must be
/// symmetric. It costs `rows * cols^2 / 2` products, and less where weights are zero.
///
/// ```
/// use pruning_core::reconstruct::output_power;
/// assert_eq!(output_power(&[2.0, 1.0], &[3.0, 1.0, 1.0, 3.0], 1, 2), 19.0);
/// ```
///
/// # Panics
/// A slice has another length.
#[must_use]
pub fn output_power(weight: &[f64], gram: &[f64], rows: usize, cols: usize) -> f64 {
    assert_eq!(weight.len(), rows * cols, "weights are [rows, cols]");
    assert_eq!(gram.len(), cols * cols, "a Gram matrix has a row and a column for each input");
    if cols == 0 {
        return 0.0;
    }
    // An x86 that is not asked has no wide vectors.
    let sum: f64 = weight.chunks(ROWS * cols).map(|rows| Arch::new().dispatch(|| quadratic(rows, gram, cols))).sum();
    // Rounding can take a sum of squares below zero.
    sum.max(0.0)
}

/// Returns the sum of `r G r^T` over rows `r`, from the upper triangle of `G`.
#[inline(always)]
fn quadratic(rows: &[f64], gram: &[f64], cols: usize) -> f64 {
    let mut sum = 0.0;
    for (i, line) in gram.chunks_exact(cols).enumerate() {
        for row in rows.chunks_exact(cols).filter(|row| row[i] != 0.0) {
            sum += row[i] * (2.0 * dot(&line[i + 1..], &row[i + 1..]) + line[i] * row[i]);
        }
    }
    sum
}

#[inline(always)]
fn dot(one: &[f64], two: &[f64]) -> f64 {
    let ((one, one_rest), (two, two_rest)) = (one.as_chunks::<LANES>(), two.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (one, two) in one.iter().zip(two) {
        for lane in 0..LANES {
            lanes[lane] += one[lane] * two[lane];
        }
    }
    lanes.iter().sum::<f64>() + one_rest.iter().zip(two_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_power_is_that_of_outputs(
            (rows, cols, values) in (1..20usize, 1..80usize, 1..20usize).prop_flat_map(|(rows, cols, samples)| {
                (Just(rows), Just(cols), prop::collection::vec(-2.0..2.0f64, (rows + samples) * cols))
            })
        ) {
            let (weight, inputs) = values.split_at(rows * cols);
            let samples = (inputs.len() / cols) as f64;
            let mut gram = vec![0.0; cols * cols];
            let mut power = 0.0;
            for x in inputs.chunks(cols) {
                (0..cols * cols).for_each(|i| gram[i] += x[i / cols] * x[i % cols] / samples);
                let output = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                power += weight.chunks(cols).map(|w| output(w).powi(2)).sum::<f64>() / samples;
            }
            let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
            let found = output_power(weight, &gram, rows, cols);
            prop_assert!((found - power).abs() <= 1e-13 * square(weight) * square(inputs), "{found} {power}");
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
