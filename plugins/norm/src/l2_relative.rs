use burn::tensor::Tensor;
use pruning_burn::{Criterion, CriterionError, LayerView, Plugin, Reduction};
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
/// # use pruning_burn::{Plugins, Pruner};
/// # let mut plugins = Plugins::empty();
/// # pruning_norm::register(&mut plugins);
/// # let recipe = r#"
/// granularity = "2:4"
/// criterion = "l2_relative"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::RecipeError>(())
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
        let weight = layer.weight().abs();
        let shape = weight.shape();
        // Squares of very small or large weights would leave the range of 32-bit floats: scale by the largest first.
        let largest = weight.clone().max().reshape([1, 1]);
        let largest = largest.clone().mask_fill(largest.equal_scalar(0.0), 1.0);
        let scaled = weight / largest.expand(shape.clone());
        let norm = scaled.clone().square().sum().sqrt().reshape([1, 1]);
        let norm = norm.clone().mask_fill(norm.equal_scalar(0.0), 1.0);
        Ok(scaled / norm.expand(shape))
    }

    fn reduction(&self) -> Reduction {
        Reduction::Norm(pruning_burn::NormOrder::L2)
    }
}

pruning_burn::register_criterion!(L2Relative);
