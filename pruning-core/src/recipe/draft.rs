//! A recipe as it was given: [`RecipeDraft`].

use crate::budget::{Allocator, Rounding};
use crate::plugin::{Configured, RegistryError};
use crate::recipe::Pattern;
use crate::recipe::problem::Problems;
use crate::schedule::{Anneal, Curve, Initialization, Rounds, Schedule};
use crate::score::{ChannelScore, Granularity, Reduction};

/// A plugin that a recipe names, or why there is none.
pub type Found<K> = Result<Configured<K>, RegistryError>;

/// Everything that can be said in a recipe, as it was given: no value is checked before [`check`](Self::check).
///
/// Recipe files are read into a draft, and builders fill one in. What is left out has its default.
///
/// ```
/// use pruning_core::plugin::Plugins;
/// use pruning_core::recipe::RecipeDraft;
/// use pruning_core::schedule::Curve;
/// let mut draft = RecipeDraft::<dyn Curve>::default();
/// draft.sparsity = Some(f64::NAN);
/// let error = draft.check(&Plugins::empty()).unwrap_err();
/// assert_eq!(error.problems[0].path, "sparsity");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct RecipeDraft<K: ?Sized> {
    /// The fraction removed.
    pub sparsity: Option<f64>,
    /// The number of units removed.
    pub count: Option<usize>,
    /// Which weights matter least.
    pub criterion: Option<Found<K>>,
    /// How the budget is shared out; `"uniform"` by default.
    pub allocator: Option<Found<dyn Allocator>>,
    /// What is removed together; single weights by default.
    pub granularity: Option<Granularity>,
    /// Whether layers that the granularity does not fit are left dense.
    pub skip_unfit: bool,
    /// How element scores become unit scores.
    pub reduction: Option<Reduction>,
    /// Which weights score a channel or head of a traced model.
    pub channel_score: Option<ChannelScore>,
    /// How fractions become counts.
    pub rounding: Rounding,
    /// When.
    pub schedule: ScheduleDraft,
    /// From which weights training goes on.
    pub initialization: Initialization,
    /// Whether and how pruned weights come back.
    pub grow: Option<GrowDraft<K>>,
    /// Whether a layer may lose all its units.
    pub allow_empty: bool,
    /// Patterns of parameters to prune; all of them by default.
    pub include: Option<Vec<Pattern>>,
    /// Patterns of parameters to leave alone.
    pub exclude: Vec<Pattern>,
    /// Layers with a budget of their own.
    pub overrides: Vec<OverrideDraft>,
    /// What reading the text has found.
    pub(super) problems: Problems,
}

// Derived, these would ask the kind itself for the same.
impl<K: ?Sized> Default for RecipeDraft<K> {
    fn default() -> Self {
        Self {
            sparsity: None,
            count: None,
            criterion: None,
            allocator: None,
            granularity: None,
            skip_unfit: false,
            reduction: None,
            channel_score: None,
            rounding: Rounding::default(),
            schedule: ScheduleDraft::default(),
            initialization: Initialization::default(),
            grow: None,
            allow_empty: false,
            include: None,
            exclude: Vec::new(),
            overrides: Vec::new(),
            problems: Problems::default(),
        }
    }
}

impl<K: ?Sized> Clone for RecipeDraft<K> {
    fn clone(&self) -> Self {
        Self {
            criterion: self.criterion.clone(),
            allocator: self.allocator.clone(),
            schedule: self.schedule.clone(),
            grow: self.grow.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            overrides: self.overrides.clone(),
            problems: self.problems.clone(),
            ..*self
        }
    }
}

/// A [`Schedule`] as it was given.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ScheduleDraft {
    /// Once.
    OneShot {
        /// The step.
        at: usize,
    },
    /// In rounds.
    Iterative {
        /// Step of the first round.
        begin: usize,
        /// Steps from round to round.
        every: usize,
        /// How many rounds.
        rounds: Option<usize>,
        /// The fraction of what remains that a round removes.
        fraction: Option<f64>,
    },
    /// Along a curve.
    Gradual {
        /// First step.
        begin: usize,
        /// Last step.
        end: Option<usize>,
        /// Steps between prunings.
        every: usize,
        /// Sparsity at the first step.
        initial: f64,
        /// The shape; `"cubic"` by default.
        curve: Option<Found<dyn Curve>>,
    },
}

impl Default for ScheduleDraft {
    fn default() -> Self {
        Self::OneShot { at: 0 }
    }
}

impl From<&Schedule> for ScheduleDraft {
    fn from(schedule: &Schedule) -> Self {
        match *schedule {
            Schedule::OneShot { at } => Self::OneShot { at },
            Schedule::Iterative { begin, every, rounds } => {
                let (rounds, fraction) = match rounds {
                    Rounds::ToTarget(n) => (Some(n), None),
                    Rounds::Fraction(f) => (None, Some(f.value())),
                    Rounds::FractionTimes(f, n) => (Some(n), Some(f.value())),
                };
                Self::Iterative { begin, every, rounds, fraction }
            }
            Schedule::Gradual { begin, end, every, initial, ref curve } => {
                Self::Gradual { begin, end: Some(end), every, initial: initial.value(), curve: Some(Ok(curve.clone())) }
            }
        }
    }
}

/// An [`Override`](crate::recipe::Override) as it was given.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OverrideDraft {
    /// The layers.
    pub target: Option<Pattern>,
    /// Their sparsity; an N:M pattern has one of its own.
    pub sparsity: Option<f64>,
    /// Their granularity, if it is not the recipe's.
    pub granularity: Option<Granularity>,
}

impl OverrideDraft {
    /// Layers with a sparsity of their own.
    pub fn new(target: impl Into<String>, sparsity: f64) -> Self {
        Self { target: Some(Pattern::new(target)), sparsity: Some(sparsity), granularity: None }
    }
}

/// A [`Grow`](crate::schedule::Grow) as it was given.
#[derive(Debug)]
#[non_exhaustive]
pub struct GrowDraft<K: ?Sized> {
    /// The highest of these scores come back.
    pub criterion: Option<Found<K>>,
    /// The fraction of the kept weights that the first update swaps.
    pub fraction: f64,
    /// How the fraction falls.
    pub anneal: Anneal,
    /// Steps between updates.
    pub every: usize,
    /// All updates come before this step.
    pub end: Option<usize>,
}

impl<K: ?Sized> Default for GrowDraft<K> {
    fn default() -> Self {
        Self { criterion: None, fraction: 0.3, anneal: Anneal::default(), every: 100, end: None }
    }
}

impl<K: ?Sized> Clone for GrowDraft<K> {
    fn clone(&self) -> Self {
        Self { criterion: self.criterion.clone(), ..*self }
    }
}
