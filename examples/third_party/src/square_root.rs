use pruning_core::{AllocationError, Allocator, LayerUnits, Plugin};
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
        // The contract: at least `least` and at most `alive` units in each layer, and `keep` in all. The pruner has checked that
        // there is a way. Units go one share at a time to the layers that have room.
        let mut counts: Vec<usize> = layers.iter().map(|l| l.least).collect();
        let mut missing = keep - counts.iter().sum::<usize>();
        while missing > 0 {
            let open: Vec<usize> = (0..layers.len()).filter(|&i| counts[i] < layers[i].alive()).collect();
            let roots: f64 = open.iter().map(|&i| (layers[i].units() as f64).sqrt()).sum();
            let round = missing;
            for &i in &open {
                let share = round as f64 * (layers[i].units() as f64).sqrt() / roots;
                let more = (share as usize).max(1).min(layers[i].alive() - counts[i]).min(missing);
                counts[i] += more;
                missing -= more;
            }
        }
        Ok(counts)
    }
}

pruning_core::register_allocator!(SquareRoot);
