//! The registry of plugins: [`Plugins`], a value.

mod configured;
mod error;
mod fields;

pub use configured::Configured;
pub(crate) use configured::NAME;
pub use error::RegistryError;
pub(crate) use error::{did_you_mean, nearest};

use crate::caught;
use crate::plugin::{Plugin, PluginKind, Register};
use serde_json::Value;
use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The place where a plugin was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// The name of the Cargo package.
    pub package: &'static str,
    /// The version of the package.
    pub version: &'static str,
    /// The source file of the registration.
    #[serde(skip)]
    pub file: &'static str,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.package, self.version, self.file)
    }
}

/// The registry's record of a plugin.
#[derive(Clone)]
pub struct Entry {
    kind: &'static str,
    name: &'static str,
    summary: &'static str,
    references: &'static [&'static str],
    origin: Origin,
    plugin: TypeId,
    // Where it reads a configuration from.
    fields: fn() -> &'static [&'static str],
    // A `Build<K>` for the kind `K` of the entry.
    build: Arc<dyn Any + Send + Sync>,
    // A `Wrap<P, K>` for the type `P` of the plugin.
    wrap: Arc<dyn Any + Send + Sync>,
}

type Wrap<P, K> = fn(P) -> Arc<K>;
type Build<K> = Box<dyn Fn(Value, &Plugins) -> Result<(Arc<K>, Value), String> + Send + Sync>;

/// Checks a new plugin, and asks for all its declarations.
fn made<P: Plugin, K: PluginKind + ?Sized>(
    mut plugin: P,
    plugins: &Plugins,
    wrap: Wrap<P, K>,
) -> Result<(Arc<K>, Value), String> {
    plugin.resolve(plugins)?;
    plugin.validate()?;
    let config = serde_json::to_value(&plugin).map_err(|error| error.to_string())?;
    let plugin = wrap(plugin);
    plugin.declare();
    Ok((plugin, config))
}

impl Entry {
    /// Creates the entry of `P` as a plugin of kind `K`; [`register_plugin`](crate::register_plugin) calls it.
    #[must_use]
    pub fn new<P: Plugin, K: PluginKind + ?Sized>(wrap: fn(P) -> Arc<K>, origin: Origin) -> Self {
        let build: Build<K> = Box::new(move |config, plugins| {
            made(serde_json::from_value(config).map_err(|error| error.to_string())?, plugins, wrap)
        });
        Self {
            kind: K::KIND,
            name: P::NAME,
            summary: P::SUMMARY,
            references: P::REFERENCES,
            origin,
            plugin: TypeId::of::<P>(),
            fields: fields::of::<P>,
            build: Arc::new(build),
            wrap: Arc::new(wrap),
        }
    }

    /// Returns the word for the plugin's kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the plugin's name in recipes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the plugin's summary, one sentence.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Returns the papers that the plugin names.
    #[must_use]
    pub fn references(&self) -> &'static [&'static str] {
        self.references
    }

    /// Returns the place where the plugin was registered.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.kind, self.name, self.origin)
    }
}

/// An entry that the registration macros collect over the whole program.
#[doc(hidden)]
#[derive(Debug)]
pub struct Linked(fn() -> Entry);

impl Linked {
    /// Creates an entry that is made when it is first asked for.
    #[must_use]
    pub const fn new(entry: fn() -> Entry) -> Self {
        Self(entry)
    }
}

inventory::collect!(Linked);

/// A set of plugins of all kinds.
///
/// [`linked`](Self::linked) returns the plugins that the crates of the program registered. A set can also be built by hand, without
/// global state:
///
/// ```
/// use pruning_core::budget::Allocator;
/// use pruning_core::plugin::Plugins;
/// let plugins = Plugins::empty();
/// let error = plugins.build::<dyn Allocator>("uniform", Default::default()).unwrap_err();
/// assert!(error.to_string().starts_with("unknown allocator \"uniform\""));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    entries: BTreeMap<(&'static str, &'static str), Vec<Entry>>,
}

impl Plugins {
    /// Creates an empty set.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Creates a set of every plugin that a crate linked into this program has registered.
    #[must_use]
    pub fn linked() -> Self {
        let mut plugins = Self::empty();
        inventory::iter::<Linked>.into_iter().for_each(|linked| plugins.insert((linked.0)()));
        plugins
    }

    /// Returns this set with `P` added.
    #[must_use]
    pub fn with<P: Register>(mut self) -> Self {
        self.add::<P>();
        self
    }

    /// Adds `P`. Adding one type twice is harmless; two types under one name make that name fail.
    pub fn add<P: Register>(&mut self) {
        self.insert(P::entry());
    }

    fn insert(&mut self, entry: Entry) {
        let claims = self.entries.entry((entry.kind, entry.name)).or_default();
        if claims.iter().all(|claim| claim.plugin != entry.plugin) {
            claims.push(entry);
            // The linker's order is no one's choice: messages should not depend on it.
            claims.sort_by_key(|e| (e.origin.package, e.origin.version, e.origin.file));
        }
    }

    /// Returns the entries by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().flatten()
    }

    /// Returns the entries of one kind by name.
    pub fn of_kind<K: PluginKind + ?Sized>(&self) -> impl Iterator<Item = &Entry> {
        self.iter().filter(|entry| entry.kind == K::KIND)
    }

    /// Checks that no two plugins claim one name, and that every field of a plugin can be given in a recipe.
    ///
    /// # Errors
    /// Plugins break these rules; the list has an error for each.
    pub fn check(&self) -> Result<(), Vec<RegistryError>> {
        let problems: Vec<_> =
            self.entries.values().filter_map(|claims| conflict(claims).or_else(|| reserved(&claims[0]))).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Makes the plugin that a recipe gives: a name, or a table of a `name` and fields.
    ///
    /// A plugin that is configured with other plugins reads them by this function.
    ///
    /// ```
    /// # use pruning_core::budget::Allocator;
    /// # use pruning_core::plugin::Plugins;
    /// # use serde_json::json;
    /// let error = Plugins::linked().read::<dyn Allocator>(json!({ "floor": 0.1 })).unwrap_err();
    /// assert_eq!(error.to_string(), "a table here needs a `name`");
    /// ```
    ///
    /// # Errors
    /// The value is neither, or [`build`](Self::build) fails.
    pub fn read<K: PluginKind + ?Sized>(&self, value: Value) -> Result<Configured<K>, RegistryError> {
        let (name, config) = match value {
            Value::String(name) => (name, Value::Null),
            Value::Object(mut map) => match map.remove(NAME) {
                Some(Value::String(name)) => (name, Value::Object(map)),
                _ => return Err(RegistryError::NotNamed { kind: K::KIND, found: Value::Object(map) }),
            },
            found => return Err(RegistryError::NotNamed { kind: K::KIND, found }),
        };
        self.build(&name, config)
    }

    /// Makes the plugin `name` from the fields of a recipe, an object or null; fields left out have their defaults.
    ///
    /// # Errors
    /// The name is unknown or claimed twice, or a field is unknown or has a value that it must not have.
    pub fn build<K: PluginKind + ?Sized>(&self, name: &str, config: Value) -> Result<Configured<K>, RegistryError> {
        let entry = self.entry::<K>(name)?;
        let build = entry.build.downcast_ref::<Build<K>>();
        let config = if config.is_null() { Value::Object(Default::default()) } else { config };
        configured(entry, || build.ok_or_else(other_kind::<K>)?(config, self))
    }

    /// Takes a plugin as a value, and checks it as [`build`](Self::build) checks a plugin of a recipe.
    ///
    /// # Errors
    /// Another plugin claims the name, or a field has a value that is not allowed or that no recipe can give.
    pub fn configure<P: Register, K: PluginKind + ?Sized>(&self, plugin: P) -> Result<Configured<K>, RegistryError> {
        let plugins = self.clone().with::<P>();
        let entry = plugins.entry::<K>(P::NAME)?;
        let wrap = entry.wrap.downcast_ref::<Wrap<P, K>>();
        configured(entry, || {
            let (plugin, config) = made(plugin, &plugins, *wrap.ok_or_else(other_kind::<K>)?)?;
            // What a recipe writes reads back, which an infinity, say, does not.
            P::deserialize(&config).map_err(|error| format!("its configuration does not read back: {error}"))?;
            Ok((plugin, config))
        })
    }

    /// Returns the one plugin of a name.
    fn entry<K: PluginKind + ?Sized>(&self, name: &str) -> Result<&Entry, RegistryError> {
        if let Some((_, claims)) = self.entries.iter().find(|((kind, n), _)| *kind == K::KIND && *n == name) {
            let refused = conflict(claims).or_else(|| reserved(&claims[0]));
            return refused.map_or(Ok(&claims[0]), Err);
        }
        let known: Vec<_> = self.of_kind::<K>().map(|entry| entry.name).collect();
        let suggestion = nearest(name, known.iter().copied());
        let known = known.into_iter().map(String::from).collect();
        let (kind, name) = (K::KIND, name.to_string());
        Err(match self.iter().find(|entry| entry.name == name) {
            Some(other) => RegistryError::OtherKind { kind, name, found: other.kind, known },
            None => RegistryError::Unknown { kind, name, suggestion, known },
        })
    }
}

fn other_kind<K: PluginKind + ?Sized>() -> String {
    format!("it is registered as another kind than {}", K::KIND)
}

fn configured<K: ?Sized>(
    entry: &Entry,
    make: impl FnOnce() -> Result<(Arc<K>, Value), String>,
) -> Result<Configured<K>, RegistryError> {
    // The code of someone else: a panic of it is a problem like any other.
    let made = caught(make).unwrap_or_else(|message| Err(format!("it panicked: {message}")));
    let (plugin, config) = made.map_err(|problem| {
        let (kind, name) = (entry.kind, entry.name.to_string());
        RegistryError::Config { kind, name, problem }
    })?;
    // One whose `Deserialize` does not say its fields.
    if config.get(NAME).is_some() {
        return Err(reserved_field(entry));
    }
    Ok(Configured::new(entry.name, config, plugin))
}

fn reserved(entry: &Entry) -> Option<RegistryError> {
    (entry.fields)().contains(&NAME).then(|| reserved_field(entry))
}

fn reserved_field(entry: &Entry) -> RegistryError {
    RegistryError::ReservedField { kind: entry.kind, name: entry.name.to_string(), origin: Box::new(entry.origin) }
}

fn conflict(claims: &[Entry]) -> Option<RegistryError> {
    let [first, second, ..] = claims else { return None };
    Some(RegistryError::Conflict {
        kind: first.kind,
        name: first.name.to_string(),
        first: Box::new(first.origin),
        second: Box::new(second.origin),
    })
}

#[cfg(test)]
mod tests;
