use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// First-order estimate of what the loss gains or loses when a weight goes.
///
/// `|w g|`, or `(w g)^2` with `squared`, with `g` the gradient of the loss.
/// A unit scores the sum over its weights.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `gradient`, over the batches of your choice.
///
/// # Config
/// - `squared`: whether the estimate is squared; default false.
///
/// ```
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # let recipe = r#"
/// granularity = "2:4"
/// criterion = { name = "taylor", squared = true }
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// `TaylorImportance` of Torch-Pruning (`squared` is the estimate of the paper for single weights); like it, and unlike the
/// paper, the gradient is averaged before the product is taken.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Pavlo Molchanov, Arun Mallya, Stephen Tyree, Iuri Frosio, Jan Kautz, "Importance Estimation for Neural Network Pruning", 2019,
/// arXiv:1906.10771, equations 7 and 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Taylor {
    /// Whether the estimate is squared.
    pub squared: bool,
}

impl Taylor {
    /// `(w g)^2`.
    #[must_use]
    pub fn squared() -> Self {
        Self { squared: true }
    }
}

impl Plugin for Taylor {
    const NAME: &'static str = "taylor";
    const SUMMARY: &'static str = "First-order estimate of what the loss gains or loses when a weight goes.";
    const REFERENCES: &'static [&'static str] = &["Molchanov et al. 2019, arXiv:1906.10771"];
}

impl Criterion for Taylor {
    fn needs(&self) -> Needs {
        Need::GRADIENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let change = layer.weight() * layer.gradient()?;
        Ok(if self.squared { change.square() } else { change.abs() })
    }
}

pruning_burn::register_criterion!(Taylor);
