use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Order, Reduction};
use serde::{Deserialize, Serialize};

/// Absolute value of each weight, relative to the Euclidean norm of its layer.
///
/// `|w| / ||W||_2`; a unit of several weights scores the norm of these. Layers of different scale compare by it under `global`; under
/// `uniform` it prunes what `magnitude` with `p = 2` prunes.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Config
/// None.
///
/// ```
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # let mut plugins = Plugins::empty();
/// # pruning_norm::register(&mut plugins);
/// # let recipe = r#"
/// granularity = "2:4"
/// criterion = "l2_relative"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// The normalisation by layer that Torch-Pruning and others offer as an option of global magnitude pruning.
///
/// # Errors
/// None.
///
/// # References
/// Pavlo Molchanov, Stephen Tyree, Tero Karras, Timo Aila, Jan Kautz, "Pruning Convolutional Neural Networks for Resource Efficient
/// Inference", 2017, arXiv:1611.06440, section 2.2 (normalisation of each layer by its l2 norm).
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
        // In the order of memory: on the CPU a step along a column costs ten times as much as one along a row.
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
    // Those are sure not to have.
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

/// By blocks of rows, whose squares stay in the cache of a CPU; one read from the device.
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
