use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView};
use serde::{Deserialize, Serialize};

/// Distance of each weight from the mean of its output unit.
///
/// # Config
/// - `share`: how much of the mean is taken off, in `[0, 1]`; default 1. With 0 this is magnitude pruning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Centered {
    /// How much of the mean is taken off.
    pub share: f64,
}

impl Default for Centered {
    fn default() -> Self {
        Self { share: 1.0 }
    }
}

impl Plugin for Centered {
    const NAME: &'static str = "acme.centered";
    const SUMMARY: &'static str = "Distance of each weight from the mean of its output unit.";

    fn validate(&self) -> Result<(), String> {
        let allowed = (0.0..=1.0).contains(&self.share);
        if allowed { Ok(()) } else { Err(format!("share {} must be in [0, 1]", self.share)) }
    }
}

impl Criterion for Centered {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        // Rows are output units: the mean of a row is that of a unit's incoming weights, whatever the layer is.
        let weight = layer.weight();
        let mean = weight.clone().mean_dim(1) * self.share;
        Ok((weight.clone() - mean.expand(weight.shape())).abs())
    }
}

pruning_burn::register_criterion!(Centered);
