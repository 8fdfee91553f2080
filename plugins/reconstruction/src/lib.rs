//! Reconstructions: new values for the weights that stay, from what a layer sees.

#![forbid(unsafe_code)]

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(_: &mut Plugins) {}
