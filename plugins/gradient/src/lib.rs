//! Criteria from gradients.
//!
//! Collect the inputs that they need into [`CriterionInputs`](pruning_burn::score::CriterionInputs), and prune with them.

#![forbid(unsafe_code)]

mod fisher;
mod gradient;
mod grasp;
mod movement;
mod snip;
mod synflow;
mod taylor;

pub use fisher::Fisher;
pub use gradient::Gradient;
pub use grasp::Grasp;
pub use movement::Movement;
pub use snip::Snip;
pub use synflow::Synflow;
pub use taylor::Taylor;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Fisher>();
    plugins.add::<Gradient>();
    plugins.add::<Grasp>();
    plugins.add::<Movement>();
    plugins.add::<Snip>();
    plugins.add::<Synflow>();
    plugins.add::<Taylor>();
}
