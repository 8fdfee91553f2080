use crate::factor::{cholesky, inverse_factor};
use crate::hessian::{DAMP, check_damp, damped, singular};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, MatMut, MatRef, Par};
use pruning_core::plugin::Plugin;
use pruning_core::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The kept weights of each output unit, and its bias, are those that change the output least (linear least squares).
///
/// With `H` the Gram matrix plus `damp * mean(diagonal)` on its diagonal, a row that keeps the columns `K` and loses the columns `R` gets
/// `W'_K = W_K + W_R H_RK H_KK^-1`: the smallest squared error of the output plus `damp * mean(diagonal)` times the squared change of the
/// kept weights. Where mean and bias are given, `H` is made of centered inputs, and `b' = b + (W - W') mean`.
///
/// Rows that keep the same columns share one factorization, so the removal of whole columns takes one. Otherwise each row takes its
/// own, of as many columns as it keeps or loses, whichever is less.
///
/// # Shapes
/// Any.
///
/// # Needs
/// The Gram matrix of the inputs; their mean for the biases.
///
/// # Config
/// - `damp`: the damping, as a fraction of the mean of the diagonal, at least 0; default 0.1. More is better for few rows of calibration.
/// - `bias`: whether biases are corrected, where a layer has one; default true.
///
/// ```
/// use pruning_core::mask::Bits;
/// use pruning_core::plugin::Plugins;
/// use pruning_core::reconstruct::{LayerProblem, Reconstruction, reconstruct};
/// # let mut plugins = Plugins::empty();
/// # pruning_reconstruction::register(&mut plugins);
/// let least_squares = plugins.build::<dyn Reconstruction>("least_squares", serde_json::json!({ "damp": 0.0 }))?;
/// // The inputs [1, 1] and [3, 5]: the second is twice the first, less one.
/// let (gram, mean) = ([5.0, 8.0, 8.0, 13.0], [2.0, 3.0]);
/// let keep = Bits::from_bools(&[true, false]);
/// let layer = LayerProblem::new("fc.weight", 1, 2, &[1.0, 1.0], &keep, &gram).with_mean(Some(&mean)).with_bias(Some(&[0.0]));
/// let new = reconstruct(&*least_squares, &layer)?;
/// assert_eq!((new.weight, new.bias), (vec![3.0, 0.0], Some(vec![-1.0])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// None that is known: others damp `H_KK` alone, `W'_K = (W G)_K (G_KK + d)^-1`, which shrinks the weights of a layer that loses none.
///
/// # Errors
/// The damped Gram matrix of the columns that a row keeps is not positive definite.
///
/// # References
/// Yihui He, Xiangyu Zhang, Jian Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", 2017, arXiv:1707.06168, section 3.1;
/// Elias Frantar, Dan Alistarh, "SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot", 2023, arXiv:2301.00774,
/// equation 2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LeastSquares {
    /// The damping, as a fraction of the mean of the diagonal.
    pub damp: f64,
    /// Whether biases are corrected.
    pub bias: bool,
}

impl Default for LeastSquares {
    fn default() -> Self {
        Self { damp: DAMP, bias: true }
    }
}

impl Plugin for LeastSquares {
    const NAME: &'static str = "least_squares";
    const SUMMARY: &'static str = "The kept weights of each output unit, and its bias, are those that change the output least (linear least squares).";
    const REFERENCES: &'static [&'static str] =
        &["He et al. 2017, arXiv:1707.06168", "Frantar & Alistarh 2023, arXiv:2301.00774"];

    fn validate(&self) -> Result<(), String> {
        check_damp(self.damp)
    }
}

impl Reconstruction for LeastSquares {
    fn corrects_bias(&self) -> bool {
        self.bias
    }

    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
        let (rows, cols) = (layer.rows, layer.cols);
        let bias = layer.bias.zip(layer.mean).filter(|_| self.bias);
        let hessian = damped(layer, self.damp, bias.map(|(_, mean)| mean));
        let mut lines: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for row in 0..rows {
            let lost = (0..cols).filter(|c| !layer.keep.get(row * cols + c)).collect();
            lines.entry(lost).or_default().push(row);
        }
        let sets = lines.iter().map(|(lost, rows)| Set { kept: complement(lost, cols), lost, rows });
        let (mut few_kept, mut few_lost): (Vec<_>, Vec<_>) = sets.partition(|set| set.kept.len() <= set.lost.len());

        // The inverse of the whole matrix costs about as much as the factorization of three.
        let saved: f64 = few_lost.iter().map(|set| cube(set.kept.len()) - cube(set.lost.len())).sum();
        let inverse = if saved > 3.0 * cube(cols) { inverse(&hessian, cols) } else { None };
        if inverse.is_none() {
            few_kept.append(&mut few_lost);
        }
        let mut change = vec![0.0; rows * cols];
        let failed = |column| singular(layer, self.damp, column);
        by_kept(layer, &hessian, &few_kept, &mut change).map_err(failed)?;
        if let Some(inverse) = &inverse {
            by_lost(layer, inverse, &few_lost, &mut change).map_err(failed)?;
        }
        let new = |(i, (w, change)): (usize, (&f64, &f64))| if layer.keep.get(i) { w + change } else { 0.0 };
        let weight: Vec<f64> = layer.weight.iter().zip(&change).enumerate().map(new).collect();
        let Some((bias, mean)) = bias else { return Ok(Reconstructed::new(weight)) };
        let lines = layer.weight.chunks_exact(cols).zip(weight.chunks_exact(cols));
        let constant =
            lines.map(|(old, new)| old.iter().zip(new).zip(mean).map(|((o, n), m)| (o - n) * m).sum::<f64>());
        let bias = bias.iter().zip(constant).map(|(b, constant)| b + constant).collect();
        Ok(Reconstructed::new(weight).with_bias(bias))
    }
}

/// Rows that lose the same columns.
struct Set<'a> {
    kept: Vec<usize>,
    lost: &'a [usize],
    rows: &'a [usize],
}

fn complement(lost: &[usize], cols: usize) -> Vec<usize> {
    let mut lost = lost.iter().peekable();
    (0..cols).filter(|c| lost.next_if_eq(&c).is_none()).collect()
}

fn cube(n: usize) -> f64 {
    (n as f64).powi(3)
}

/// Returns the inverse of a symmetric matrix, unless it is not positive definite.
fn inverse(hessian: &[f64], cols: usize) -> Option<Vec<f64>> {
    let factor = inverse_factor(hessian.to_vec(), cols).ok()?;
    let mut inverse = vec![0.0; cols * cols];
    let factor = MatRef::from_row_major_slice(&factor, cols, cols);
    let out = MatMut::from_row_major_slice_mut(&mut inverse, cols, cols);
    matmul(out, Accum::Replace, factor.transpose(), factor, 1.0, Par::Seq);
    Some(inverse)
}

/// Adds `W_R H_RK H_KK^-1` to the kept columns of `change`.
fn by_kept(layer: &LayerProblem<'_>, hessian: &[f64], sets: &[Set<'_>], change: &mut [f64]) -> Result<(), usize> {
    let cols = layer.cols;
    let lost = only(layer, sets, |set| set.lost);
    let pull = product(&lost, hessian, cols);
    for set in sets {
        solve(hessian, cols, &set.kept, set.rows, &pull, change)?;
    }
    Ok(())
}

/// Adds `-W_R P_RR^-1 P_RK` to the kept columns of `change`, with `P = H^-1`: the same, by the lost columns.
fn by_lost(layer: &LayerProblem<'_>, inverse: &[f64], sets: &[Set<'_>], change: &mut [f64]) -> Result<(), usize> {
    let cols = layer.cols;
    let mut multiplier = vec![0.0; change.len()];
    for set in sets {
        solve(inverse, cols, set.lost, set.rows, layer.weight, &mut multiplier)?;
    }
    change.iter_mut().zip(product(&multiplier, inverse, cols)).for_each(|(change, product)| *change -= product);
    Ok(())
}

/// Returns the weights of some columns of the rows of each set, and zeros elsewhere.
fn only<'a>(layer: &LayerProblem<'_>, sets: &'a [Set<'_>], columns: fn(&'a Set<'_>) -> &'a [usize]) -> Vec<f64> {
    let mut some = vec![0.0; layer.weight.len()];
    for set in sets {
        let places = set.rows.iter().flat_map(|row| columns(set).iter().map(move |c| row * layer.cols + c));
        places.for_each(|i| some[i] = layer.weight[i]);
    }
    some
}

/// Returns the product of `[rows, cols]` and `[cols, cols]`.
fn product(left: &[f64], right: &[f64], cols: usize) -> Vec<f64> {
    let mut out = vec![0.0; left.len()];
    let rows = left.len() / cols;
    matmul(
        MatMut::from_row_major_slice_mut(&mut out, rows, cols),
        Accum::Replace,
        MatRef::from_row_major_slice(left, rows, cols),
        MatRef::from_row_major_slice(right, cols, cols),
        1.0,
        Par::Seq,
    );
    out
}

/// Solves `x A_SS = y_S` for some rows `y` of `right`, and writes `x` to the columns `S` of the same rows of `out`.
fn solve(
    matrix: &[f64],
    cols: usize,
    some: &[usize],
    rows: &[usize],
    right: &[f64],
    out: &mut [f64],
) -> Result<(), usize> {
    let n = some.len();
    if n == 0 {
        return Ok(());
    }
    let mut square = vec![0.0; n * n];
    // The factorization reads the lower triangle, column by column.
    for (i, (line, &row)) in square.chunks_exact_mut(n).zip(some).enumerate() {
        let from = &matrix[row * cols..(row + 1) * cols];
        line[i..].iter_mut().zip(&some[i..]).for_each(|(entry, &column)| *entry = from[column]);
    }
    cholesky(MatMut::from_column_major_slice_mut(&mut square, n, n)).map_err(|index| some[index])?;
    let lower = MatRef::from_column_major_slice(&square, n, n);
    let mut sides: Vec<f64> = rows.iter().flat_map(|row| some.iter().map(move |c| right[row * cols + c])).collect();
    let mut columns = MatMut::from_column_major_slice_mut(&mut sides, n, rows.len());
    solve_lower_triangular_in_place(lower, columns.as_mut(), Par::Seq);
    solve_upper_triangular_in_place(lower.transpose(), columns, Par::Seq);
    for (side, row) in sides.chunks_exact(n).zip(rows) {
        side.iter().zip(some).for_each(|(x, column)| out[row * cols + column] = *x);
    }
    Ok(())
}

pruning_core::register_reconstruction!(LeastSquares);
