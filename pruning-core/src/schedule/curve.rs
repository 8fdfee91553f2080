//! The shape of a gradual schedule over time: the [`Curve`] plugin.

use crate::budget::Sparsity;
use crate::caught;
use crate::plugin::{Configured, PluginKind};
use std::fmt::Debug;

/// A plugin that says how sparsity grows from an initial value to a target: see [`register_curve`](crate::register_curve).
///
/// Its contract, which the conformance kit checks: a curve returns exactly `initial` at progress 0 and exactly `target` at progress 1. It
/// never leaves the range between the two, and never decreases where the target is the larger.
pub trait Curve: Debug + Send + Sync {
    /// Returns the sparsity at `progress`, from 0 to 1.
    fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64;
}

impl PluginKind for dyn Curve {
    const KIND: &'static str = "curve";
}

/// An error for a curve that returns no sparsity.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CurveError {
    /// The curve panicked.
    #[error("curve {curve} panicked: {message}")]
    Panicked {
        /// The name of the curve.
        curve: String,
        /// The message of the panic.
        message: String,
    },
    /// The curve returned a value outside of its range.
    #[error("curve {curve} gave {value} at progress {progress}, outside of {initial} to {target}")]
    Outside {
        /// The name of the curve.
        curve: String,
        /// The value that the curve returned, as text.
        value: String,
        /// The progress of the schedule, from 0 to 1.
        progress: f64,
        /// The sparsity at which the curve begins.
        initial: Sparsity,
        /// The sparsity at which the curve ends.
        target: Sparsity,
    },
}

/// Asks a curve for a sparsity and checks its contract.
pub(crate) fn sparsity_at(
    curve: &Configured<dyn Curve>,
    initial: Sparsity,
    target: Sparsity,
    progress: f64,
) -> Result<Sparsity, CurveError> {
    let name = || curve.name().to_string();
    let value = caught(|| curve.sparsity(initial, target, progress))
        .map_err(|message| CurveError::Panicked { curve: name(), message })?;
    let (low, high) = (initial.value().min(target.value()), initial.value().max(target.value()));
    // The last bit is rounding.
    if !(value >= low - 1e-12 && value <= high + 1e-12) {
        return Err(CurveError::Outside { curve: name(), value: value.to_string(), progress, initial, target });
    }
    // A layer that ends below the beginning of the schedule is not pruned past its end.
    Ok(Sparsity::new(value.clamp(0.0, target.value())).unwrap_or(target))
}

/// Registers a [`Curve`](crate::schedule::Curve): write `register_curve!(MyCurve);` beside its definition.
///
/// ```
/// # use pruning_core::schedule::Curve;
/// # use pruning_core::plugin::Plugin;
/// # use pruning_core::budget::Sparsity;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// struct Steep {}
///
/// impl Plugin for Steep {
///     const NAME: &'static str = "acme.steep";
///     const SUMMARY: &'static str = "The sparsity grows in the last moment.";
/// }
///
/// impl Curve for Steep {
///     fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
///         let way = progress.powi(9);
///         initial.value() * (1.0 - way) + target.value() * way
///     }
/// }
///
/// pruning_core::register_curve!(Steep);
/// ```
///
/// A name with other characters does not compile:
///
/// ```compile_fail,E0080
/// # use pruning_core::schedule::Curve;
/// # use pruning_core::plugin::Plugin;
/// # use pruning_core::budget::Sparsity;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// struct Steep {}
///
/// impl Plugin for Steep {
///     const NAME: &'static str = "Acme Steep";
///     const SUMMARY: &'static str = "The sparsity grows in the last moment.";
/// }
///
/// impl Curve for Steep {
///     fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
///         let way = progress.powi(9);
///         initial.value() * (1.0 - way) + target.value() * way
///     }
/// }
///
/// pruning_core::register_curve!(Steep);
/// ```
#[macro_export]
macro_rules! register_curve {
    ($plugin:ty) => {
        $crate::register_plugin!($plugin, dyn $crate::schedule::Curve);
    };
}
