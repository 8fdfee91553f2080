use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Second-order estimate of the loss of a weight, by the diagonal of the empirical Fisher information.
///
/// `w^2 h / 2`, the saliency of Optimal Brain Damage, with the mean squared gradient as the diagonal `h` of the Hessian.
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
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # let recipe = r#"
/// granularity = "2:4"
/// criterion = "fisher"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
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
    const SUMMARY: &'static str =
        "Second-order estimate of the loss of a weight, by the diagonal of the empirical Fisher information.";
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
