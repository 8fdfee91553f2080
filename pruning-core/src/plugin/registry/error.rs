//! Why there is no plugin: [`RegistryError`].

use crate::plugin::registry::Origin;
use crate::shown;
use serde_json::Value;

/// Why a plugin could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No plugin has that name.
    #[error(
        "{}{}; there are: {}. A plugin of another crate must be linked: call its `register`",
        if name.is_empty() { format!("the name of the {kind} is empty") } else { format!("unknown {kind} {}", shown::name(name)) },
        did_you_mean(.suggestion), shown::list(known)
    )]
    Unknown {
        /// Kind of plugin.
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name, if one is near.
        suggestion: Option<String>,
        /// All names of that kind, sorted.
        known: Vec<String>,
    },
    /// The name is that of a plugin of another kind.
    #[error(
        "{kind} {}: this is the name of a plugin of the kind {found}; there are: {}",
        shown::name(name),
        shown::list(known)
    )]
    OtherKind {
        /// The kind that was asked for.
        kind: &'static str,
        /// The name.
        name: String,
        /// The kind of the plugin of that name.
        found: &'static str,
        /// All names of the kind that was asked for, sorted.
        known: Vec<String>,
    },
    /// What a recipe gives is no name, and no table with one.
    #[error(
        "{}",
        if .found.is_object() { "a table here needs a `name`".to_string() } else { format!("expected a name or a table with `name`, not {}", shown::text(.found)) }
    )]
    NotNamed {
        /// Kind of plugin.
        kind: &'static str,
        /// The value.
        found: Value,
    },
    /// A field of the configuration has the name by which a recipe says which plugin it is.
    #[error(
        "{kind} {}: its configuration has a field called \"name\", by which recipes name the plugin itself; rename the field ({origin})",
        shown::name(name)
    )]
    ReservedField {
        /// Kind of plugin.
        kind: &'static str,
        /// The plugin.
        name: String,
        /// Where it was registered.
        origin: Box<Origin>,
    },
    /// Two different plugins claim the name.
    #[error("{kind} {name:?} is claimed by two plugins, {first} and {second}: link only one of them")]
    Conflict {
        /// Kind of plugin.
        kind: &'static str,
        /// The name.
        name: String,
        /// One origin.
        first: Box<Origin>,
        /// The other.
        second: Box<Origin>,
    },
    /// The configuration is not one of this plugin.
    #[error("{kind} {}: {}", shown::name(name), shown::text(problem))]
    Config {
        /// Kind of plugin.
        kind: &'static str,
        /// The plugin.
        name: String,
        /// What is wrong, by field.
        problem: String,
    },
}

pub(crate) fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|name| format!(", did you mean {}?", shown::name(name))).unwrap_or_default()
}

/// The nearest of `known`, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // What is much longer than any name is no slip of the finger, and takes memory by its length.
    if name.len() > 100 {
        return None;
    }
    let score = |k: &str| strsim::damerau_levenshtein(name, k);
    let (distance, best) = known.into_iter().map(|k| (score(k), k)).min()?;
    (distance <= 1 + name.chars().count() / 4).then(|| best.to_string())
}
