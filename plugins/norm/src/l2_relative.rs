use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Order, Reduction};
use serde::{Deserialize, Serialize};

/// Absolute value of each weight, relative to the Euclidean norm of its layer.
///
/// The score is `|w| / ||W||_2`; a unit of several weights scores the norm of these. Under `global`, layers of different scale become
/// comparable; under `uniform`, it prunes what `magnitude` with `p = 2` prunes.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::{Module, Param}, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_norm::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "l2_relative"
/// allocator = "global"
/// "#;
/// # #[derive(Module, Debug)]
/// # struct Net {
/// #     fc1: Linear,
/// #     fc2: Linear,
/// # }
/// # let device = Device::flex();
/// # let linear = |weights: [[f32; 2]; 2]| {
/// #     let mut linear = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// #     linear.weight = Param::from_tensor(Tensor::from_floats(weights, &device));
/// #     linear
/// # };
/// // The second layer is a hundred times smaller, and keeps as many weights as the first.
/// let mut model = Net { fc1: linear([[10.0, 20.0], [30.0, 40.0]]), fc2: linear([[0.4, 0.3], [0.2, 0.1]]) };
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, None)?;
/// assert_eq!(masks(&model).get("fc1.weight").unwrap().bits().to_bools(), [false, false, true, true]);
/// assert_eq!(masks(&model).get("fc2.weight").unwrap().bits().to_bools(), [true, true, false, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The normalization by layer that Torch-Pruning and others offer as an option of global magnitude pruning.
///
/// # Errors
/// None.
///
/// # References
/// Pavlo Molchanov, Stephen Tyree, Tero Karras, Timo Aila, Jan Kautz, "Pruning Convolutional Neural Networks for Resource Efficient
/// Inference", 2017, arXiv:1611.06440, section 2.2 (normalization of each layer by its l2 norm).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct L2Relative {}

impl Plugin for L2Relative {
    const NAME: &'static str = "l2_relative";
    const SUMMARY: &'static str = "Absolute value of each weight, relative to the Euclidean norm of its layer.";
    const REFERENCES: &'static [&'static str] = &["Molchanov et al. 2017, arXiv:1611.06440"];
}

impl Criterion for L2Relative {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight())
    }

    fn factor(&self, layer: &LayerView<'_>) -> Result<f64, CriterionError> {
        // Summed in memory order: on the CPU a step along a column costs ten times as much as one along a row.
        let weight = if layer.layout().inner() == 1 { layer.weight().transpose() } else { layer.weight() };
        let norm = norm(&weight);
        Ok(if norm.is_finite() && norm > 0.0 { 1.0 / norm } else { 1.0 })
    }

    fn order(&self) -> Order {
        Order::Absolute
    }

    fn reduction(&self) -> Reduction {
        Reduction::Norm(pruning_burn::score::NormOrder::L2)
    }
}

/// The Euclidean norm, also where squares leave the range of 32-bit floats.
fn norm(weight: &Tensor<2>) -> f64 {
    let sum = sum_of_squares(weight);
    // These squares certainly did not.
    if sum.is_finite() && sum > 1e-30 * weight.shape().num_elements() as f64 {
        return sum.sqrt();
    }
    let largest = weight.clone().abs().max();
    let scale = largest.clone().into_data().iter::<f64>().sum::<f64>();
    if scale == 0.0 || !scale.is_finite() {
        return scale;
    }
    scale * sum_of_squares(&(weight.clone() / largest.reshape([1, 1]).expand(weight.shape()))).sqrt()
}

/// The sum of squares by blocks of rows, whose squares stay in the cache of a CPU; one read from the device.
fn sum_of_squares(weight: &Tensor<2>) -> f64 {
    const BLOCK: usize = 1 << 18;
    let [rows, cols] = weight.dims();
    let step = (BLOCK / cols.max(1)).max(1);
    let block = |from: usize| weight.clone().slice([from..(from + step).min(rows), 0..cols]).square().sum();
    let sums: Vec<_> = (0..rows).step_by(step).map(block).collect();
    if sums.is_empty() {
        return 0.0;
    }
    Tensor::cat(sums, 0).into_data().iter::<f64>().sum()
}

pruning_burn::register_criterion!(L2Relative);
