//! Plugins and their registry: the trait [`Plugin`], the set [`Plugins`], and the macros that register a plugin.
//!
//! # Contract
//!
//! The struct of a plugin is its serde configuration. `register_criterion!`, `register_allocator!`, `register_curve!` and
//! `register_reconstruction!` put it into `inventory`. Every plugin crate also has a function `register(&mut Plugins)`, which keeps the linker from dropping the crate.
//! [`Plugins`] is a value. Two plugins under one name make that name fail, and the error names both origins; if the name belongs to
//! another kind, the error tells the kind. A plugin that is configured with another one by name finds it in [`Plugin::resolve`], in the
//! registry that builds it. The key `name` of a recipe selects the plugin, so a configuration with a field of that name (or alias) is
//! refused. Names are `[a-z][a-z0-9_]*` segments joined by dots, checked when the crate is compiled; bare names belong to this project.
//! `links = "pruning-core"` makes Cargo refuse two copies of this crate, because each copy would have its own registry.

mod registry;

#[doc(hidden)]
pub use registry::Linked;
pub use registry::{Configured, Entry, Origin, Plugins, RegistryError};
pub(crate) use registry::{did_you_mean, nearest};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A strategy with a name. Its struct is its configuration: the fields that serde reads from a recipe.
///
/// Derive `Serialize` and `Deserialize` with `#[serde(default, deny_unknown_fields)]`, so that a recipe names only what differs from
/// [`Default`], and a misspelled field is an error. No field may be called `name`, because that key of a recipe selects the plugin: see
/// [`RegistryError::ReservedField`].
///
/// ```
/// use pruning_core::budget::Sparsity;
/// use pruning_core::plugin::{Plugin, Plugins};
/// use pruning_core::schedule::Curve;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Late {
///     extra: u8,
/// }
///
/// impl Plugin for Late {
///     const NAME: &'static str = "acme.late";
///     const SUMMARY: &'static str = "Sparsity grows with a power of progress.";
///
///     fn validate(&self) -> Result<(), String> {
///         if self.extra > 9 { Err(format!("extra {} must be at most 9", self.extra)) } else { Ok(()) }
///     }
/// }
///
/// impl Curve for Late {
///     fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
///         let way = progress.powi(2 + i32::from(self.extra));
///         initial.value() * (1.0 - way) + target.value() * way
///     }
/// }
///
/// pruning_core::register_curve!(Late);
///
/// let plugins = Plugins::linked();
/// let late = plugins.build::<dyn Curve>("acme.late", Default::default())?;
/// assert_eq!(late.sparsity(Sparsity::ZERO, Sparsity::new(0.8)?, 0.5), 0.2);
/// assert!(plugins.build::<dyn Curve>("acme.late", serde_json::json!({ "extra": 10 })).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Plugin: Serialize + DeserializeOwned + Default + Debug + Send + Sync + 'static {
    /// The name in recipes: segments of `[a-z][a-z0-9_]*`, joined by dots. Bare names belong to this project; prefix yours:
    /// `acme.fisher`.
    const NAME: &'static str;
    /// A summary in one sentence.
    const SUMMARY: &'static str;
    /// The sources of the method: authors, title, year, identifier.
    const REFERENCES: &'static [&'static str] = &[];

    /// Finds the plugins with which this one is configured by name, as by [`Plugins::read`]; called before [`validate`](Self::validate).
    ///
    /// # Errors
    /// The configuration is wrong; the message names the field and the problem.
    fn resolve(&mut self, plugins: &Plugins) -> Result<(), String> {
        let _ = plugins;
        Ok(())
    }

    /// Checks what the types of the fields cannot.
    ///
    /// # Errors
    /// A value is not allowed; the message names the field, its value and what is allowed.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A family of plugins, named by its trait object: `dyn Allocator`, `dyn Curve`, `dyn Criterion`, `dyn Reconstruction`.
pub trait PluginKind: 'static {
    /// The word for this kind of plugin in recipes and messages.
    const KIND: &'static str;

    /// Asks a new plugin once for all its declarations: a plugin that panics there is refused before any work.
    fn declare(&self) {}
}

/// A plugin that a `register_*!` macro has prepared for [`Plugins`].
pub trait Register: Plugin {
    /// Creates the entry of the plugin for a registry.
    fn entry() -> crate::plugin::Entry;
}

/// Registers a type as a plugin of a kind, for every [`Plugins::linked`] of the program.
///
/// The kinds have macros of their own ([`register_allocator`](crate::register_allocator), [`register_curve`](crate::register_curve),
/// [`register_reconstruction`](crate::register_reconstruction)), which fill in the kind.
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

/// Fails to compile if the name of a plugin or input is not valid.
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
