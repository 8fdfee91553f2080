use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Scope};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// The same sparsity in every layer; also called local pruning.
///
/// Layer `l` with `n` units loses `round(s n)` of them. A count, which has no even shares, is split in proportion to what
/// each layer has left, with largest remainders first.
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
/// let small = Scores::new(&[4.0, 3.0, 2.0, 1.0], Order::Value)?;
/// let layers = [("fc1.weight", &large), ("fc2.weight", &small)]
///     .map(|(path, scores)| LayerUnits::new(path, MatrixLayout::row_major(2, 2), scores).with_bounds(1, 2));
/// let uniform = plugins.build::<dyn Allocator>("uniform", Default::default())?;
/// // Each layer keeps half of its units, however its scores compare.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*uniform, &layers, amount, Rounding::HalfEven)?, [2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// `torch.nn.utils.prune` called on each layer by itself, with the same rounding (half to even).
///
/// # Errors
/// None of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Uniform {}

impl Plugin for Uniform {
    const NAME: &'static str = "uniform";
    const SUMMARY: &'static str = "The same sparsity in every layer.";
}

impl Allocator for Uniform {
    fn scope(&self) -> Scope {
        Scope::Layer
    }

    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let even: Vec<usize> = layers.iter().map(|l| l.even).collect();
        if even.iter().sum::<usize>() == keep {
            return Ok(even);
        }
        let alive: usize = layers.iter().map(LayerUnits::alive).sum();
        // u128: the product of two counts of weights may not fit in 64 bits.
        let share = |l: &LayerUnits<'_>| keep as u128 * l.alive() as u128;
        let mut counts: Vec<usize> =
            layers.iter().map(|l| ((share(l) / alive as u128) as usize).max(l.least)).collect();
        let mut by_remainder: Vec<usize> = (0..layers.len()).collect();
        by_remainder.sort_by_key(|&i| std::cmp::Reverse(share(&layers[i]) % alive as u128));
        // Rounding down left a few units out; a lower limit may have put too many in.
        let mut missing = keep as isize - counts.iter().sum::<usize>() as isize;
        for &i in by_remainder.iter().cycle() {
            match missing {
                0 => break,
                1.. if counts[i] < layers[i].alive() => (counts[i], missing) = (counts[i] + 1, missing - 1),
                ..0 if counts[i] > layers[i].least => (counts[i], missing) = (counts[i] - 1, missing + 1),
                _ => {}
            }
        }
        Ok(counts)
    }
}

pruning_core::register_allocator!(Uniform);
