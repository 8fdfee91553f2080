use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Whether training moves a weight away from zero.
///
/// `sum_t -w_t g_t` over steps `t` of training, signed: weights that shrink have scores below zero and go first.
///
/// For single weights and N:M. The loss does not change with the scale of a channel that a batch norm follows, so the signed
/// scores of such a channel add up to almost nothing, and ranking whole channels by them is noise.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `movement`, recorded step by step with `CriterionInputs::record_movement`.
///
/// # Config
/// None.
///
/// ```
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # let recipe = r#"
/// granularity = "2:4"
/// criterion = "movement"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// The scores of the authors' hard movement pruning, up to the learning rate, without their straight-through gradient for pruned
/// weights.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Victor Sanh, Thomas Wolf, Alexander M. Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020, arXiv:2005.07683,
/// equation 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Movement {}

impl Plugin for Movement {
    const NAME: &'static str = "movement";
    const SUMMARY: &'static str = "Whether training moves a weight away from zero.";
    const REFERENCES: &'static [&'static str] = &["Sanh et al. 2020, arXiv:2005.07683"];
}

impl Criterion for Movement {
    fn needs(&self) -> Needs {
        Need::MOVEMENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        layer.movement()
    }
}

pruning_burn::register_criterion!(Movement);
