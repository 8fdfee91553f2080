use pruning_core::budget::Sparsity;
use pruning_core::plugin::Plugin;
use pruning_core::schedule::Curve;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Slow at both ends, fast between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {}

impl Plugin for Cosine {
    const NAME: &'static str = "acme.cosine";
    const SUMMARY: &'static str = "Slow at both ends, fast between.";
}

impl Curve for Cosine {
    fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
        let way = 0.5 * (1.0 - (PI * progress).cos());
        // Written so that both ends are exact.
        initial.value() * (1.0 - way) + target.value() * way
    }
}

pruning_core::register_curve!(Cosine);
