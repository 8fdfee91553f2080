//! Measuring what pruning costs, and recovering from it: sensitivity of each layer, recalibration of batch norms, distillation.

pub mod distillation;
mod recalibrate;
pub mod sensitivity;

pub use recalibrate::{RecalibrationError, recalibrate_batch_norm};
