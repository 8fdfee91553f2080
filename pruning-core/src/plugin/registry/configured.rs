//! A plugin with the configuration that it was built from: [`Configured`].

use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;

/// A plugin with its configuration.
///
/// ```
/// use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
/// use pruning_core::plugin::{Configured, Plugin, Plugins};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Even {}
///
/// impl Plugin for Even {
///     const NAME: &'static str = "acme.even";
///     const SUMMARY: &'static str = "The same density in every layer.";
/// }
///
/// impl Allocator for Even {
///     fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
///         in_proportion(&layers.iter().map(|l| Share::new(l.units() as f64, l)).collect::<Vec<_>>(), keep)
///     }
/// }
///
/// pruning_core::register_allocator!(Even);
///
/// let even: Configured<dyn Allocator> = Plugins::empty().with::<Even>().configure(Even {})?;
/// assert_eq!(even.to_value(), serde_json::json!({ "name": "acme.even" }));
/// # Ok::<(), pruning_core::plugin::RegistryError>(())
/// ```
pub struct Configured<K: ?Sized> {
    name: String,
    config: Value,
    plugin: Arc<K>,
}

impl<K: ?Sized> Configured<K> {
    pub(crate) fn new(name: &str, config: Value, plugin: Arc<K>) -> Self {
        Self { name: name.to_string(), config, plugin }
    }

    /// Returns the name of the plugin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the configuration with every field.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Returns the plugin as a recipe gives it, with every default filled in; [`Plugins::read`](crate::plugin::Plugins::read) makes the same plugin of it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        named(&self.name, &self.config)
    }
}

impl<K: ?Sized> Clone for Configured<K> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), config: self.config.clone(), plugin: self.plugin.clone() }
    }
}

impl<K: ?Sized> std::ops::Deref for Configured<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.plugin
    }
}

impl<K: ?Sized> fmt::Debug for Configured<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.config)
    }
}

/// Returns a plugin as a recipe gives it: the fields of its configuration, and its name, which no field can replace.
fn named(name: &str, config: &Value) -> Value {
    let mut map = Map::from_iter([(NAME.to_string(), json!(name))]);
    let fields = config.as_object().into_iter().flatten().filter(|(field, _)| *field != NAME);
    map.extend(fields.map(|(field, value)| (field.clone(), value.clone())));
    Value::Object(map)
}

/// The key of a recipe that selects the plugin. No configuration has a field of this name.
pub(crate) const NAME: &str = "name";
