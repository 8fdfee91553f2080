//! Allocators, which share a budget out over the layers.

#![forbid(unsafe_code)]

mod budget;
mod erdos_renyi;
mod erk;
mod fixed;
mod global;
mod grouped;
mod groups;
mod lamp;
mod owl;
mod uniform;
mod uniform_plus;

pub use budget::{Budget, Of};
pub use erdos_renyi::ErdosRenyi;
pub use erk::Erk;
pub use fixed::Fixed;
pub use global::Global;
pub use grouped::Grouped;
pub use lamp::Lamp;
pub use owl::Owl;
pub use uniform::Uniform;
pub use uniform_plus::UniformPlus;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Budget>();
    plugins.add::<ErdosRenyi>();
    plugins.add::<Erk>();
    plugins.add::<Fixed>();
    plugins.add::<Global>();
    plugins.add::<Grouped>();
    plugins.add::<Lamp>();
    plugins.add::<Owl>();
    plugins.add::<Uniform>();
    plugins.add::<UniformPlus>();
}
