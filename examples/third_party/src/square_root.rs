use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
use pruning_core::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// Kept units grow with the square root of a layer's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SquareRoot {}

impl Plugin for SquareRoot {
    const NAME: &'static str = "acme.square_root";
    const SUMMARY: &'static str = "Kept units grow with the square root of a layer's size.";
}

impl Allocator for SquareRoot {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        // The contract: at least `least` and at most `alive` units in each layer, which a share brings along, and `keep` in all.
        let shares: Vec<_> = layers.iter().map(|l| Share::new((l.units() as f64).sqrt(), l)).collect();
        in_proportion(&shares, keep)
    }
}

pruning_core::register_allocator!(SquareRoot);
