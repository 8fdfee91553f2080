//! A recipe, which says as data what is to be pruned and how: [`Recipe`].

mod check;
mod conflicts;
mod draft;
mod fields;
mod problem;
mod read;
mod target;
mod write;

pub use draft::{Found, GrowDraft, OverrideDraft, RecipeDraft, ScheduleDraft};
pub use problem::{Problem, RecipeError};
pub use target::{Match, Pattern, PatternIndex, Targets};

use crate::budget::{Allocator, Compare, Rounding, Sparsity};
use crate::plugin::{Configured, PluginKind, Plugins};
use crate::reconstruct::Reconstruction;
use crate::schedule::{Grow, Initialization, Schedule};
use crate::score::{ChannelScore, Granularity, Reduction};
use serde_json::{Value, json};

/// All settings of a pruning, with every plugin found and every value checked.
///
/// `K` is the kind of criterion, which another crate defines. Recipes are documented as TOML:
///
/// ```toml
/// sparsity = 0.9                          # or count = 1000
/// criterion = "magnitude"                 # or { name = "magnitude", p = 2 }
/// allocator = "global"                    # default "uniform"
/// granularity = "element"                 # "channel", "2:4", "2:4 taps", { kind = "block", rows = 1, cols = 4 }
/// compare = "layer"                       # "row": weights compete within their output unit, as in Wanda
/// skip_unfit = false                      # leave layers dense that the granularity does not divide
/// # channel_score = "group"               # "own": of channels and heads of a traced model
/// rounding = "half_even"                  # "floor", "ceil"
/// initialization = "keep"                 # "rewind", { rewind = { step = 100 } }, "rewind_rate", "reinitialize"
/// allow_empty = false
/// # reconstruct = "obs"                   # or { name = "obs", damp = 0.1 }: new values for the weights that stay
/// # sequential = false                    # true: layer after layer, on what the pruned layers before it put out
///
/// # Dynamic sparse training; without this table, what is pruned stays pruned.
/// grow = { criterion = "gradient", fraction = 0.3, anneal = "cosine", every = 100, end = 7500 }
///
/// [schedule]
/// kind = "iterative"                      # "one_shot" (default), "gradual"
/// rounds = 5
///
/// [target]
/// include = ["*"]
/// exclude = ["head"]
///
/// [[override]]
/// target = "fc3"
/// sparsity = 0.5
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Recipe<K: ?Sized> {
    /// The amount that is removed.
    pub budget: Budget,
    /// The criterion that scores the weights.
    pub criterion: Configured<K>,
    /// The allocator that shares the budget out; N:M needs none.
    pub allocator: Option<Configured<dyn Allocator>>,
    /// The shape of what is removed together.
    pub granularity: Granularity,
    /// The weights of a layer that compete with each other.
    pub compare: Compare,
    /// Whether layers that the granularity does not fit are left dense and reported; otherwise they are an error.
    pub skip_unfit: bool,
    /// The way in which element scores become unit scores; the criterion's own way by default.
    pub reduction: Option<Reduction>,
    /// The weights that score a channel or head of a traced model.
    pub channel_score: ChannelScore,
    /// The way in which fractions become counts.
    pub rounding: Rounding,
    /// The steps at which pruning happens.
    pub schedule: Schedule,
    /// The weights from which training goes on.
    pub initialization: Initialization,
    /// Dynamic sparse training: whether and how pruned weights come back.
    pub grow: Option<Grow<K>>,
    /// Whether a layer may lose all its units.
    pub allow_empty: bool,
    /// The reconstruction that gives the weights that stay new values.
    pub reconstruct: Option<Configured<dyn Reconstruction>>,
    /// Whether layers are reconstructed one after the other, each on what the pruned layers before it put out.
    pub sequential: bool,
    /// The parameters that are pruned.
    pub targets: Targets,
    /// Layers with a budget of their own.
    pub overrides: Vec<Override>,
}

// Derived, it would ask the kind itself to be `Clone`.
impl<K: ?Sized> Clone for Recipe<K> {
    fn clone(&self) -> Self {
        Self {
            budget: self.budget,
            criterion: self.criterion.clone(),
            allocator: self.allocator.clone(),
            granularity: self.granularity,
            compare: self.compare,
            skip_unfit: self.skip_unfit,
            reduction: self.reduction,
            channel_score: self.channel_score,
            rounding: self.rounding,
            schedule: self.schedule.clone(),
            initialization: self.initialization,
            grow: self.grow.clone(),
            allow_empty: self.allow_empty,
            reconstruct: self.reconstruct.clone(),
            sequential: self.sequential,
            targets: self.targets.clone(),
            overrides: self.overrides.clone(),
        }
    }
}

/// The amount that is removed in the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// A fraction of all units is removed.
    Sparsity(Sparsity),
    /// A number of units is removed, in one shot.
    Count(usize),
}

/// One or several layers with a budget of their own, outside of the shared one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Override {
    /// The pattern of the layers.
    pub target: Pattern,
    /// The sparsity of each of these layers by itself.
    pub sparsity: Sparsity,
    /// The granularity of these layers, if it differs from the recipe's.
    pub granularity: Option<Granularity>,
}

impl Override {
    /// Creates an override of sparsity, in the recipe's granularity.
    pub fn new(target: impl Into<String>, sparsity: Sparsity) -> Self {
        Self { target: Pattern::new(target), sparsity, granularity: None }
    }
}

impl<K: PluginKind + ?Sized> Recipe<K> {
    /// Reads a recipe from TOML text, and finds its plugins.
    ///
    /// ```
    /// use pruning_core::plugin::Plugins;
    /// use pruning_core::recipe::Recipe;
    /// # type Criterion = dyn pruning_core::schedule::Curve;
    /// let result = Recipe::<Criterion>::from_toml("sparsity = 1.5\ncriterion = \"magnitud\"", &Plugins::empty());
    /// let error = result.unwrap_err();
    /// // Nothing is registered here, not even the default allocator.
    /// let places: Vec<_> = error.problems.iter().map(|problem| &problem.path[..]).collect();
    /// assert_eq!(places, ["sparsity", "criterion", "allocator"]);
    /// ```
    ///
    /// # Errors
    /// The recipe has problems, and the error lists all of them: syntax, unknown keys, values out of range, unknown plugins, keys that
    /// exclude each other.
    pub fn from_toml(text: &str, plugins: &Plugins) -> Result<Self, RecipeError> {
        let table: toml::Table = toml::from_str(text).map_err(RecipeError::of_text)?;
        Self::from_value(json_of(toml::Value::Table(table)), plugins)
    }

    /// Reads a recipe from JSON text, and finds its plugins.
    ///
    /// # Errors
    /// The same as for [`from_toml`](Self::from_toml).
    pub fn from_json(text: &str, plugins: &Plugins) -> Result<Self, RecipeError> {
        let value = serde_json::from_str(text).map_err(RecipeError::of_text)?;
        Self::from_value(value, plugins)
    }

    /// Reads a recipe from a value of any format, and finds its plugins.
    ///
    /// # Errors
    /// The same as for [`from_toml`](Self::from_toml).
    pub fn from_value(value: Value, plugins: &Plugins) -> Result<Self, RecipeError> {
        read::read(value, plugins).check(plugins)
    }
}

/// TOML has infinities and NaN, JSON has not: they become text, which the types that allow them read.
fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::Float(f) if f.is_nan() => json!("nan"),
        toml::Value::Float(f) if f.is_infinite() => json!(if f > 0.0 { "inf" } else { "-inf" }),
        toml::Value::Float(f) => json!(f),
        toml::Value::Integer(i) => json!(i),
        toml::Value::Boolean(b) => json!(b),
        toml::Value::String(s) => json!(s),
        toml::Value::Datetime(d) => json!(d.to_string()),
        toml::Value::Array(list) => list.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, json_of(v))).collect()),
    }
}

impl<K: ?Sized> Recipe<K> {
    /// Returns the sparsity in the end, if the recipe asks for a sparsity.
    #[must_use]
    pub fn sparsity(&self) -> Option<Sparsity> {
        match self.budget {
            Budget::Sparsity(sparsity) => Some(sparsity),
            Budget::Count(_) => None,
        }
    }

    /// Returns whether any units are channels or heads.
    #[must_use]
    pub fn is_structural(&self) -> bool {
        let overrides = self.overrides.iter().filter_map(|o| o.granularity);
        std::iter::once(self.granularity).chain(overrides).any(|g| g.is_structural())
    }
}

#[cfg(test)]
mod tests;
