//! All plugins of this project, linked and registered.
//!
//! Depend on this crate and call [`all`], or [`Plugins::linked`] after it, to use any of them by name in a recipe.

#![forbid(unsafe_code)]

pub use {
    pruning_activation as activation, pruning_allocation as allocation, pruning_gradient as gradient,
    pruning_magnitude as magnitude, pruning_norm as norm, pruning_reconstruction as reconstruction,
    pruning_schedule as schedule,
};

use pruning_core::plugin::Plugins;

/// Returns every plugin of this project, and every plugin that other crates of the program have registered.
///
/// ```
/// let plugins = pruning_plugins::all();
/// assert!(plugins.iter().any(|entry| entry.name() == "magnitude"));
/// assert_eq!(plugins.check(), Ok(()));
/// ```
#[must_use]
pub fn all() -> Plugins {
    let mut plugins = Plugins::linked();
    pruning_activation::register(&mut plugins);
    pruning_allocation::register(&mut plugins);
    pruning_gradient::register(&mut plugins);
    pruning_magnitude::register(&mut plugins);
    pruning_norm::register(&mut plugins);
    pruning_reconstruction::register(&mut plugins);
    pruning_schedule::register(&mut plugins);
    plugins
}
