//! New values for the weights that stay, in a model: what a [`Reconstruction`] computes from a calibration.
//!
//! A recipe names one, and then [`Pruner::prune`](crate::Pruner::prune) changes the weights that stay beside masking the others:
//!
//! ```
//! # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
//! # use {pruning_allocation as _, pruning_magnitude as _};
//! use pruning_burn::calibrate::Calibration;
//! use pruning_burn::prelude::*;
//! use pruning_burn::reconstruct::{Reconstructed, Reconstruction, ReconstructionError, LayerProblem};
//! # #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
//! # #[serde(default, deny_unknown_fields)]
//! # struct Same {}
//! # impl pruning_burn::plugin::Plugin for Same {
//! #     const NAME: &'static str = "acme.same";
//! #     const SUMMARY: &'static str = "The weights as they are.";
//! # }
//! # impl Reconstruction for Same {
//! #     fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
//! #         let new = |i: usize| if layer.keep.get(i) { layer.weight[i] } else { 0.0 };
//! #         Ok(Reconstructed::new((0..layer.weight.len()).map(new).collect()))
//! #     }
//! # }
//! # pruning_burn::register_reconstruction!(Same);
//! # let device = Device::flex();
//! # let mut model = LinearConfig::new(8, 4).init(&device);
//! # let batches = [Tensor::<2>::random([64, 8], Distribution::Default, &device)];
//! let pruner = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"\nreconstruct = \"acme.same\"", &Plugins::linked())?;
//! let calibration = Calibration::collect(&model, pruner.needs(), &batches, |model: &Linear, batch, scope| {
//!     let x = scope.input(batch);
//!     scope.output(model.forward(x));
//! })?;
//! let report = pruner.prune(&mut model, &CriterionInputs::from(&calibration))?;
//! undo(&mut model)?;                             // the weights from before
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! A layer is reconstructed if a mask removes some of its weights; a weight of which only whole output units are removed stays as it is,
//! and so do biases, norms and other parameters that are no matrix. Arithmetic is in double precision on the host, whatever the device; the
//! result is rounded to the type of the weight. Each group of a convolution is a problem of its own. The weights below the mask stay as they
//! were, so that they can come back; the weights from before are kept beside the mask for [`undo`](crate::mask::undo).

mod matrix;
mod outputs;
mod solve;

pub(crate) use outputs::relative_error;
pub use pruning_core::reconstruct::{
    LayerProblem, Reconstructed, Reconstruction, ReconstructionError, dead_columns, output_error,
};
pub(crate) use solve::{Problem, needs, solve};
