use burn::tensor::{Tensor, TensorData};
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView};
use serde::{Deserialize, Serialize};

/// Random scores from a seed, the baseline that every other criterion has to beat.
///
/// The scores are drawn uniformly from `[0, 1)` on the host, from the seed and the parameter's path. So a mask is the same on every device,
/// and does not depend on other layers. Pruning again with one seed draws the same scores; each update of dynamic sparse training (SET)
/// draws others.
///
/// # Shapes
/// The shape of the weight matrix.
///
/// # Config
/// - `seed`: the seed of the scores; default 0.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// use pruning_burn::prelude::*;
/// # let mut plugins = Plugins::empty();
/// # pruning_magnitude::register(&mut plugins);
/// # pruning_allocation::register(&mut plugins);
/// let pruned = |recipe: &str| {
///     let mut model = LinearConfig::new(20, 10).init(&Device::flex());
///     Pruner::from_toml(recipe, &plugins)?.prune(&mut model, None)?;
///     Ok::<_, Box<dyn std::error::Error>>(masks(&model))
/// };
/// let masks = pruned("sparsity = 0.9\ncriterion = { name = \"random\", seed = 7 }")?;
/// assert_eq!(masks.get("weight").unwrap().kept(), 20);
/// assert_eq!(pruned("sparsity = 0.9\ncriterion = { name = \"random\", seed = 7 }")?, masks);
/// assert_ne!(pruned("sparsity = 0.9\ncriterion = { name = \"random\", seed = 8 }")?, masks);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `torch.nn.utils.prune.random_unstructured` and `random_structured`: the same counts, other random numbers.
///
/// # Errors
/// None.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Random {
    /// The seed of the scores.
    pub seed: u64,
}

impl Random {
    /// Creates the criterion with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Plugin for Random {
    const NAME: &'static str = "random";
    const SUMMARY: &'static str = "Random scores from a seed, the same on every device.";
}

impl Criterion for Random {
    fn positional(&self) -> bool {
        true
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let [rows, cols] = layer.weight().dims();
        // FNV-1a of the path (http://www.isthe.com/chongo/tech/comp/fnv), so that every layer has a stream of its own.
        let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let start = layer.path().bytes().fold(0xcbf2_9ce4_8422_2325 ^ split_mix(self.seed), hash);
        let start = if layer.update() == 0 { start } else { split_mix(start ^ split_mix(layer.update() as u64)) };
        let score = |i: usize| unit(split_mix(start.wrapping_add(i as u64)));
        let tensor = |scores, shape| Tensor::from_data(TensorData::new::<f32, _>(scores, shape), &layer.device());
        // The scores are made in memory order, which saves a transposition later; the number of a score is its place in the matrix.
        Ok(match layer.layout().inner() {
            1 => {
                let mut scores = Vec::with_capacity(rows * cols);
                (0..cols).for_each(|col| scores.extend((0..rows).map(|row| score(row * cols + col))));
                tensor(scores, [cols, rows]).transpose()
            }
            _ => tensor((0..rows * cols).map(score).collect(), [rows, cols]),
        })
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 24 bits as a fraction: every value is exact in 32-bit floats.
fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1u64 << 24) as f32
}

pruning_burn::register_criterion!(Random);
