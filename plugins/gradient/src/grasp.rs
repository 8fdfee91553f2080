use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Effect of each weight on the flow of gradients, at initialization.
///
/// `w (H g)`, signed: removing a weight with a high score lowers the norm of the gradient. One shot, allocator `global`.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `hessian_gradient`, which is collected in double precision: the loss follows the type of the model's weights.
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
/// criterion = "grasp"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// The authors' code, which takes `-w (H g)` and removes the highest. There the product comes from second derivatives, here from
/// differences of gradients in double precision, which is the same to six digits; there `g` is that of the weights of linear layers and convolutions, here that of every parameter,
/// biases and norms included. Their temperature of 200 on the logits is part of the loss: divide in your closure.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Chaoqi Wang, Guodong Zhang, Roger Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", 2020,
/// arXiv:2002.07376, section 4.1 and algorithm 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Grasp {}

impl Plugin for Grasp {
    const NAME: &'static str = "grasp";
    const SUMMARY: &'static str = "Effect of each weight on the flow of gradients, at initialization.";
    const REFERENCES: &'static [&'static str] = &["Wang et al. 2020, arXiv:2002.07376"];
}

impl Criterion for Grasp {
    fn needs(&self) -> Needs {
        Need::HESSIAN_GRADIENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight() * layer.hessian_gradient()?)
    }
}

pruning_burn::register_criterion!(Grasp);
