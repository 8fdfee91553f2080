use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs, Reduction};
use serde::{Deserialize, Serialize};

/// Share of the outputs of each unit that are not zero: units that are mostly silent are pruned (average percentage of zeros).
///
/// Every weight of an output unit scores one minus the share of zeros among the outputs of the unit, after the activation that follows. The
/// criterion is meant for channels of layers before a ReLU; blocks and single weights have the scores of their rows.
///
/// # Shapes
/// The shape of the weight matrix; all columns of a row are equal.
///
/// # Needs
/// `output_zeros`.
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
/// criterion = "apoz"
/// granularity = "channel"
/// "#;
/// # let device = Device::flex();
/// let mut model = LinearConfig::new(2, 3).with_bias(false).init(&device);
/// let zeros = Tensor::<1>::from_floats([0.5, 0.9, 0.2], &device);
/// let inputs = CriterionInputs::new().with_input(Need::OUTPUT_ZEROS, &model, [("weight", zeros)])?;
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, true, true, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// NNI's `ActivationAPoZRankPruner`, which also ranks by the share of zeros after the activation.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Hengyuan Hu, Rui Peng, Yu-Wing Tai, Chi-Keung Tang, "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
/// Architectures", 2016, arXiv:1607.03250, section 3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Apoz {}

impl Plugin for Apoz {
    const NAME: &'static str = "apoz";
    const SUMMARY: &'static str = "Share of the outputs of each unit that are not zero: units that are mostly silent are pruned (average percentage of zeros).";
    const REFERENCES: &'static [&'static str] = &["Hu et al. 2016, arXiv:1607.03250"];
}

impl Criterion for Apoz {
    fn needs(&self) -> Needs {
        Need::OUTPUT_ZEROS.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok((layer.input(Need::OUTPUT_ZEROS)?.neg() + 1.0).expand(layer.weight().dims()))
    }

    fn reduction(&self) -> Reduction {
        // The mean of equal scores is that score.
        Reduction::Mean
    }
}

pruning_burn::register_criterion!(Apoz);
