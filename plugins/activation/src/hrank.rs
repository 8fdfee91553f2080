use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs, Reduction};
use serde::{Deserialize, Serialize};

/// Mean rank of the feature maps of each unit: maps of low rank say little and are pruned.
///
/// Every weight of an output unit scores the rank of the unit's feature maps, as matrices of height by width after the activation that
/// follows, averaged over examples. The criterion is meant for channels of convolutions; blocks and single weights have the scores of their
/// rows.
///
/// # Shapes
/// The shape of the weight matrix; all columns of a row are equal.
///
/// # Needs
/// `output_rank`.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{nn::conv::Conv2dConfig, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// use pruning_burn::score::Need;
/// # let mut plugins = Plugins::empty();
/// # pruning_activation::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.34
/// criterion = "hrank"
/// granularity = "channel"
/// "#;
/// # let device = Device::flex();
/// let mut model = Conv2dConfig::new([1, 3], [1, 2]).with_bias(false).init(&device);
/// let ranks = Tensor::<1>::from_floats([7.5, 2.0, 6.0], &device);
/// let inputs = CriterionInputs::new().with_input(Need::OUTPUT_RANK, &model, [("weight", ranks)])?;
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, true, false, false, true, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code, which also averages ranks over images.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Mingbao Lin, Rongrong Ji, Yan Wang, Yichen Zhang, Baochang Zhang, Yonghong Tian, Ling Shao, "HRank: Filter Pruning using High-Rank Feature
/// Map", 2020, arXiv:2002.10179, section 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Hrank {}

impl Plugin for Hrank {
    const NAME: &'static str = "hrank";
    const SUMMARY: &'static str =
        "Mean rank of the feature maps of each unit: maps of low rank say little and are pruned.";
    const REFERENCES: &'static [&'static str] = &["Lin et al. 2020, arXiv:2002.10179"];
}

impl Criterion for Hrank {
    fn needs(&self) -> Needs {
        Need::OUTPUT_RANK.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.input(Need::OUTPUT_RANK)?.expand(layer.weight().dims()))
    }

    fn reduction(&self) -> Reduction {
        // The mean of equal scores is that score.
        Reduction::Mean
    }
}

pruning_burn::register_criterion!(Hrank);
