//! A recipe as it was given, before any check: [`RecipeDraft`].

use crate::budget::{Allocator, Compare, Rounding};
use crate::plugin::{Configured, RegistryError};
use crate::recipe::Pattern;
use crate::recipe::problem::Problems;
use crate::reconstruct::Reconstruction;
use crate::schedule::{Anneal, Curve, Initialization, Rounds, Schedule};
use crate::score::{ChannelScore, Granularity, Reduction};

/// A plugin that a recipe names, or the error for a plugin that was not found.
pub type Found<K> = Result<Configured<K>, RegistryError>;

/// All settings of a recipe as they were given: no value is checked before [`check`](Self::check).
///
/// Recipe files are read into a draft, and builders fill one in. Settings that are left out have their defaults.
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
    /// The fraction that is removed.
    pub sparsity: Option<f64>,
    /// The number of units that is removed.
    pub count: Option<usize>,
    /// The criterion that scores the weights.
    pub criterion: Option<Found<K>>,
    /// The allocator that shares the budget out; `"uniform"` by default.
    pub allocator: Option<Found<dyn Allocator>>,
    /// The shape of what is removed together; single weights by default.
    pub granularity: Option<Granularity>,
    /// The weights of a layer that compete with each other; all of them by default.
    pub compare: Compare,
    /// Whether layers that the granularity does not fit are left dense.
    pub skip_unfit: bool,
    /// The way in which element scores become unit scores.
    pub reduction: Option<Reduction>,
    /// The weights that score a channel or head of a traced model.
    pub channel_score: Option<ChannelScore>,
    /// The way in which fractions become counts.
    pub rounding: Rounding,
    /// The steps at which pruning happens.
    pub schedule: ScheduleDraft,
    /// The weights from which training goes on.
    pub initialization: Initialization,
    /// Dynamic sparse training: whether and how pruned weights come back.
    pub grow: Option<GrowDraft<K>>,
    /// Whether a layer may lose all its units.
    pub allow_empty: bool,
    /// The reconstruction that gives the weights that stay new values; none by default.
    pub reconstruct: Option<Found<dyn Reconstruction>>,
    /// Whether layers are reconstructed one after the other.
    pub sequential: bool,
    /// The patterns of parameters to prune; all of them by default.
    pub include: Option<Vec<Pattern>>,
    /// The patterns of parameters to leave alone.
    pub exclude: Vec<Pattern>,
    /// Layers with a budget of their own.
    pub overrides: Vec<OverrideDraft>,
    /// The problems that were found while reading the text.
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
            compare: Compare::default(),
            skip_unfit: false,
            reduction: None,
            channel_score: None,
            rounding: Rounding::default(),
            schedule: ScheduleDraft::default(),
            initialization: Initialization::default(),
            grow: None,
            allow_empty: false,
            reconstruct: None,
            sequential: false,
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
            reconstruct: self.reconstruct.clone(),
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
    /// Prunes once.
    OneShot {
        /// The step of the pruning.
        at: usize,
    },
    /// Prunes in rounds.
    Iterative {
        /// The step of the first round.
        begin: usize,
        /// The steps from round to round.
        every: usize,
        /// The number of rounds.
        rounds: Option<usize>,
        /// The fraction of what remains that a round removes.
        fraction: Option<f64>,
    },
    /// Prunes along a curve.
    Gradual {
        /// The first step.
        begin: usize,
        /// The last step.
        end: Option<usize>,
        /// The steps between prunings.
        every: usize,
        /// The sparsity at the first step.
        initial: f64,
        /// The shape of the sparsity over time; `"cubic"` by default.
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
    /// The pattern of the layers.
    pub target: Option<Pattern>,
    /// The sparsity of the layers; an N:M pattern has one of its own.
    pub sparsity: Option<f64>,
    /// The granularity of the layers, if it differs from the recipe's.
    pub granularity: Option<Granularity>,
}

impl OverrideDraft {
    /// Creates an override of sparsity.
    pub fn new(target: impl Into<String>, sparsity: f64) -> Self {
        Self { target: Some(Pattern::new(target)), sparsity: Some(sparsity), granularity: None }
    }
}

/// A [`Grow`](crate::schedule::Grow) as it was given.
#[derive(Debug)]
#[non_exhaustive]
pub struct GrowDraft<K: ?Sized> {
    /// The criterion whose highest scores come back.
    pub criterion: Option<Found<K>>,
    /// The fraction of the kept weights that the first update swaps.
    pub fraction: f64,
    /// The way in which the fraction falls.
    pub anneal: Anneal,
    /// The steps between updates.
    pub every: usize,
    /// The step before which all updates come.
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
