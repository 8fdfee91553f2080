use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Absolute gradient of each weight.
///
/// The score is `|g|`: how fast the loss would fall if the weight were there. RigL grows connections by it.
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
/// use pruning_burn::score::Criterion;
/// use pruning_gradient::Gradient;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # pruning_magnitude::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "magnitude"
/// allocator = "erk"
/// grow = { criterion = "gradient", fraction = 0.3, every = 1, end = 100 }
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut model = LinearConfig::new(2, 4).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[4.0, 3.0, 5.0, 2.0], [0.1, 0.2, 0.3, 0.4]], &device));
/// let batches = [Tensor::<2>::from_floats([[1.0, 2.0]], &device)];
/// let loss = |model: &Linear, batch: &Tensor<2>| model.forward(batch.clone()).sum();
///
/// // The first step prunes by magnitude. The second step drops the lowest of the four weights and grows another by its gradient.
/// let mut session = pruner.start(&mut model)?;
/// for mask in [[true, true, true, true, false, false, false, false], [true, true, true, false, true, false, false, false]] {
///     let needs = Gradient::default().needs();
///     let inputs = CriterionInputs::new().with_dense_gradients(&model, needs, &batches, loss)?;
///     session.step(&mut model, &inputs)?;
///     assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), mask);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// It is the growth criterion of RigL.
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
