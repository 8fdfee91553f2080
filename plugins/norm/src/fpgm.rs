use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Reduction};
use serde::{Deserialize, Serialize};

/// Distance of each output unit to all others of its layer: the others can replace a unit near the geometric median.
///
/// Row `i` of the weight matrix scores `sum_j ||W_i - W_j||_2`, and every weight of the row has that score. The criterion is meant for
/// channels; blocks and single weights have the scores of their rows.
///
/// # Shapes
/// The shape of the weight matrix; all columns of a row are equal.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::Param, nn::LinearConfig, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_norm::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.34
/// criterion = "fpgm"
/// granularity = "channel"
/// "#;
/// # let device = Device::flex();
/// let mut model = LinearConfig::new(2, 3).with_bias(false).init(&device);
/// // The columns (0, 0), (1, 0) and (5, 5) are three units; the second one lies nearest to the others.
/// model.weight = Param::from_tensor(Tensor::from_floats([[0.0, 1.0, 5.0], [0.0, 0.0, 5.0]], &device));
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, None)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, true, true, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code and NNI's `FPGMPruner`, which also sum Euclidean distances to all filters of the layer.
///
/// # Errors
/// None.
///
/// # References
/// Yang He, Ping Liu, Ziwei Wang, Zhilan Hu, Yi Yang, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
/// Acceleration", 2019, arXiv:1811.00250, section 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Fpgm {}

impl Plugin for Fpgm {
    const NAME: &'static str = "fpgm";
    const SUMMARY: &'static str =
        "Distance of each output unit to all others of its layer: units near the geometric median are pruned.";
    const REFERENCES: &'static [&'static str] = &["He et al. 2019, arXiv:1811.00250"];
}

impl Criterion for Fpgm {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let weight = layer.weight();
        let [rows, cols] = weight.dims();
        // One row at a time against all: the product form of the distance would lose all digits of near rows, and all pairs
        // at once would take rows times the memory of the layer.
        let distances = (0..rows).map(|row| {
            let one = weight.clone().slice([row..row + 1, 0..cols]).expand([rows, cols]);
            (weight.clone() - one).square().sum_dim(1).sqrt().sum().reshape([1, 1])
        });
        Ok(Tensor::cat(distances.collect(), 0).expand([rows, cols]))
    }

    fn reduction(&self) -> Reduction {
        // The mean of equal scores is that score.
        Reduction::Mean
    }
}

pruning_burn::register_criterion!(Fpgm);
