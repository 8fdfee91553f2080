use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// First-order estimate of the change of the loss without a weight.
///
/// The score is `|w g|`, or `(w g)^2` with `squared`, with `g` the gradient of the loss. A unit scores the sum over its weights.
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
/// # use burn::{module::Param, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.34
/// criterion = { name = "taylor", squared = true }
/// allocator = "global"
/// granularity = "channel"
/// schedule = { kind = "iterative", rounds = 10 }
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut model = LinearConfig::new(2, 3).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[1.0, 2.0, 0.5], [1.0, 0.1, 0.5]], &device));
/// // The gradient is [[1, 1, 1], [2, 2, 2]], so the channels score the sums of (w g)^2 over their columns: 5, 4.04 and 1.25.
/// let batch = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let loss = |model: &Linear, batch: &Tensor<2>| model.forward(batch.clone()).sum();
/// let inputs = CriterionInputs::new().with_gradients(&model, pruner.needs(), &[batch], loss)?;
/// pruner.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, true, false, true, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `TaylorImportance` of Torch-Pruning; `squared` is the estimate of the paper for single weights. As there, and unlike the paper, the
/// gradient is averaged before the product is taken.
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
    /// Creates the criterion `(w g)^2`.
    #[must_use]
    pub fn squared() -> Self {
        Self { squared: true }
    }
}

impl Plugin for Taylor {
    const NAME: &'static str = "taylor";
    const SUMMARY: &'static str = "First-order estimate of the change of the loss without a weight.";
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
