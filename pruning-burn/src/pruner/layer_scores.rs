//! Scores of a model as data: [`LayerScores`].

use crate::layers::layers;
use crate::score::CriterionInputs;
use crate::score::element_scores::{blamed, score};
use crate::score::needed::needed;
use crate::targets::{Selection, alive};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{ChooseError, Scores};
use pruning_core::score::Order;
use serde::{Deserialize, Serialize};

/// The scores by which a pruner ranks the weights of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerScores {
    /// Path of the parameter.
    pub path: String,
    /// Shape of the parameter.
    pub shape: Vec<usize>,
    /// One score for each element, in memory order. The highest scores are kept.
    pub scores: Vec<f64>,
}

impl Pruner {
    /// Returns the scores of every parameter that the recipe prunes, in the order of the model, without pruning it.
    ///
    /// These are the scores that are ranked: the criterion's [`order`](crate::score::Criterion::order) and
    /// [`factor`](crate::score::Criterion::factor) are applied, so the highest scores are kept in every case. There is one score for each
    /// weight, before any reduction to blocks or channels. A weight that is pruned already is scored as zero, and is not ranked.
    ///
    /// ```
    /// # use burn::{module::Param, nn::LinearConfig, tensor::{Device, Tensor}};
    /// # use pruning_burn::plugin::Plugins;
    /// # use pruning_burn::Pruner;
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// let pruner = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// # let device = Device::flex();
    /// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
    /// model.weight = Param::from_tensor(Tensor::from_data([[3.0, -0.5], [-2.0, 0.25]], &device));
    /// let scores = pruner.scores(&model, None)?;
    /// assert_eq!((scores[0].path.as_str(), &scores[0].shape[..]), ("weight", &[2, 2][..]));
    /// assert_eq!(scores[0].scores, [3.0, 0.5, 2.0, 0.25]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`prune`](Self::prune).
    pub fn scores<'a, M: Module>(
        &self,
        model: &M,
        inputs: impl Into<Option<&'a CriterionInputs>>,
    ) -> Result<Vec<LayerScores>, PruneError> {
        let inputs = inputs.into();
        let recipe = self.recipe();
        let all = layers(model)?;
        let selection = Selection::new(recipe, &all)?;
        needed(&recipe.criterion, inputs, model)?;
        let alive = alive(&all, &selection);
        let scored = score(model, &recipe.criterion, &all, &selection, &alive, inputs, 0)?;
        let order = recipe.criterion.order();
        let layer = |(target, (numbers, factor)): (&crate::targets::Target, &(crate::host::Numbers, f32))| {
            let (layer, exact, numbers) = (&all[target.layer], numbers.exact(), numbers.as_slice());
            Scores::new(numbers, order).map_err(|source| {
                blamed(&recipe.criterion, ChooseError::NonFinite { path: layer.path.clone(), source })
            })?;
            let rank = |score: &f32| f64::from(factor * if order == Order::Absolute { score.abs() } else { *score });
            let double = |score: &f64| if order == Order::Absolute { score.abs() } else { *score };
            let scores = exact.map_or_else(|| numbers.iter().map(rank).collect(), |e| e.iter().map(double).collect());
            Ok(LayerScores { path: layer.path.clone(), shape: layer.shape.clone(), scores })
        };
        selection.targets.iter().zip(&scored).map(layer).collect()
    }
}
