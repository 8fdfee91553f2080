use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Absolute gradient of each weight.
///
/// `|g|`: how fast the loss would fall if the weight were there. RigL grows connections by it.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `gradient`.
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
/// criterion = "gradient"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// The growth criterion of RigL.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Utku Evci, Trevor Gale, Jacob Menick, Pablo Samuel Castro, Erich Elsen, "Rigging the Lottery: Making All Tickets Winners", 2020,
/// arXiv:1911.11134, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Gradient {}

impl Plugin for Gradient {
    const NAME: &'static str = "gradient";
    const SUMMARY: &'static str = "Absolute gradient of each weight.";
    const REFERENCES: &'static [&'static str] = &["Evci et al. 2020, arXiv:1911.11134"];
}

impl Criterion for Gradient {
    fn needs(&self) -> Needs {
        Need::GRADIENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.gradient()?.abs())
    }
}

pruning_burn::register_criterion!(Gradient);
