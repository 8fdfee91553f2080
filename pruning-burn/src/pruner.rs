//! Pruning a model by a recipe: [`Pruner`].

mod alone;
mod builder;
#[cfg(feature = "trace")]
pub(crate) mod channels;
mod choices;
pub(crate) mod layer_scores;
pub(crate) mod masked;
pub(crate) mod select;
#[cfg(feature = "trace")]
mod with_batches;

pub use builder::PrunerBuilder;
pub use choices::Choices;
pub use layer_scores::LayerScores;

use crate::PruneError;
use crate::amounts::Amounts;
use crate::layers::layers;
use crate::pruner::masked::masked;
use crate::pruner::select::select;
use crate::recipe::Recipe;
use crate::reports::report_on;
use crate::score::{CriterionInputs, Needs};
use crate::targets::Selection;
#[cfg(feature = "trace")]
use crate::trace::Trace;
use burn::module::Module;
use pruning_core::budget::Amount;
#[cfg(feature = "trace")]
use pruning_core::budget::Measure;
use pruning_core::plugin::Plugins;
use pruning_core::recipe::{Budget, RecipeError};
use pruning_core::report::Report;
use std::collections::BTreeMap;
#[cfg(feature = "trace")]
use std::sync::Arc;

/// A recipe that is ready to prune models.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use pruning_burn::plugin::Plugins;
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::Pruner;
/// use pruning_burn::mask::finish;
/// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
/// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
/// let report = pruner.prune(&mut model, None)?;
/// assert_eq!(report.kept(), 20);
/// finish(&mut model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pruner {
    recipe: Recipe,
    /// What is pruned at once, instead of the recipe's budget.
    amount: Option<Amount>,
    #[cfg(feature = "trace")]
    trace: Option<Arc<Trace>>,
}

impl From<&Pruner> for Recipe {
    /// The recipe, with the amount of [`Pruner::with_amount`] in place of its budget where that is a sparsity or a count.
    fn from(pruner: &Pruner) -> Self {
        let mut recipe = pruner.recipe.clone();
        match pruner.amount {
            Some(Amount::OfTotal(sparsity)) => recipe.budget = Budget::Sparsity(sparsity),
            Some(Amount::Count(count)) => recipe.budget = Budget::Count(count),
            Some(Amount::OfRemaining(_)) | None => {}
        }
        recipe
    }
}

impl From<Recipe> for Pruner {
    fn from(recipe: Recipe) -> Self {
        Self {
            recipe,
            amount: None,
            #[cfg(feature = "trace")]
            trace: None,
        }
    }
}

impl Pruner {
    /// Creates a pruner from the text of a recipe.
    ///
    /// ```
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// assert_eq!(pruner.recipe().criterion.name(), "magnitude");
    /// let error = Pruner::from_toml("sparsity = 9\ncriterion = \"magnitud\"", &Plugins::linked()).unwrap_err();
    /// assert_eq!(error.problems.len(), 2);
    /// # Ok::<(), pruning_burn::recipe::RecipeError>(())
    /// ```
    ///
    /// # Errors
    /// The recipe is not valid; the error lists every problem.
    pub fn from_toml(text: &str, plugins: &Plugins) -> Result<Self, RecipeError> {
        Recipe::from_toml(text, plugins).map(Self::from)
    }

    /// Creates a builder, which makes a pruner in code from plugins as values.
    pub fn builder() -> PrunerBuilder {
        PrunerBuilder::new(Plugins::linked())
    }

    /// Gives the pruner a trace, which tells it how the layers of the model depend on each other.
    ///
    /// Channels and heads are then masked everywhere, as [`shrink::mask`](crate::shrink::mask()) does: in all layers that share
    /// them, in biases and norms, and in the weights that read them. Without a trace a channel is masked only in the weight that produces
    /// it, and the report [warns](crate::report::Warning::Untraced). Sessions, scans and rounds of this pruner use the trace too. An
    /// allocator that spends multiply-accumulates takes the cost of a weight from the trace.
    ///
    /// ```
    /// # use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor, activation::relu}};
    /// # use pruning_burn::plugin::Plugins;
    /// # use pruning_burn::Pruner;
    /// # use pruning_burn::mask::masks;
    /// # use pruning_burn::trace::{Scope, Trace};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// # #[derive(Module, Debug)]
    /// # struct Mlp { fc1: Linear, fc2: Linear }
    /// # let device = Device::flex();
    /// # let mut model = Mlp { fc1: LinearConfig::new(8, 16).init(&device), fc2: LinearConfig::new(16, 4).init(&device) };
    /// # let x = Tensor::<2>::ones([1, 8], &device);
    /// let trace = Trace::record(&model, |model: &Mlp, scope: &mut Scope| {
    ///     let x = scope.input(&x);
    ///     scope.output(model.fc2.forward(relu(model.fc1.forward(x))));
    /// })?;
    /// let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
    /// let report = Pruner::from_toml(recipe, &Plugins::linked())?.with_trace(&trace).prune(&mut model, None)?;
    /// assert!(report.warnings.is_empty());
    /// assert_eq!(masks(&model).get("fc1.bias").unwrap().kept(), 8);
    /// assert_eq!(masks(&model).get("fc2.weight").unwrap().kept(), 8 * 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "trace")]
    #[must_use]
    pub fn with_trace(mut self, trace: &Trace) -> Self {
        self.trace = Some(Arc::new(trace.clone()));
        self
    }

    /// Gives modules and parameters other names, such as those of the file that their values came from.
    ///
    /// Each name stands for the path of a module or of a parameter, and patterns of the recipe match either.
    ///
    /// ```
    /// # use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// # use pruning_burn::prelude::*;
    /// # #[derive(Module, Debug)]
    /// # struct Mlp { fc1: Linear, fc2: Linear }
    /// # let device = Device::flex();
    /// # let mut model = Mlp { fc1: LinearConfig::new(8, 16).init(&device), fc2: LinearConfig::new(16, 4).init(&device) };
    /// let recipe = "criterion = \"magnitude\"\nsparsity = 0.5\ntarget = { exclude = [\"classifier.3\"] }";
    /// let names = [("classifier.1", "fc1"), ("classifier.3", "fc2")];
    /// Pruner::from_toml(recipe, &Plugins::linked())?.with_names(names).prune(&mut model, None)?;
    /// assert!(masks(&model).get("fc1.weight").is_some() && masks(&model).get("fc2.weight").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_names<N: Into<String>, P: Into<String>>(mut self, names: impl IntoIterator<Item = (N, P)>) -> Self {
        self.recipe.targets = self.recipe.targets.with_names(names);
        self
    }

    /// Makes [`prune`](Self::prune) remove this amount instead of the target of the recipe.
    ///
    /// A [`Shrinker`](crate::shrink::Shrinker) takes the amount as well, if it is no [`Amount::OfRemaining`]. Layers with an override keep their
    /// own sparsity, an N:M recipe removes no more than its pattern, and sessions, rounds and scans follow the recipe.
    /// [`Amount::OfRemaining`] and [`Amount::Count`] act like repeated calls of `torch.nn.utils.prune`.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::{budget::Amount, prelude::*};
    /// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// let half = pruner.with_amount(Amount::OfRemaining(Sparsity::new(0.5)?));
    /// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
    /// assert_eq!(half.prune(&mut model, None)?.kept(), 100);
    /// assert_eq!(half.prune(&mut model, None)?.kept(), 50);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_amount(mut self, amount: Amount) -> Self {
        self.amount = Some(amount);
        self
    }

    #[cfg(feature = "trace")]
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// A pruner with this trace and another recipe.
    pub(crate) fn with_recipe(&self, recipe: Recipe) -> Self {
        let mut pruner = self.clone();
        pruner.recipe = recipe;
        pruner
    }

    /// Whether channels and heads are masked in whole groups, because there is a trace; nothing where no unit is one.
    pub(crate) fn masks_groups(&self) -> Option<bool> {
        #[cfg(feature = "trace")]
        let traced = self.trace.is_some();
        #[cfg(not(feature = "trace"))]
        let traced = false;
        self.recipe.is_structural().then_some(traced)
    }

    /// Multiply-accumulates that each weight of a parameter takes, where the budget is of those and a trace says it.
    pub(crate) fn uses(&self) -> BTreeMap<String, usize> {
        #[cfg(feature = "trace")]
        if self.recipe.allocator.as_ref().is_some_and(|a| a.measure() == Measure::Macs) {
            return self.trace.as_ref().map(|trace| trace.uses()).unwrap_or_default();
        }
        BTreeMap::new()
    }

    /// Returns the recipe.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Prunes the model to the full target at once: attaches masks, or tightens masks that are attached.
    ///
    /// The schedule of the recipe does not count here; [`start`](Self::start) follows it. [`with_amount`](Self::with_amount) sets another
    /// amount than the full target. Weights that are pruned already stay pruned. Training can go on afterwards, and
    /// [`finish`](crate::mask::finish) folds the masks in.
    ///
    /// A criterion that looks at the weights alone takes `None` as inputs. Any other takes the inputs that [`needs`](Self::needs) names:
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// # let device = Device::flex().autodiff();
    /// # let mut model = LinearConfig::new(20, 10).init(&device);
    /// # let batches = [Tensor::<2>::ones([4, 20], &device)];
    /// # let loss = |model: &Linear, batch: &Tensor<2>| model.forward(batch.clone()).square().mean();
    /// let inputs = CriterionInputs::new().with_gradients(&model, pruner.needs(), &batches, loss)?;
    /// let report = pruner.prune(&mut model, &inputs)?;
    /// assert_eq!(report.kept(), 20);
    /// assert_eq!(pruner.prune(&mut model, None)?.kept(), 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The recipe does not fit the model, an input that the criterion needs is missing, a weight is not finite, a plugin fails or panics, or
    /// two different parameters share an id. The model is unchanged.
    pub fn prune<'a, M: Module>(
        &self,
        model: &mut M,
        inputs: impl Into<Option<&'a CriterionInputs>>,
    ) -> Result<Report, PruneError> {
        let all = layers(model)?;
        let selection = Selection::new(&self.recipe, &all)?;
        let amounts = Amounts { shared: self.amount(), own: &Amount::OfTotal };
        let inputs = inputs.into();
        if self.recipe.sequential {
            return Err(PruneError::Sequential);
        }
        let (masks, mut report) = select(model, self, &all, &selection, &amounts, inputs)?;
        *model = masked(model, self, (&all, &selection), masks, &mut report, inputs)?;
        Ok(report)
    }

    /// Returns the inputs that the criterion and the reconstruction look at besides the weights.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let needs = self.recipe.criterion.needs();
        self.recipe
            .reconstruct
            .iter()
            .fold(needs, |needs, reconstruction| needs | crate::reconstruct::needs(reconstruction))
    }

    fn amount(&self) -> Amount {
        self.amount.unwrap_or(match self.recipe.budget {
            Budget::Sparsity(sparsity) => Amount::OfTotal(sparsity),
            Budget::Count(count) => Amount::Count(count),
        })
    }

    /// Reports what the masks on a model keep of the recipe's targets, including those that an override leaves dense.
    ///
    /// [`mask::report`](crate::mask::report) needs no recipe, and counts only the parameters that carry a mask.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
    /// assert_eq!(pruner.report(&model)?.kept(), 200);
    /// pruner.prune(&mut model, None)?;
    /// assert_eq!(pruner.report(&model)?.kept(), 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The recipe does not fit the model.
    pub fn report<M: Module>(&self, model: &M) -> Result<Report, PruneError> {
        let all = layers(model)?;
        Ok(report_on(&all, &Selection::new(&self.recipe, &all)?))
    }
}
