use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, Needs};
use serde::{Deserialize, Serialize};

/// Share of each weight in its row and in its column, times a power of the norm of its input (relative importance and activations).
///
/// The score is `(|w_ij| / sum_i |w_ij| + |w_ij| / sum_j |w_ij|) * (sqrt(mean of x_j^2))^a`. A weight that is large among those of its
/// input or of its output unit stays, so that no channel is lost as a whole. Pruned weights count as zero in the sums.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Needs
/// `input_norm`.
///
/// # Config
/// - `a`: the power of the norm, 0 or more; default `0.5`.
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
/// criterion = { name = "ria", a = 1.0 }
/// "#;
/// # let device = Device::flex();
/// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[9.0, 1.0], [1.0, 1.0]], &device));
/// let norms = Tensor::<1>::from_floats([1.0, 2.0], &device);
/// let inputs = CriterionInputs::new().with_input(Need::INPUT_NORM, &model, [("weight", norms)])?;
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, &inputs)?;
/// // The first unit has the scores 9/10 + 9/10 and 2 (1/2 + 1/10), the second one 1/10 + 1/2 and 2 (1/2 + 1/2).
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The score of the authors' code; its permutation of channels for N:M is not part of it.
///
/// # Errors
/// An input is missing.
///
/// # References
/// Yingtao Zhang, Haoli Bai, Haokun Lin, Jialin Zhao, Lu Hou, Carlo Vittorio Cannistraci, "Plug-and-Play: An Efficient Post-training Pruning
/// Method for Large Language Models", 2024, ICLR, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ria {
    /// The power of the norm.
    pub a: f64,
}

impl Default for Ria {
    fn default() -> Self {
        Self { a: 0.5 }
    }
}

impl Plugin for Ria {
    const NAME: &'static str = "ria";
    const SUMMARY: &'static str = "Share of each weight in its row and in its column, times a power of the norm of its input (relative importance and activations).";
    const REFERENCES: &'static [&'static str] = &["Zhang et al. 2024, ICLR"];

    fn validate(&self) -> Result<(), String> {
        let valid = self.a >= 0.0 && self.a.is_finite();
        if valid { Ok(()) } else { Err(format!("a = {} must be 0 or more: it is the power of the norm", self.a)) }
    }
}

impl Criterion for Ria {
    fn needs(&self) -> Needs {
        Need::INPUT_NORM.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let weight = layer.weight().abs();
        // In a row or column of zeros each weight has no share.
        let share = |along: usize| {
            let sum = weight.clone().sum_dim(along);
            let none = sum.clone().equal_elem(0.0);
            weight.clone() / sum.mask_fill(none, 1.0)
        };
        Ok((share(0) + share(1)) * layer.input(Need::INPUT_NORM)?.powf_scalar(self.a))
    }
}

pruning_burn::register_criterion!(Ria);
