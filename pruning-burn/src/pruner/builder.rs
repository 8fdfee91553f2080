//! Building a pruner in code: [`PrunerBuilder`].

use crate::pruner::Pruner;
use crate::score::Criterion;
use pruning_core::budget::{Allocator, Compare, Rounding};
use pruning_core::plugin::{Plugins, Register};
use pruning_core::recipe::{OverrideDraft, Pattern, RecipeDraft, RecipeError};
use pruning_core::reconstruct::Reconstruction;
use pruning_core::schedule::{Initialization, Schedule};
use pruning_core::score::{ChannelScore, Granularity, Reduction};

/// A builder of a [`Pruner`], which sets the keys of a recipe in code and makes the same checks.
///
/// `grow` and the granularity of an override are set by recipe files alone.
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

    /// Sets the criterion, which scores how much each weight matters.
    pub fn with_criterion<P: Register + Criterion>(mut self, criterion: P) -> Self {
        self.draft.criterion = Some(self.plugins.configure(criterion));
        self
    }

    /// Sets the allocator, which shares the budget out over the layers.
    pub fn with_allocator<P: Register + Allocator>(mut self, allocator: P) -> Self {
        self.draft.allocator = Some(self.plugins.configure(allocator));
        self
    }

    /// Sets the sparsity, the fraction of the units that is removed.
    pub fn with_sparsity(mut self, sparsity: f64) -> Self {
        self.draft.sparsity = Some(sparsity);
        self
    }

    /// Sets the number of units that are removed, instead of a sparsity.
    pub fn with_count(mut self, count: usize) -> Self {
        self.draft.count = Some(count);
        self
    }

    /// Sets the granularity, which says what is removed together.
    pub fn with_granularity(mut self, granularity: Granularity) -> Self {
        self.draft.granularity = Some(granularity);
        self
    }

    /// Sets which weights of a layer compete with each other for the number that it keeps.
    pub fn with_compare(mut self, compare: Compare) -> Self {
        self.draft.compare = compare;
        self
    }

    /// Leaves layers dense that the granularity does not fit, and names them in the report.
    ///
    /// Without this such a layer is an error, for instance one whose fan-in is not a multiple of the M of N:M.
    pub fn with_skip_unfit(mut self) -> Self {
        self.draft.skip_unfit = true;
        self
    }

    /// Sets the reduction, which turns the scores of elements into the scores of units.
    pub fn with_reduction(mut self, reduction: Reduction) -> Self {
        self.draft.reduction = Some(reduction);
        self
    }

    /// Sets which weights score a channel or head of a traced model.
    pub fn with_channel_score(mut self, channel_score: ChannelScore) -> Self {
        self.draft.channel_score = Some(channel_score);
        self
    }

    /// Sets the rounding, which turns fractions into counts.
    pub fn with_rounding(mut self, rounding: Rounding) -> Self {
        self.draft.rounding = rounding;
        self
    }

    /// Sets the schedule, which says at which steps a [`Session`](crate::Session) prunes.
    pub fn with_schedule(mut self, schedule: &Schedule) -> Self {
        self.draft.schedule = schedule.into();
        self
    }

    /// Sets the weights from which training goes on after a pruning.
    pub fn with_initialization(mut self, initialization: Initialization) -> Self {
        self.draft.initialization = initialization;
        self
    }

    /// Allows a layer to lose all its units.
    pub fn with_allow_empty(mut self) -> Self {
        self.draft.allow_empty = true;
        self
    }

    /// Sets the reconstruction, which gives the weights that stay new values.
    pub fn with_reconstruction<P: Register + Reconstruction>(mut self, reconstruction: P) -> Self {
        self.draft.reconstruct = Some(self.plugins.configure(reconstruction));
        self
    }

    /// Reconstructs layer after layer, each on what the pruned layers before it put out.
    pub fn with_sequential(mut self) -> Self {
        self.draft.sequential = true;
        self
    }

    /// Adds a pattern of parameters that are pruned.
    pub fn with_include(mut self, pattern: impl Into<String>) -> Self {
        self.draft.include.get_or_insert_default().push(Pattern::new(pattern));
        self
    }

    /// Adds a pattern of parameters that are not pruned.
    pub fn with_exclude(mut self, pattern: impl Into<String>) -> Self {
        self.draft.exclude.push(Pattern::new(pattern));
        self
    }

    /// Sets a separate sparsity for the layers that match a pattern; 0 leaves them dense.
    pub fn with_layer_sparsity(mut self, pattern: impl Into<String>, sparsity: f64) -> Self {
        self.draft.overrides.push(OverrideDraft::new(pattern, sparsity));
        self
    }

    /// Checks all settings, and creates the pruner.
    ///
    /// # Errors
    /// The settings make no valid recipe; the error lists every problem.
    pub fn build(self) -> Result<Pruner, RecipeError> {
        self.draft.check(&self.plugins).map(Pruner::from)
    }
}
