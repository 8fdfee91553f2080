//! Criteria from what a network sees: the inputs and outputs of its layers, collected by a calibration.
//!
//! Collect the inputs that they need into [`CriterionInputs`](pruning_burn::score::CriterionInputs), and prune with them.

#![forbid(unsafe_code)]

mod activation;
mod apoz;
mod head_importance;
mod hrank;
mod ria;
mod wanda;

pub use activation::Activation;
pub use apoz::Apoz;
pub use head_importance::HeadImportance;
pub use hrank::Hrank;
pub use ria::Ria;
pub use wanda::Wanda;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Activation>();
    plugins.add::<Apoz>();
    plugins.add::<HeadImportance>();
    plugins.add::<Hrank>();
    plugins.add::<Ria>();
    plugins.add::<Wanda>();
}
