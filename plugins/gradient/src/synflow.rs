use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Part of each weight in the flow through the network, without data.
///
/// `|w dR/dw|` with `R` the summed outputs of the network of absolute weights on an input of ones. Prune in many rounds, and collect the
/// flow anew for each: in one shot it can empty a layer as others do.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `flow`.
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
/// criterion = "synflow"
/// # "#;
/// # Pruner::from_toml(recipe, &plugins)?;
/// # Ok::<(), pruning_burn::recipe::RecipeError>(())
/// ```
///
/// # Compatible implementations
/// The authors' code: 100 rounds, exponential, over the whole model. As there a batch norm takes its running statistics; there the
/// running mean too is made positive, which at initialization, where it is zero, is the same.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Hidenori Tanaka, Daniel Kunin, Daniel L. K. Yamins, Surya Ganguli, "Pruning neural networks without any data by iteratively
/// conserving synaptic flow", 2020, arXiv:2006.05467, section 6 and algorithm 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Synflow {}

impl Plugin for Synflow {
    const NAME: &'static str = "synflow";
    const SUMMARY: &'static str = "Part of each weight in the flow through the network, without data.";
    const REFERENCES: &'static [&'static str] = &["Tanaka et al. 2020, arXiv:2006.05467"];
}

impl Criterion for Synflow {
    fn needs(&self) -> Needs {
        Need::FLOW.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok((layer.weight() * layer.flow()?).abs())
    }
}

pruning_burn::register_criterion!(Synflow);
