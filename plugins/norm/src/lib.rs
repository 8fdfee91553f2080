//! Criteria from norms and distances of the weights: [`L2Relative`], [`Fpgm`] and [`BnScale`].

#![forbid(unsafe_code)]

mod bn_scale;
mod fpgm;
mod l2_relative;

pub use bn_scale::BnScale;
pub use fpgm::Fpgm;
pub use l2_relative::L2Relative;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<BnScale>();
    plugins.add::<Fpgm>();
    plugins.add::<L2Relative>();
}
