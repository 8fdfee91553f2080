use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, NormOrder, Order, Reduction};
use serde::{Deserialize, Serialize};

/// Absolute value of each weight; p-norm of each block or channel.
///
/// Single weights score `|w|`, whatever `p`. A unit of several scores `(sum |w|^p)^(1/p)`, `max |w|` for `p = inf`, and the number of its
/// weights that are not zero for `p = 0`.
///
/// # Shapes
/// The weight matrix, handed over as it is.
///
/// # Config
/// - `p`: order of the norm, at least 0, `inf` included; default 1.
///
/// ```
/// # use burn::{module::Param, nn::LinearConfig, tensor::{Device, Tensor}};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_magnitude::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// // Whole output units, by the Euclidean norm of their weights.
/// let recipe = r#"
/// sparsity = 0.5
/// criterion = { name = "magnitude", p = 2 }
/// granularity = "channel"
/// "#;
/// # let device = Device::flex();
/// let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_tensor(Tensor::from_floats([[3.0, 4.0], [3.0, -0.5]], &device));
/// Pruner::from_toml(recipe, &plugins)?.prune(&mut model, None)?;
/// // The columns have the norms 4.24 and 4.03.
/// assert_eq!(masks(&model).get("weight").unwrap().bits().to_bools(), [true, false, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `torch.nn.utils.prune`: `l1_unstructured` (elements), `ln_structured` with `n = p` (channels, `dim = 0` for output and
/// `dim = 1` for input; `dim = 2` and more are axes of the kernel). Ties go to the lower index here, and to any index there.
///
/// # Errors
/// None of its own; weights that are not finite are found when the scores are ranked.
///
/// # References
/// Song Han, Jeff Pool, John Tran, William J. Dally, "Learning both Weights and Connections for Efficient Neural Networks",
/// 2015, arXiv:1506.02626; for channels Hao Li et al., "Pruning Filters for Efficient ConvNets", 2016, arXiv:1608.08710.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Magnitude {
    /// The order of the norm.
    pub p: NormOrder,
}

impl Default for Magnitude {
    fn default() -> Self {
        Self::l1()
    }
}

impl Magnitude {
    /// Creates the criterion with norms of order `p`.
    #[must_use]
    pub fn new(p: NormOrder) -> Self {
        Self { p }
    }

    /// Creates the criterion with `p = 1`.
    #[must_use]
    pub fn l1() -> Self {
        Self::new(NormOrder::L1)
    }

    /// Creates the criterion with `p = 2`.
    #[must_use]
    pub fn l2() -> Self {
        Self::new(NormOrder::L2)
    }
}

impl Plugin for Magnitude {
    const NAME: &'static str = "magnitude";
    const SUMMARY: &'static str = "Absolute value of each weight; p-norm of each block or channel.";
    const REFERENCES: &'static [&'static str] =
        &["Han et al. 2015, arXiv:1506.02626", "Li et al. 2016, arXiv:1608.08710"];
}

impl Criterion for Magnitude {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight())
    }

    // The sign is dropped when the scores are ranked, which saves a tensor as large as the weights.
    fn order(&self) -> Order {
        Order::Absolute
    }

    fn reduction(&self) -> Reduction {
        Reduction::Norm(self.p)
    }
}

pruning_burn::register_criterion!(Magnitude);
