//! What every plugin says about itself: [`Plugin`]. And the macros that register one.
//!
//! # Contract
//!
//! The struct of a plugin is its serde configuration. `register_criterion!`, `register_allocator!` and `register_curve!` put it into
//! `inventory`; every plugin crate also has a function `register(&mut Plugins)`, which keeps the linker from dropping it. [`Plugins`] is a
//! value. Two plugins under one name make that name fail, and the error names both origins; for a name of another kind the error tells the
//! kind. A plugin that is configured with another one by name finds it in [`Plugin::resolve`], in the registry that builds it. A recipe
//! says by the key `name` which plugin it is, so a configuration with a field of that name (or alias) is refused. Names are
//! `[a-z][a-z0-9_]*` segments joined by dots, checked when the crate is compiled; bare names belong to this project. `links =
//! "pruning-core"` makes Cargo refuse two copies of this crate, which would have a registry each.

mod registry;

#[doc(hidden)]
pub use registry::Linked;
pub use registry::{Configured, Entry, Origin, Plugins, RegistryError};
pub(crate) use registry::{did_you_mean, nearest};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A strategy with a name. The struct is its own configuration: what serde reads from a recipe.
///
/// Derive `Serialize` and `Deserialize` with `#[serde(default, deny_unknown_fields)]`, so that a recipe names only what
/// differs from [`Default`], and a misspelled field is an error. No field may be called `name`, which is how a recipe says which plugin it is:
/// [`RegistryError::ReservedField`].
pub trait Plugin: Serialize + DeserializeOwned + Default + Debug + Send + Sync + 'static {
    /// Segments of `[a-z][a-z0-9_]*`, joined by dots. Bare names belong to this project; prefix yours: `acme.fisher`.
    const NAME: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// Where it comes from: authors, title, year, identifier.
    const REFERENCES: &'static [&'static str] = &[];

    /// Finds plugins that this one is configured with by name, as by [`Plugins::read`]; called before [`validate`](Self::validate).
    ///
    /// # Errors
    /// A message that names the field and what is wrong with it.
    fn resolve(&mut self, plugins: &Plugins) -> Result<(), String> {
        let _ = plugins;
        Ok(())
    }

    /// Checks what the types of the fields cannot.
    ///
    /// # Errors
    /// A message that names the field, its value and what is allowed.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A family of plugins, named by its trait object: `dyn Allocator`, `dyn Curve`, `dyn Criterion`.
pub trait PluginKind: 'static {
    /// The word for it in recipes and messages.
    const KIND: &'static str;

    /// Asks a plugin for all that it says of itself, once, when it is built: one that panics there is refused before any work.
    fn declare(&self) {}
}

/// A plugin that a `register_*!` macro has prepared for [`Plugins`].
pub trait Register: Plugin {
    /// Its entry.
    fn entry() -> crate::plugin::Entry;
}

/// Registers a type as plugin of a kind, with every [`Plugins::linked`] of the program.
///
/// The kinds have macros of their own ([`register_allocator`](crate::register_allocator),
/// [`register_curve`](crate::register_curve)), which are this one with the kind filled in.
#[macro_export]
macro_rules! register_plugin {
    ($plugin:ty, $kind:ty) => {
        const _: () = $crate::plugin::check_name(<$plugin as $crate::plugin::Plugin>::NAME);

        impl $crate::plugin::Register for $plugin {
            fn entry() -> $crate::plugin::Entry {
                $crate::plugin::Entry::new::<$plugin, $kind>(
                    |plugin| ::std::sync::Arc::new(plugin),
                    $crate::plugin::Origin {
                        package: env!("CARGO_PKG_NAME"),
                        version: env!("CARGO_PKG_VERSION"),
                        file: file!(),
                    },
                )
            }
        }

        $crate::inventory::submit! {
            $crate::plugin::Linked::new(<$plugin as $crate::plugin::Register>::entry)
        }
    };
}

/// Fails to compile on a name that is none: of a plugin, or of an input.
#[doc(hidden)]
pub const fn check_name(name: &str) {
    assert!(is_name(name.as_bytes()), "a name is segments of [a-z][a-z0-9_]* joined by dots");
}

const fn is_name(name: &[u8]) -> bool {
    let mut start = true;
    let mut i = 0;
    while i < name.len() {
        start = match name[i] {
            b'a'..=b'z' => false,
            b'0'..=b'9' | b'_' if !start => false,
            b'.' if !start => true,
            _ => return false,
        };
        i += 1;
    }
    !start
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_dotted_snake_case() {
        for good in ["magnitude", "acme.fisher_2", "a.b.c"] {
            assert!(is_name(good.as_bytes()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "A", "2x", "a.2x", "a-b", "ä", "_a"] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
    }
}
