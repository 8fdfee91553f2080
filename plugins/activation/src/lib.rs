//! Criteria from what a network sees: the inputs and outputs of its layers, collected by a calibration.

#![forbid(unsafe_code)]

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(_: &mut Plugins) {}
