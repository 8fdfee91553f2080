use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView};
use serde::{Deserialize, Serialize};

/// Absolute value of the scale of each channel of a normalization layer (network slimming).
///
/// The score is `|gamma|`. Its targets are the scales themselves, so the recipe names them. A channel whose scale is zero passes on nothing
/// but its shift.
///
/// # Shapes
/// `[channels, 1]`, as the matrix of a norm is.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::Param, nn::BatchNormConfig, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_norm::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "bn_scale"
/// allocator = "global"
/// target = { include = ["gamma"] }
/// "#;
/// # let device = Device::flex();
/// let mut model = BatchNormConfig::new(4).init(&device);
/// model.gamma = Param::from_tensor(Tensor::from_floats([1.0, -0.1, -0.5, 0.01], &device));
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, None)?;
/// assert_eq!(masks(&model).get("gamma").unwrap().bits().to_bools(), [true, false, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In a network, the pattern `"*.gamma"` names the scales of every norm.
///
/// # Compatible implementations
/// The authors' code, which also takes one threshold over the scales of all layers. The other half of the method, training with an L1
/// penalty on the scales, belongs in the training loop.
///
/// # Errors
/// The parameter is not the scale of a normalization layer.
///
/// # References
/// Zhuang Liu, Jianguo Li, Zhiqiang Shen, Gao Huang, Shoumeng Yan, Changshui Zhang, "Learning Efficient Convolutional Networks through
/// Network Slimming", 2017, arXiv:1708.06519.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BnScale {}

impl Plugin for BnScale {
    const NAME: &'static str = "bn_scale";
    const SUMMARY: &'static str =
        "Absolute value of the scale of each channel of a normalization layer (network slimming).";
    const REFERENCES: &'static [&'static str] = &["Liu et al. 2017, arXiv:1708.06519"];
}

impl Criterion for BnScale {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        if !layer.kind().contains("Norm") || !layer.path().ends_with("gamma") {
            let reason =
                format!("a {} has no scale of channels: name the scales, as in include = [\"*.gamma\"]", layer.kind());
            return Err(CriterionError::Unsuited { reason });
        }
        Ok(layer.weight().abs())
    }
}

pruning_burn::register_criterion!(BnScale);
