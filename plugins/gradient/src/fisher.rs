use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Second-order estimate of the change of the loss without a weight, by the diagonal of the empirical Fisher information.
///
/// The score is `w^2 h / 2`, the saliency of Optimal Brain Damage, with the mean squared gradient as the diagonal `h` of the Hessian.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `squared_gradient`; exact for batches of one example, an estimate for larger ones.
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
/// criterion = "fisher"
/// allocator = "global"
/// schedule = { kind = "iterative", rounds = 10 }
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[3.0, 1.0], [1.0, -2.0]], &device));
/// // The squared gradients of the two examples are [[1, 1], [0, 0]] and [[0, 0], [4, 4]], and their mean is [[0.5, 0.5], [2, 2]].
/// // So the scores are [[2.25, 0.25], [1, 4]].
/// let examples = [[[1.0, 0.0]], [[0.0, 2.0]]].map(|x| Tensor::<2>::from_floats(x, &device));
/// let loss = |model: &Linear, x: &Tensor<2>| model.forward(x.clone()).sum();
/// let inputs = CriterionInputs::new().with_gradients(&model, pruner.needs(), &examples, loss)?;
/// pruner.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The diagonal case of the M-FAC and WoodFisher pruners.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Yann LeCun, John S. Denker, Sara A. Solla, "Optimal Brain Damage", 1989, NeurIPS 2, equation 5; Lucas Theis, Iryna Korshunova,
/// Alykhan Tejani, Ferenc Huszar, "Faster gaze prediction with dense networks and Fisher pruning", 2018, arXiv:1801.05787, section 2.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Fisher {}

impl Plugin for Fisher {
    const NAME: &'static str = "fisher";
    const SUMMARY: &'static str = "Second-order estimate of the change of the loss without a weight, by the diagonal of the empirical Fisher information.";
    const REFERENCES: &'static [&'static str] =
        &["LeCun et al. 1989, Optimal Brain Damage", "Theis et al. 2018, arXiv:1801.05787"];
}

impl Criterion for Fisher {
    fn needs(&self) -> Needs {
        Need::SQUARED_GRADIENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight().square() * layer.squared_gradient()? * 0.5)
    }
}

pruning_burn::register_criterion!(Fisher);
