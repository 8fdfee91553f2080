use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs, NormOrder, Reduction};
use serde::{Deserialize, Serialize};

/// Size of the activations that a layer reads: channels and heads that carry little are pruned.
///
/// An input column `j` has the size `sqrt(sum over examples of (mean over positions of |x_j|)^2)`, and so has a channel of `axis =
/// "input"`. A head has the L2 norm of the sizes of its features. Every weight of the column has its share, the size over the root of the
/// number of rows, and the norm of them all is the size.
///
/// The criterion is for channels and heads with `axis = "input"`, at the layer that reads them: the second linear layer of a feed-forward
/// block, the output projection of an attention. With a trace they are then removed everywhere. `channel_score = "own"` compares them by
/// these sizes alone; with `"group"` the layers that make them add something which is the same for all channels of a group.
///
/// # Shapes
/// The shape of the weight matrix; all rows are equal.
///
/// # Needs
/// `input_activation`.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::Param, nn::LinearConfig, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// use pruning_burn::score::Need;
/// # let mut plugins = Plugins::empty();
/// # pruning_activation::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "activation"
/// granularity = { kind = "head", size = 2, axis = "input" }
/// "#;
/// # let device = Device::flex();
/// let mut model = LinearConfig::new(4, 3).with_bias(false).init(&device);
/// let sizes = Tensor::<1>::from_floats([5.0, 0.0, 3.0, 3.0], &device);
/// let inputs = CriterionInputs::new().with_input(Need::INPUT_ACTIVATION, &model, [("weight", sizes)])?;
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, &inputs)?;
/// // The heads score 5 and sqrt(3^2 + 3^2) = 4.2.
/// let kept = masks(&model).get("weight").unwrap().bits().to_bools();
/// assert_eq!(kept, [true, true, true, true, true, true, false, false, false, false, false, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The importance of Minitron in ModelOpt: mean over the sequence, L2 norm over the batch. It scores neurons before they are read, as this
/// does where nothing lies in between.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Saurav Muralidharan, Sharath Turuvekere Sreenivas, Raviraj Joshi, Marcin Chochowski, Mostofa Patwary, Mohammad Shoeybi, Bryan Catanzaro,
/// Jan Kautz, Pavlo Molchanov, "Compact Language Models via Pruning and Knowledge Distillation", 2024, arXiv:2407.14679, section 2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Activation {}

impl Plugin for Activation {
    const NAME: &'static str = "activation";
    const SUMMARY: &'static str =
        "Size of the activations that a layer reads: channels and heads that carry little are pruned.";
    const REFERENCES: &'static [&'static str] = &["Muralidharan et al. 2024, arXiv:2407.14679"];
}

impl Criterion for Activation {
    fn needs(&self) -> Needs {
        Need::INPUT_ACTIVATION.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let [rows, cols] = layer.weight().dims();
        let share = layer.input(Need::INPUT_ACTIVATION)? / (rows as f64).sqrt();
        Ok(share.expand([rows, cols]))
    }

    fn reduction(&self) -> Reduction {
        Reduction::Norm(NormOrder::L2)
    }
}

pruning_burn::register_criterion!(Activation);
