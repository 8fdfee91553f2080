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
/// # use pruning_core::budget::Allocator;
/// # use pruning_core::plugin::Plugins;
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// assert!(plugins.build::<dyn Allocator>("uniform", Default::default()).is_ok());
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
        // Rounding down left a few out; a lower limit may have put some too many in.
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
