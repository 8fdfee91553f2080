use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs, Order};
use serde::{Deserialize, Serialize};

/// Absolute value of each weight times the norm of its input (pruning by weights and activations).
///
/// The score is `|w_ij| * sqrt(mean of x_j^2)`, over all calibration rows `x`. The paper compares scores within output units, which a
/// recipe says by `compare = "row"`.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `input_norm`.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::Param, nn::LinearConfig, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// use pruning_burn::score::Need;
/// # let mut plugins = Plugins::empty();
/// # pruning_activation::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.34
/// criterion = "wanda"
/// compare = "row"
/// "#;
/// # let device = Device::flex();
/// let mut model = LinearConfig::new(3, 2).with_bias(false).init(&device);
/// // The weights of the two output units are (2, 1, 1) and (10, 20, 30), and the second input is three times as large as the others.
/// model.weight = Param::from_tensor(Tensor::from_floats([[2.0, 10.0], [1.0, 20.0], [1.0, 30.0]], &device));
/// let norms = Tensor::<1>::from_floats([1.0, 3.0, 1.0], &device);
/// let inputs = CriterionInputs::new().with_input(Need::INPUT_NORM, &model, [("weight", norms)])?;
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, &inputs)?;
/// // The scores are (2, 3, 1) and (10, 60, 30), and each unit loses one.
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, true, true, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code (`lib/prune.py` of locuslab/wanda), whose norms differ by one factor for all columns of a layer, and which removes
/// `int(columns * sparsity)` weights of each output unit.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Mingjie Sun, Zhuang Liu, Anna Bair, J. Zico Kolter, "A Simple and Effective Pruning Approach for Large Language Models", 2024,
/// arXiv:2306.11695, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Wanda {}

impl Plugin for Wanda {
    const NAME: &'static str = "wanda";
    const SUMMARY: &'static str =
        "Absolute value of each weight times the norm of its input (pruning by weights and activations).";
    const REFERENCES: &'static [&'static str] = &["Sun et al. 2024, arXiv:2306.11695"];
}

impl Criterion for Wanda {
    fn needs(&self) -> Needs {
        Need::INPUT_NORM.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight() * layer.input(Need::INPUT_NORM)?)
    }

    fn order(&self) -> Order {
        Order::Absolute
    }
}

pruning_burn::register_criterion!(Wanda);
