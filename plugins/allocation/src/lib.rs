//! Allocators: how a budget is shared out over the layers. [`Uniform`] and [`Global`].

mod global;
mod uniform;

pub use global::Global;
pub use uniform::Uniform;

use pruning_core::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Uniform>();
    plugins.add::<Global>();
}
