use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Sensitivity of the loss to each connection, at initialization.
///
/// The score is `|w g|`, with `g` the gradient of the loss over one batch or a few, before any training. The paper divides by the sum over
/// all layers, which does not change the ranking, so it is left out. Prune in one shot with the allocator `global`.
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
/// # use burn::{module::Param, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "snip"
/// allocator = "global"
/// schedule = "one_shot"
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[1.0, -2.0], [3.0, 0.5]], &device));
/// // The gradient of this loss is [[1, 1], [2, 2]], so the scores |w g| are [[1, 2], [6, 1]].
/// let batch = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let loss = |model: &Linear, batch: &Tensor<2>| model.forward(batch.clone()).sum();
/// let inputs = CriterionInputs::new().with_gradients(&model, pruner.needs(), &[batch], loss)?;
/// pruner.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [false, true, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code, which normalizes by the sum over the model; the masks are the same. The formula is that of `taylor`, but it is
/// evaluated before training.
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
