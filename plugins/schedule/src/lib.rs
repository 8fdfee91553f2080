//! Curves of gradual schedules: [`Linear`], [`Cubic`], [`Exponential`].

#![forbid(unsafe_code)]

mod cubic;
mod exponential;
mod linear;

pub use cubic::Cubic;
pub use exponential::Exponential;
pub use linear::Linear;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Linear>();
    plugins.add::<Cubic>();
    plugins.add::<Exponential>();
}
