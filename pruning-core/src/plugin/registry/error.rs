//! Errors of the registry: [`RegistryError`].

use crate::plugin::registry::Origin;
use crate::shown;
use serde_json::Value;

/// An error for a plugin that could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No plugin has the name.
    #[error(
        "{}{}; there are: {}. A plugin of another crate must be linked: call its `register`",
        if name.is_empty() { format!("the name of the {kind} is empty") } else { format!("unknown {kind} {}", shown::name(name)) },
        did_you_mean(.suggestion), shown::list(known)
    )]
    Unknown {
        /// The kind of plugin.
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name, if one is near.
        suggestion: Option<String>,
        /// All names of that kind, sorted.
        known: Vec<String>,
    },
    /// The name belongs to a plugin of another kind.
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
        /// The kind of the plugin with that name.
        found: &'static str,
        /// All names of the kind that was asked for, sorted.
        known: Vec<String>,
    },
    /// The value of a recipe is neither a name nor a table with a name.
    #[error(
        "{}",
        if .found.is_object() { "a table here needs a `name`".to_string() } else { format!("expected a name or a table with `name`, not {}", shown::text(.found)) }
    )]
    NotNamed {
        /// The kind of plugin.
        kind: &'static str,
        /// The value.
        found: Value,
    },
    /// A field of the configuration is called `name`, the key by which a recipe selects the plugin.
    #[error(
        "{kind} {}: its configuration has a field called \"name\", by which recipes name the plugin itself; rename the field ({origin})",
        shown::name(name)
    )]
    ReservedField {
        /// The kind of plugin.
        kind: &'static str,
        /// The name of the plugin.
        name: String,
        /// The place where it was registered.
        origin: Box<Origin>,
    },
    /// Two different plugins claim the name.
    #[error("{kind} {name:?} is claimed by two plugins, {first} and {second}: link only one of them")]
    Conflict {
        /// The kind of plugin.
        kind: &'static str,
        /// The name.
        name: String,
        /// The place where the first was registered.
        first: Box<Origin>,
        /// The place where the second was registered.
        second: Box<Origin>,
    },
    /// The configuration does not fit the plugin.
    #[error("{kind} {}: {}", shown::name(name), shown::text(problem))]
    Config {
        /// The kind of plugin.
        kind: &'static str,
        /// The name of the plugin.
        name: String,
        /// The problem, with the field.
        problem: String,
    },
}

pub(crate) fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|name| format!(", did you mean {}?", shown::name(name))).unwrap_or_default()
}

/// Returns the nearest of `known`, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // What is much longer than any name is no slip of the finger, and takes memory by its length.
    if name.len() > 100 {
        return None;
    }
    let score = |k: &str| strsim::damerau_levenshtein(name, k);
    let (distance, best) = known.into_iter().map(|k| (score(k), k)).min()?;
    (distance <= 1 + name.chars().count() / 4).then(|| best.to_string())
}
