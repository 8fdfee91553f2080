use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Share of each weight in the flow through the network, computed without data.
///
/// The score is `|w dR/dw|`, with `R` the summed outputs of the network of absolute weights on an input of ones. Prune in many rounds, and
/// collect the flow again for each: in one shot this criterion can empty a layer, as others do.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `flow`.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::{Module, Param}, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "synflow"
/// allocator = "global"
/// schedule = { kind = "iterative", rounds = 100 }
/// "#;
/// # #[derive(Module, Debug)]
/// # struct Net {
/// #     fc1: Linear,
/// #     fc2: Linear,
/// # }
/// # let device = Device::flex().autodiff();
/// # let linear = |input, output, weights: &[f32]| {
/// #     let mut linear = LinearConfig::new(input, output).with_bias(false).init(&device);
/// #     linear.weight = Param::from_tensor(Tensor::<1>::from_floats(weights, &device).reshape([input, output]));
/// #     linear
/// # };
/// // Two paths lead from the input to the output: 1 * 3 carries more flow than 2 * 1.
/// let mut model = Net { fc1: linear(1, 2, &[1.0, -2.0]), fc2: linear(2, 1, &[3.0, 1.0]) };
/// let ones = Tensor::<2>::ones([1, 1], &device);
/// let mut session = Pruner::from_toml(recipe, &plugins)?.start(&mut model)?;
/// while !session.is_done() {
///     let output = |model: &Net| model.fc2.forward(model.fc1.forward(ones.clone()));
///     let inputs = CriterionInputs::new().with_flow(&model, output)?;
///     session.step(&mut model, &inputs)?;
/// }
/// assert_eq!(masks(&model).get("fc1.weight").unwrap().bits().to_bools(), [true, false]);
/// assert_eq!(masks(&model).get("fc2.weight").unwrap().bits().to_bools(), [true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code prunes in 100 exponential rounds over the whole model. As there, a batch norm takes its running statistics. Their
/// code also makes the running mean positive, which changes nothing at initialization, where the mean is zero.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Hidenori Tanaka, Daniel Kunin, Daniel L. K. Yamins, Surya Ganguli, "Pruning neural networks without any data by iteratively
/// conserving synaptic flow", 2020, arXiv:2006.05467, section 6 and algorithm 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Synflow {}

impl Plugin for Synflow {
    const NAME: &'static str = "synflow";
    const SUMMARY: &'static str = "Share of each weight in the flow through the network, computed without data.";
    const REFERENCES: &'static [&'static str] = &["Tanaka et al. 2020, arXiv:2006.05467"];
}

impl Criterion for Synflow {
    fn needs(&self) -> Needs {
        Need::FLOW.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok((layer.weight() * layer.flow()?).abs())
    }
}

pruning_burn::register_criterion!(Synflow);
