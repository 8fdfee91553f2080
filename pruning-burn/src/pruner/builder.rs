//! A pruner in code: [`PrunerBuilder`].

use crate::pruner::Pruner;
use crate::score::Criterion;
use pruning_core::budget::{Allocator, Rounding};
use pruning_core::plugin::{Plugins, Register};
use pruning_core::recipe::{OverrideDraft, Pattern, RecipeDraft, RecipeError};
use pruning_core::schedule::{Initialization, Schedule};
use pruning_core::score::{ChannelScore, Granularity, Reduction};

/// Builds a [`Pruner`] in code. What a recipe file can say can be said here, and is checked in the same way.
///
/// ```
/// # use pruning_magnitude::Magnitude;
/// # use pruning_allocation::Global;
/// use pruning_burn::Pruner;
/// let pruner = Pruner::builder().with_criterion(Magnitude::l1()).with_allocator(Global::default()).with_sparsity(0.9).build()?;
/// assert_eq!(pruner.recipe().criterion.name(), "magnitude");
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PrunerBuilder {
    plugins: Plugins,
    draft: RecipeDraft<dyn Criterion>,
}

impl PrunerBuilder {
    pub(crate) fn new(plugins: Plugins) -> Self {
        Self { plugins, draft: RecipeDraft::default() }
    }

    /// Which weights matter least.
    pub fn with_criterion<P: Register + Criterion>(mut self, criterion: P) -> Self {
        self.draft.criterion = Some(self.plugins.configure(criterion));
        self
    }

    /// How the budget is shared out.
    pub fn with_allocator<P: Register + Allocator>(mut self, allocator: P) -> Self {
        self.draft.allocator = Some(self.plugins.configure(allocator));
        self
    }

    /// The fraction removed.
    pub fn with_sparsity(mut self, sparsity: f64) -> Self {
        self.draft.sparsity = Some(sparsity);
        self
    }

    /// The number of units removed, instead of a fraction.
    pub fn with_count(mut self, count: usize) -> Self {
        self.draft.count = Some(count);
        self
    }

    /// What is removed together.
    pub fn with_granularity(mut self, granularity: Granularity) -> Self {
        self.draft.granularity = Some(granularity);
        self
    }

    /// Leaves layers dense that the granularity does not fit, such as those whose fan-in M of N:M does not divide; the report names them.
    pub fn with_skip_unfit(mut self) -> Self {
        self.draft.skip_unfit = true;
        self
    }

    /// How element scores become unit scores.
    pub fn with_reduction(mut self, reduction: Reduction) -> Self {
        self.draft.reduction = Some(reduction);
        self
    }

    /// Which weights score a channel or head of a traced model.
    pub fn with_channel_score(mut self, channel_score: ChannelScore) -> Self {
        self.draft.channel_score = Some(channel_score);
        self
    }

    /// How fractions become counts.
    pub fn with_rounding(mut self, rounding: Rounding) -> Self {
        self.draft.rounding = rounding;
        self
    }

    /// When.
    pub fn with_schedule(mut self, schedule: &Schedule) -> Self {
        self.draft.schedule = schedule.into();
        self
    }

    /// From which weights training goes on.
    pub fn with_initialization(mut self, initialization: Initialization) -> Self {
        self.draft.initialization = initialization;
        self
    }

    /// Lets a layer lose all its units.
    pub fn with_allow_empty(mut self) -> Self {
        self.draft.allow_empty = true;
        self
    }

    /// Adds a pattern of parameters to prune.
    pub fn with_include(mut self, pattern: impl Into<String>) -> Self {
        self.draft.include.get_or_insert_default().push(Pattern::new(pattern));
        self
    }

    /// Adds a pattern of parameters to leave alone.
    pub fn with_exclude(mut self, pattern: impl Into<String>) -> Self {
        self.draft.exclude.push(Pattern::new(pattern));
        self
    }

    /// Gives the layers of a pattern a sparsity of their own; 0 leaves them dense.
    pub fn with_layer_sparsity(mut self, pattern: impl Into<String>, sparsity: f64) -> Self {
        self.draft.overrides.push(OverrideDraft::new(pattern, sparsity));
        self
    }

    /// Checks it all.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn build(self) -> Result<Pruner, RecipeError> {
        self.draft.check(&self.plugins).map(Pruner::from)
    }
}
