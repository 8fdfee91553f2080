//! The shape of a gradual schedule over time: the [`Curve`] plugin.

use crate::{PluginKind, Sparsity};
use std::fmt::Debug;

/// How sparsity grows from an initial value to a target. A plugin: see [`register_curve`](crate::register_curve).
///
/// The contract, which the conformance kit checks: `initial` at progress 0 and `target` at progress 1, both exactly; never
/// outside the two in between, and never decreasing where the target is the larger.
pub trait Curve: Debug + Send + Sync {
    /// Sparsity at `progress`, from 0 to 1.
    fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64;
}

impl PluginKind for dyn Curve {
    const KIND: &'static str = "curve";
}
