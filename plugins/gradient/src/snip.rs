use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Sensitivity of the loss to each connection, at initialization.
///
/// `|w g|` relative to the sum over the layers would rank the same, so it is left out: `|g w|` with `g` the gradient of the loss over
/// one batch or a few, before any training, pruned in one shot with the allocator `global`.
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
/// criterion = "snip"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// The authors' code, which normalises by the sum over the model; the masks are the same. It equals `taylor` in form; what differs is
/// when it is taken.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Namhoon Lee, Thalaiyasingam Ajanthan, Philip H. S. Torr, "SNIP: Single-shot Network Pruning based on Connection Sensitivity",
/// 2019, arXiv:1810.02340, equations 5 and 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Snip {}

impl Plugin for Snip {
    const NAME: &'static str = "snip";
    const SUMMARY: &'static str = "Sensitivity of the loss to each connection, at initialization.";
    const REFERENCES: &'static [&'static str] = &["Lee et al. 2019, arXiv:1810.02340"];
}

impl Criterion for Snip {
    fn needs(&self) -> Needs {
        Need::GRADIENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok((layer.weight() * layer.gradient()?).abs())
    }
}

pruning_burn::register_criterion!(Snip);
