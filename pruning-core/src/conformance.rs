//! The published test kit for allocators, curves and reconstructions, which checks what every plugin of these kinds must do.
//!
//! One line in the tests of a plugin crate runs all checks. A failure names the plugin, the check and the case, with what was expected
//! and found:
//!
//! ```
//! # use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
//! # use pruning_core::plugin::Plugin;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Default, Serialize, Deserialize)]
//! # #[serde(default, deny_unknown_fields)]
//! # struct Even {}
//! # impl Plugin for Even {
//! #     const NAME: &'static str = "acme.even";
//! #     const SUMMARY: &'static str = "The same density in every layer.";
//! # }
//! # impl Allocator for Even {
//! #     fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
//! #         in_proportion(&layers.iter().map(|l| Share::new(l.units() as f64, l)).collect::<Vec<_>>(), keep)
//! #     }
//! # }
//! # pruning_core::register_allocator!(Even);
//! pruning_core::conformance::assert_allocator::<Even>();
//! ```
//!
//! A test runner that wants one trial for each check takes the checks from [`allocator_checks`], [`curve_checks`] and
//! [`reconstruction_checks`].
//!
//! # Contract
//!
//! A check is a function over cases, and for each check there are plugins that are wrong on purpose (`mutants.rs`), which it must catch.
//! The checks of one list share the first answers of a plugin, since the plugin may have changed its state before a check for it runs. An
//! allocator is also called with its layers in other orders; a unit may move where remainders are equal.

mod allocator;
mod curve;
mod reconstruction;

pub use allocator::allocator_checks;
pub use curve::curve_checks;
pub use reconstruction::reconstruction_checks;

use crate::budget::Allocator;
use crate::caught;
use crate::plugin::{Configured, PluginKind, Plugins, Register};
use crate::reconstruct::Reconstruction;
use crate::schedule::Curve;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A failed check of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {plugin:?} fails {check}\n  case:     {case}\n  expected: {expected}\n  got:      {got}")]
#[non_exhaustive]
pub struct Failure {
    /// The kind of plugin.
    pub kind: &'static str,
    /// The name of the plugin.
    pub plugin: String,
    /// The name of the check.
    pub check: &'static str,
    /// The inputs of the case: shapes, seeds, devices.
    pub case: Box<str>,
    /// The result that the contract asks for.
    pub expected: Box<str>,
    /// The result of the plugin.
    pub got: Box<str>,
}

/// The plugin under test.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    plugins: &'a Plugins,
    name: &'a str,
    config: Value,
}

impl<'a> Subject<'a> {
    /// Creates a subject from the plugin `name` of `plugins`, with its default configuration.
    #[must_use]
    pub fn new(plugins: &'a Plugins, name: &'a str) -> Self {
        Self { plugins, name, config: Value::Null }
    }

    /// Sets a configuration, as a recipe gives it.
    #[must_use]
    pub fn with_config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// Returns the name of the plugin.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Builds the plugin as a recipe builds it.
    ///
    /// # Errors
    /// The plugin cannot be built.
    pub fn build<K: PluginKind + ?Sized>(&self, check: &Check<K>) -> Result<Configured<K>, Failure> {
        self.plugins.build::<K>(self.name, self.config.clone()).map_err(|error| {
            check.failure(self, format!("config {}", self.config), "a plugin that can be built", error.to_string())
        })
    }
}

/// A property that every plugin of kind `K` must have.
pub struct Check<K: ?Sized + 'static> {
    /// The name of the check: a few words, joined by underscores.
    pub name: &'static str,
    run: Run<K>,
}

type Run<K> = Box<dyn Fn(&Check<K>, &Subject<'_>) -> Result<(), Failure> + Send + Sync>;

impl<K: ?Sized> fmt::Debug for Check<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name)
    }
}

impl<K: PluginKind + ?Sized> Check<K> {
    /// Creates a check from a function; kits for other kinds of plugins use it.
    pub fn new(
        name: &'static str,
        run: impl Fn(&Self, &Subject<'_>) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Runs the check on a plugin.
    ///
    /// # Errors
    /// A case fails; a panic of the plugin is a failure too. The error has the first one.
    pub fn run(&self, subject: &Subject<'_>) -> Result<(), Failure> {
        self.guard(subject, "the plugin is made and called", || (self.run)(self, subject))
    }

    /// Runs one case, and turns a panic of the plugin into a failure of that case.
    ///
    /// # Errors
    /// `case` fails or panics.
    pub fn guard<T>(
        &self,
        subject: &Subject<'_>,
        about: &str,
        case: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        caught(case)
            .unwrap_or_else(|message| Err(self.failure(subject, about, "no panic", format!("it panicked: {message}"))))
    }

    /// Creates the failure of a case.
    pub fn failure(
        &self,
        subject: &Subject<'_>,
        case: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
        got: impl Into<Box<str>>,
    ) -> Failure {
        Failure {
            kind: K::KIND,
            plugin: subject.name.to_string(),
            check: self.name,
            case: case.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// The answers of a plugin to its first questions.
///
/// A plugin with a state of its own gives other answers later, and its state may have settled before a check begins. So the checks of one
/// list share these answers: the first check to ask writes down what later ones must find.
#[derive(Debug)]
pub struct FirstAnswers<A>(Mutex<BTreeMap<String, A>>);

impl<A> Default for FirstAnswers<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Clone> FirstAnswers<A> {
    /// Returns the first answer of a plugin to a case: `answer`, unless there was one before.
    pub fn first(&self, subject: &Subject<'_>, case: &str, answer: &A) -> A {
        let key = format!("{} {} {case}", subject.name, subject.config);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(|| answer.clone()).clone()
    }
}

/// Creates the checks for every kind of plugin: a plugin reads back the configuration it prints, refuses what it does not know, and
/// describes itself.
#[must_use]
pub fn plugin_checks<K: PluginKind + ?Sized>() -> Vec<Check<K>> {
    vec![
        Check::new("configuration_round_trip", |check: &Check<K>, subject: &Subject<'_>| {
            let config = subject.build(check)?.config().clone();
            let again = Subject { config: config.clone(), ..subject.clone() }.build(check)?;
            let same = again.config() == &config;
            let failure =
                || check.failure(subject, "its own printed configuration", config.to_string(), format!("{again:?}"));
            if same { Ok(()) } else { Err(failure()) }
        }),
        Check::new("unknown_field_is_refused_by_name", |check: &Check<K>, subject: &Subject<'_>| {
            let mut config = subject.build(check)?.config().clone();
            config["no_such_field_here"] = json!(1);
            let got = match subject.plugins.build::<K>(subject.name, config) {
                Err(error) if error.to_string().contains("no_such_field_here") => return Ok(()),
                Err(error) => error.to_string(),
                Ok(_) => "it was accepted".to_string(),
            };
            let expected = "an error with that name in it: derive Deserialize with #[serde(deny_unknown_fields)]";
            Err(check.failure(subject, "a field no_such_field_here", expected, got))
        }),
        Check::new("summary_is_one_sentence", |check: &Check<K>, subject: &Subject<'_>| {
            let entry = subject.plugins.of_kind::<K>().find(|entry| entry.name() == subject.name);
            let summary = entry.map(|entry| entry.summary()).unwrap_or_default();
            let sentence = summary.ends_with('.') && summary.len() > 5 && !summary.contains('\n');
            let failure = || check.failure(subject, "SUMMARY", "one line that ends with a full stop", summary);
            if sentence { Ok(()) } else { Err(failure()) }
        }),
    ]
}

/// Runs checks, and panics with all that fail.
///
/// # Panics
/// A check fails.
pub fn assert_all<K: PluginKind + ?Sized>(checks: &[Check<K>], subject: &Subject<'_>) {
    let failures: Vec<String> =
        checks.iter().filter_map(|check| check.run(subject).err()).map(|f| f.to_string()).collect();
    assert!(failures.is_empty(), "{} of {} checks failed\n{}", failures.len(), checks.len(), failures.join("\n"));
}

/// Runs every check on an allocator, with its default configuration.
///
/// # Panics
/// A check fails.
pub fn assert_allocator<P: Register + Allocator>() {
    let plugins = Plugins::empty().with::<P>();
    assert_all(&allocator_checks(), &Subject::new(&plugins, P::NAME));
}

/// Runs every check on a curve, with its default configuration.
///
/// # Panics
/// A check fails.
pub fn assert_curve<P: Register + Curve>() {
    let plugins = Plugins::empty().with::<P>();
    assert_all(&curve_checks(), &Subject::new(&plugins, P::NAME));
}

/// Runs every check on a reconstruction, with its default configuration.
///
/// # Panics
/// A check fails.
pub fn assert_reconstruction<P: Register + Reconstruction>() {
    let plugins = Plugins::empty().with::<P>();
    assert_all(&reconstruction_checks(), &Subject::new(&plugins, P::NAME));
}

#[cfg(test)]
mod mutants;
