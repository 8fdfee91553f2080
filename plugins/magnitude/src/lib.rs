//! Criteria that need nothing but the weights themselves: [`Magnitude`] and [`Random`].

#![forbid(unsafe_code)]

mod magnitude;
mod random;

pub use magnitude::Magnitude;
pub use random::Random;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Calling it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Magnitude>();
    plugins.add::<Random>();
}
