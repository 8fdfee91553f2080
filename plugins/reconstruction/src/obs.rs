use crate::factor::inverse_factor;
use crate::hessian::{DAMP, check_block, check_damp, damped, singular};
use crate::sweep::sweep;
use pruning_core::plugin::Plugin;
use pruning_core::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError};
use serde::{Deserialize, Serialize};

/// Each removed weight is made up for by the weights of later columns in its row (optimal brain surgeon), for any mask.
///
/// With `H` the Gram matrix plus `damp * mean(diagonal)` on its diagonal, and `U` upper triangular with `U^T U = H^-1`, the columns are
/// swept in order: a removed weight `w` of column `j` adds `-w / U_jj * U_jk` to the weights of all columns `k > j` in its row. One
/// factorization serves all rows, which makes it much faster than [`LeastSquares`](crate::LeastSquares), and not quite as exact.
///
/// # Shapes
/// Any.
///
/// # Needs
/// The Gram matrix of the inputs.
///
/// # Config
/// - `damp`: the damping, as a fraction of the mean of the diagonal, at least 0; default 0.1. More is better for few rows of calibration.
/// - `block`: the number of columns that are updated together, at least 1; default 128. It changes time, and the result by rounding alone.
///
/// ```
/// use pruning_core::mask::Bits;
/// use pruning_core::plugin::Plugins;
/// use pruning_core::reconstruct::{LayerProblem, Reconstruction, reconstruct};
/// # let mut plugins = Plugins::empty();
/// # pruning_reconstruction::register(&mut plugins);
/// let obs = plugins.build::<dyn Reconstruction>("obs", serde_json::json!({ "damp": 0.0 }))?;
/// let keep = Bits::from_bools(&[false, true]);
/// let layer = LayerProblem::new("fc.weight", 1, 2, &[1.0, 1.0], &keep, &[1.0, 0.5, 0.5, 1.0]);
/// let new = reconstruct(&*obs, &layer)?.weight;
/// // Half of the first input can be told from the second.
/// assert!(new[0] == 0.0 && (new[1] - 1.5).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The update of the authors' `sparsegpt.py` for a mask that is given. A column that was always zero there counts with a diagonal of 1 in the
/// mean, and not at all here; its weights that stay are left alone.
///
/// # Errors
/// The damped Gram matrix is not positive definite.
///
/// # References
/// Babak Hassibi, David G. Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", 1992, NeurIPS 5; Elias Frantar,
/// Dan Alistarh, "SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot", 2023, arXiv:2301.00774, algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Obs {
    /// The damping, as a fraction of the mean of the diagonal.
    pub damp: f64,
    /// The number of columns that are updated together.
    pub block: usize,
}

impl Default for Obs {
    fn default() -> Self {
        Self { damp: DAMP, block: 128 }
    }
}

impl Plugin for Obs {
    const NAME: &'static str = "obs";
    const SUMMARY: &'static str = "Each removed weight is made up for by the weights of later columns in its row (optimal brain surgeon), for any mask.";
    const REFERENCES: &'static [&'static str] =
        &["Hassibi & Stork 1992, Optimal Brain Surgeon", "Frantar & Alistarh 2023, arXiv:2301.00774"];

    fn validate(&self) -> Result<(), String> {
        check_damp(self.damp)?;
        check_block(self.block)
    }
}

impl Reconstruction for Obs {
    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
        let hessian = damped(layer, self.damp, None);
        let factor = inverse_factor(hessian, layer.cols).map_err(|column| singular(layer, self.damp, column))?;
        let mut weight = layer.weight.to_vec();
        sweep(&mut weight, &mut layer.keep.to_bools(), (&factor, layer.cols), self.block, &());
        Ok(Reconstructed::new(weight))
    }
}

pruning_core::register_reconstruction!(Obs);
