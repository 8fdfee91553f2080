//! Pruning strategies of the Acme company: one of each kind of plugin, and a criterion with an input of its own.
//!
//! Link this crate, and a recipe finds them by name.

#![forbid(unsafe_code)]

mod centered;
mod column_scaled;
mod cosine;
mod rescaled;
mod square_root;

pub use centered::Centered;
pub use column_scaled::{COLUMN_NORM, ColumnScaled};
pub use cosine::Cosine;
pub use rescaled::Rescaled;
pub use square_root::SquareRoot;

use pruning_core::plugin::Plugins;

/// Adds the plugins of this crate. Programs that call it need nothing else; it also keeps the linker from dropping the crate.
pub fn register(plugins: &mut Plugins) {
    plugins.add::<Centered>();
    plugins.add::<ColumnScaled>();
    plugins.add::<Cosine>();
    plugins.add::<Rescaled>();
    plugins.add::<SquareRoot>();
}
