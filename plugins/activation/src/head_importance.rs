use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Expected change of the loss with a factor on each attention head, by gradients.
///
/// A head is `size` consecutive input channels of the output projection. Its importance is the mean over batches of `|sum of w g|`, over
/// the weights that read the head: the derivative of the loss by a factor on what the head puts out. Every weight of the head has an equal
/// share, and their sum is the importance.
///
/// The criterion is for heads with `axis = "input"`, at the output projection. With a trace they are then removed everywhere, and
/// `channel_score = "own"` compares them by these importances alone.
///
/// # Shapes
/// The shape of the weight matrix; all weights of a head are equal.
///
/// # Needs
/// `column_effect`; the paper's importance for batches of one example.
///
/// # Config
/// - `size`: the channels of a head, at least 1; default `1`, which takes every input channel by itself.
/// - `normalize`: whether importances are divided by their L2 norm over the heads of the layer, as in the paper; default `true`.
///
/// ```
/// # use burn::{module::Param, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_activation::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = { name = "head_importance", size = 2 }
/// granularity = { kind = "head", size = 2, axis = "input" }
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut projection = LinearConfig::new(4, 1).with_bias(false).init(&device);
/// projection.weight = Param::from_tensor(Tensor::from_floats([[1.0], [1.0], [2.0], [1.0]], &device));
/// // The first head puts out 3 and then -3, the second one 2 (1 - 1) + 2 = 2 twice: they matter by 3 and by 2.
/// let examples = [[[1.0, 2.0, 0.5, 1.0]], [[-1.0, -2.0, 0.5, 1.0]]].map(|x| Tensor::<2>::from_floats(x, &device));
/// let loss = |model: &Linear, x: &Tensor<2>| model.forward(x.clone()).sum();
/// let inputs = CriterionInputs::new().with_gradients(&projection, pruner.needs(), &examples, loss)?;
/// pruner.prune(&mut projection, &inputs)?;
/// assert_eq!(masks(&projection).get("weight").unwrap().bits().to_bools(), [true, true, false, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code for BERT, which also divides by the norm of each layer by default.
///
/// # Errors
/// An input is missing, or the input channels are no whole number of heads.
///
/// # References
/// Paul Michel, Omer Levy, Graham Neubig, "Are Sixteen Heads Really Better than One?", 2019, arXiv:1905.10650, section 4.1, equation 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HeadImportance {
    /// The channels of a head.
    pub size: usize,
    /// Whether importances are divided by their L2 norm over the heads of the layer.
    pub normalize: bool,
}

impl Default for HeadImportance {
    fn default() -> Self {
        Self { size: 1, normalize: true }
    }
}

impl Plugin for HeadImportance {
    const NAME: &'static str = "head_importance";
    const SUMMARY: &'static str = "Expected change of the loss with a factor on each attention head, by gradients.";
    const REFERENCES: &'static [&'static str] = &["Michel et al. 2019, arXiv:1905.10650"];

    fn validate(&self) -> Result<(), String> {
        if self.size > 0 {
            Ok(())
        } else {
            Err("size = 0 must be at least 1: it is the channels of a head".to_string())
        }
    }
}

impl Criterion for HeadImportance {
    fn needs(&self) -> Needs {
        Need::COLUMN_EFFECT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let [rows, cols] = layer.weight().dims();
        let channels = layer.layout().input_channels();
        if !channels.is_multiple_of(self.size) {
            let reason = format!("{channels} input channels are no whole number of heads of size = {}", self.size);
            return Err(CriterionError::Unsuited { reason });
        }
        let heads = channels / self.size;
        let effect = layer.input(Need::COLUMN_EFFECT)?;
        let [batches, _] = effect.dims();
        let importance = effect.reshape([batches, heads, cols / heads]).sum_dim(2).abs().mean_dim(0);
        let importance = if self.normalize {
            let norm = importance.clone().square().sum_dim(1).sqrt();
            let none = norm.clone().equal_elem(0.0);
            importance / norm.mask_fill(none, 1.0)
        } else {
            importance
        };
        let share = importance / (rows * cols / heads) as f64;
        Ok(share.expand([rows, heads, cols / heads]).reshape([rows, cols]))
    }

    fn positional(&self) -> bool {
        // Neighbors make a head.
        self.size > 1
    }
}

pruning_burn::register_criterion!(HeadImportance);
