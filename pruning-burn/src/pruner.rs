//! A recipe at work: [`Pruner`].

mod alone;
mod builder;
#[cfg(feature = "trace")]
pub(crate) mod channels;
pub(crate) mod layer_scores;
pub(crate) mod select;

pub use builder::PrunerBuilder;
pub use layer_scores::LayerScores;

use crate::PruneError;
use crate::amounts::Amounts;
use crate::layers::layers;
use crate::mask::attach::put;
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

/// Prunes models by a recipe.
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
    fn from(pruner: &Pruner) -> Self {
        pruner.recipe.clone()
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
    /// From the text of a recipe.
    ///
    /// # Errors
    /// Every problem of the recipe.
    pub fn from_toml(text: &str, plugins: &Plugins) -> Result<Self, RecipeError> {
        Recipe::from_toml(text, plugins).map(Self::from)
    }

    /// In code, with plugins as values.
    pub fn builder() -> PrunerBuilder {
        PrunerBuilder::new(Plugins::linked())
    }

    /// The same pruner, which knows what the model computes.
    ///
    /// Channels and heads are then masked wherever they lie, as [`shrink::mask`](crate::shrink::mask()) does: in all layers that share
    /// them, in biases and norms, and in the weights that read them. Without a trace a channel is masked in the one weight that makes it,
    /// and the report [warns](crate::report::Warning::Untraced). Sessions, scans and rounds of this pruner do the same. An allocator
    /// that spends multiply-accumulates learns from the trace what a weight costs.
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

    /// The same pruner, which [prunes](Self::prune) by another amount than the recipe asks for in the end; layers with an override keep to
    /// their sparsity, and schedules to the recipe.
    ///
    /// With [`Amount::OfRemaining`] and [`Amount::Count`] this is what calling `torch.nn.utils.prune` again does.
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

    /// The same trace with another recipe.
    pub(crate) fn with_recipe(&self, recipe: Recipe) -> Self {
        let mut pruner = self.clone();
        pruner.recipe = recipe;
        pruner
    }

    /// Multiply-accumulates that each weight of a parameter takes, where the budget is of those and a trace says it.
    pub(crate) fn uses(&self) -> BTreeMap<String, usize> {
        #[cfg(feature = "trace")]
        if self.recipe.allocator.as_ref().is_some_and(|a| a.measure() == Measure::Macs) {
            return self.trace.as_ref().map(|trace| trace.uses()).unwrap_or_default();
        }
        BTreeMap::new()
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Prunes now, to the full target (or [another amount](Self::with_amount)), whatever the schedule says: attaches masks, or tightens
    /// those that are attached.
    ///
    /// What is pruned already stays pruned. Training can go on from here; [`finish`](crate::mask::finish) folds the masks in. A criterion
    /// that looks at the weights alone takes `None` as inputs, another one what [`needs`](Self::needs) says:
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
    /// two parameters share an id and are not the same. The model is what it was.
    pub fn prune<'a, M: Module>(
        &self,
        model: &mut M,
        inputs: impl Into<Option<&'a CriterionInputs>>,
    ) -> Result<Report, PruneError> {
        let all = layers(model)?;
        let selection = Selection::new(&self.recipe, &all)?;
        let amounts = Amounts { shared: self.amount(), own: &Amount::OfTotal };
        let (masks, report) = select(model, self, &all, &selection, &amounts, inputs.into())?;
        *model = put(model, &all, masks)?;
        Ok(report)
    }

    /// What the criterion looks at besides the weights.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.recipe.criterion.needs()
    }

    fn amount(&self) -> Amount {
        self.amount.unwrap_or(match self.recipe.budget {
            Budget::Sparsity(sparsity) => Amount::OfTotal(sparsity),
            Budget::Count(count) => Amount::Count(count),
        })
    }

    /// What the masks on a model keep of the recipe's targets, those among them that an override leaves dense.
    ///
    /// [`report`](crate::mask::report), which knows no recipe, counts the parameters that carry a mask.
    ///
    /// # Errors
    /// The recipe does not fit the model.
    pub fn report<M: Module>(&self, model: &M) -> Result<Report, PruneError> {
        let all = layers(model)?;
        Ok(report_on(&all, &Selection::new(&self.recipe, &all)?))
    }
}
