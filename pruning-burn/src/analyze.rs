//! What a pruning does to a model, and what makes up for it: sensitivity of each layer, recalibration of batch norms, distillation.

pub mod distillation;
mod recalibrate;
pub mod sensitivity;

pub use recalibrate::{RecalibrationError, recalibrate_batch_norm};
