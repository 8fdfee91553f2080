use pruning_core::plugin::Plugin;
use pruning_core::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError};
use serde::{Deserialize, Serialize};

/// Each output unit is scaled so that its output changes least.
///
/// # Needs
/// The Gram matrix of the inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rescaled {}

impl Plugin for Rescaled {
    const NAME: &'static str = "acme.rescaled";
    const SUMMARY: &'static str = "Each output unit is scaled so that its output changes least.";
}

/// The mean product of the outputs of two units.
fn correlation(one: &[f64], gram: &[f64], two: &[f64]) -> f64 {
    let line = |g: &[f64]| g.iter().zip(two).map(|(g, w)| g * w).sum::<f64>();
    one.iter().zip(gram.chunks(two.len())).map(|(w, g)| w * line(g)).sum()
}

impl Reconstruction for Rescaled {
    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
        // The contract: a number for each weight, and exact zeros where the mask removes.
        let masked = |i: usize| if layer.keep.get(i) { layer.weight[i] } else { 0.0 };
        let mut weight: Vec<f64> = (0..layer.weight.len()).map(masked).collect();
        for (old, new) in layer.weight.chunks(layer.cols).zip(weight.chunks_mut(layer.cols)) {
            let (both, own) = (correlation(old, layer.gram, new), correlation(new, layer.gram, new));
            // An output that is always zero has no best scale.
            let scale = if own > 0.0 { both / own } else { 1.0 };
            new.iter_mut().for_each(|w| *w *= scale);
        }
        Ok(Reconstructed::new(weight))
    }
}

pruning_core::register_reconstruction!(Rescaled);
