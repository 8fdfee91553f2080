use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Scores, share_highest};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// The highest scores stay, each relative to the scores of its layer that are not lower (layer-adaptive magnitude pruning).
///
/// With the scores of a layer in descending order, `s_1 >= s_2 >= ...`, unit `k` ranks by `s_k^2 / (s_1^2 + ... + s_k^2)`, over the whole
/// model. Within a layer this keeps the order of the scores, so only the shares of the layers change. The highest unit of
/// each layer has 1, so no layer is emptied before all others are.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// None.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let large = Scores::new(&[8.0, 7.0, 6.0, 5.0], Order::Value)?;
/// let small = Scores::new(&[0.8, 0.7, 0.6, 0.5], Order::Value)?;
/// let layers = [("fc1.weight", &large), ("fc2.weight", &small)]
///     .map(|(path, scores)| LayerUnits::new(path, MatrixLayout::row_major(2, 2), scores));
/// let lamp = plugins.build::<dyn Allocator>("lamp", Default::default())?;
/// // The scores differ in scale between layers, but their relative scores do not.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*lamp, &layers, amount, Rounding::HalfEven)?, [2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The score of the authors' code, which divides by the sum over weights that are not smaller; ties go by index there too.
///
/// # Errors
/// None of its own. Scores below zero count as zero.
///
/// # References
/// Jaeho Lee, Sejun Park, Sangwoo Mo, Sungsoo Ahn, Jinwoo Shin, "Layer-Adaptive Sparsity for the Magnitude-based Pruning", 2021,
/// arXiv:2010.07611, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Lamp {}

impl Plugin for Lamp {
    const NAME: &'static str = "lamp";
    const SUMMARY: &'static str = "The highest scores stay, each relative to the scores of its layer that are not lower (layer-adaptive magnitude pruning).";
    const REFERENCES: &'static [&'static str] = &["Lee et al. 2021, arXiv:2010.07611"];
}

/// The relative scores of a layer, in descending order.
fn relative(scores: Vec<f32>) -> Vec<f32> {
    let mut scores: Vec<f64> = scores.into_iter().map(|s| f64::from(s.max(0.0))).collect();
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut sum = 0.0;
    let relative = scores.into_iter().map(|score| {
        let square = score * score;
        sum += square;
        // Zeros at the end of a layer are worth nothing, even if there is nothing else.
        if square > 0.0 { (square / sum) as f32 } else { 0.0 }
    });
    relative.collect()
}

impl Allocator for Lamp {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        // Fractions of finite squares: every one of them is finite.
        let scores: Vec<Scores<'_>> = layers.iter().filter_map(|l| l.scores.mapped(relative).ok()).collect();
        let bounds: Vec<_> = layers.iter().map(|l| (l.least, l.alive())).collect();
        share_highest(&scores.iter().collect::<Vec<_>>(), &bounds, keep).ok_or_else(|| AllocationError::Unreachable {
            keep,
            least: bounds.iter().map(|b| b.0).sum(),
            most: bounds.iter().map(|b| b.1).sum(),
            allow_empty_helps: false,
        })
    }
}

pruning_core::register_allocator!(Lamp);
