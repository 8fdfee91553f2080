use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Movement of each weight away from zero during training.
///
/// The score is `sum_t -w_t g_t` over steps `t` of training, with its sign: weights that shrink have scores below zero and are pruned
/// first.
///
/// It is meant for single weights and N:M. The loss does not change with the scale of a channel that a batch norm follows, so the signed
/// scores of such a channel add up to almost nothing, and ranking whole channels by them is noise.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `movement`, recorded step by step with `CriterionInputs::record_movement`.
///
/// # Config
/// None.
///
/// ```
/// # use burn::{module::Param, nn::LinearConfig, optim::GradientsParams, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_gradient::register(&mut plugins);
/// # pruning_schedule::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = "movement"
/// allocator = "global"
/// schedule = { kind = "gradual", begin = 0, end = 1000, every = 10, curve = "cubic" }
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[1.0, -2.0], [3.0, -1.0]], &device));
/// // At each step of training: the gradient of this loss is [[1, 1], [-1, -1]], so the scores -w g are [[-1, 2], [3, -1]].
/// let mut inputs = CriterionInputs::new();
/// let x = Tensor::<2>::from_floats([[1.0, -1.0]], &device);
/// let gradients = GradientsParams::from_grads(model.forward(x).sum().backward(), &model);
/// inputs.record_movement(&model, &gradients);
/// pruner.prune(&mut model, &inputs)?;
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [false, true, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// These are the scores of the authors' hard movement pruning, up to the learning rate, without their straight-through gradient for
/// pruned weights.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Victor Sanh, Thomas Wolf, Alexander M. Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020, arXiv:2005.07683,
/// equation 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Movement {}

impl Plugin for Movement {
    const NAME: &'static str = "movement";
    const SUMMARY: &'static str = "Movement of each weight away from zero during training.";
    const REFERENCES: &'static [&'static str] = &["Sanh et al. 2020, arXiv:2005.07683"];
}

impl Criterion for Movement {
    fn needs(&self) -> Needs {
        Need::MOVEMENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        layer.movement()
    }
}

pruning_burn::register_criterion!(Movement);
