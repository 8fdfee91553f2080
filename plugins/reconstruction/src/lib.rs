//! Reconstructions: new values for the weights that stay, from what a layer sees.

#![forbid(unsafe_code)]

mod factor;
mod hessian;
mod least_squares;
mod obs;
mod sparsegpt;
mod sweep;

pub use least_squares::LeastSquares;
pub use obs::Obs;
pub use sparsegpt::SparseGpt;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<LeastSquares>();
    plugins.add::<Obs>();
    plugins.add::<SparseGpt>();
}
