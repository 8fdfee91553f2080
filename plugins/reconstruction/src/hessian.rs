//! The damped Gram matrix, from which every reconstruction here starts: [`damped`].

use pruning_core::reconstruct::{LayerProblem, ReconstructionError, dead_columns};

/// The damping of every reconstruction here, as a fraction of the mean of the diagonal.
///
/// Frantar & Alistarh take 0.01, and ModelOpt 0.1, which is the better one for a few thousand rows of calibration.
pub(crate) const DAMP: f64 = 0.1;

/// Returns the Gram matrix of a layer with `damp * mean(diagonal)` on its diagonal; that of centered inputs if there is a mean.
///
/// A dead column correlates with nothing, nor does a centered one that is always the same. Both get the mean of the diagonal, which keeps
/// the matrix invertible at any scale. The mean is over the other columns.
pub(crate) fn damped(layer: &LayerProblem<'_>, damp: f64, mean: Option<&[f64]>) -> Vec<f64> {
    let cols = layer.cols;
    let mut matrix = layer.gram.to_vec();
    if let Some(mean) = mean {
        for (row, own) in matrix.chunks_exact_mut(cols).zip(mean) {
            row.iter_mut().zip(mean).for_each(|(entry, other)| *entry -= own * other);
        }
    }
    let mut dead = dead_columns(layer.gram, cols);
    // What is left of it is the rounding of doubles, of either sign.
    let constant = |c: &usize| matrix[c * (cols + 1)] <= 1e-13 * layer.gram[c * (cols + 1)] && !dead.contains(c);
    let constant: Vec<usize> = if mean.is_some() { (0..cols).filter(constant).collect() } else { Vec::new() };
    dead.extend(constant);
    for &column in &dead {
        (0..cols).for_each(|other| (matrix[column * cols + other], matrix[other * cols + column]) = (0.0, 0.0));
    }
    let sum: f64 = (0..cols).map(|c| matrix[c * cols + c]).sum();
    let average = if sum > 0.0 { sum / (cols - dead.len()) as f64 } else { 1.0 };
    (0..cols).for_each(|c| matrix[c * cols + c] += damp * average);
    dead.iter().for_each(|c| matrix[c * cols + c] = average);
    matrix
}

/// Checks the damping of a configuration.
pub(crate) fn check_damp(damp: f64) -> Result<(), String> {
    let allowed = damp.is_finite() && damp >= 0.0;
    if allowed { Ok(()) } else { Err(format!("damp {damp} must be a finite number of at least 0")) }
}

/// Checks the block size of a configuration.
pub(crate) fn check_block(block: usize) -> Result<(), String> {
    if block > 0 { Ok(()) } else { Err("block 0 must be at least 1".to_string()) }
}

/// Returns the error for a factorization that failed at a column.
pub(crate) fn singular(layer: &LayerProblem<'_>, damp: f64, column: usize) -> ReconstructionError {
    ReconstructionError::NotPositiveDefinite { path: layer.path.to_string(), column, damp }
}
