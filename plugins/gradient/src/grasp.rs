use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Effect of each weight on the flow of gradients, at initialization.
///
/// The score is `w (H g)`, with its sign: removing a weight with a high score lowers the norm of the gradient. Prune in one shot with the
/// allocator `global`.
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
/// # use burn::{module::Param, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "grasp"
/// allocator = "global"
/// schedule = "one_shot"
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[2.0, 1.0], [0.4, 0.6]], &device));
/// // The loss (w0^2 + 4 w1^2) / 2 of rows w0 and w1 has the gradient (w0, 4 w1) and the Hessian (1, 4), so the scores are
/// // w0^2 and 16 w1^2: [[4, 1], [2.56, 5.76]].
/// let batch = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 2.0]], &device);
/// let loss = |model: &Linear, batch: &Tensor<2>| {
///     model.forward(batch.clone().cast(model.weight.dtype())).square().sum() / 2
/// };
/// let inputs = CriterionInputs::new().with_gradients(&model, pruner.needs(), &[batch], loss)?;
/// pruner.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code takes `-w (H g)` and removes the highest. It computes the product from second derivatives; this crate computes it from
/// differences of gradients in double precision, which agrees to six digits. Their `g` covers the weights of linear layers and
/// convolutions; here it covers every parameter, biases and norms included. Their temperature of 200 on the logits is part of the loss:
/// divide the logits in your closure.
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
