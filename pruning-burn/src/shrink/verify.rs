//! Two models on the same inputs: [`verify`].

use crate::shrink::ShrinkError;
use crate::trace::{RunOn, Scope};
use burn::module::Module;
use burn::tensor::{DType, TensorData};

/// How far two models are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Largest absolute difference of two outputs.
    pub max_abs: f64,
    /// Largest difference relative to the largest output of the first model; 0 where that is 0.
    pub max_rel: f64,
    /// Outputs compared.
    pub outputs: usize,
    /// Whether outputs were compared that have 16 bits.
    half: bool,
}

impl Difference {
    /// Returns the difference if it is at most `tolerance`, relative to the largest output.
    ///
    /// # Errors
    /// The models are further apart.
    pub fn within(self, tolerance: f64) -> Result<Self, ShrinkError> {
        // A tolerance that is NaN allows nothing.
        if self.max_rel <= tolerance { Ok(self) } else { Err(ShrinkError::Apart { difference: self, tolerance }) }
    }

    /// What sums in another order come to: a thousandth, or a twentieth in 16 bits.
    pub(crate) fn rounding(&self) -> f64 {
        if self.half { 0.05 } else { 1e-3 }
    }
}

/// Runs both models in validation mode on the inputs of `forward`, and compares all outputs.
///
/// Give it the masked model and the smaller one: they must agree within the rounding of sums in another order, which
/// [`Difference::within`] asks for.
///
/// # Errors
/// The outputs are of different numbers or shapes, one is not finite where the other is, or the forward panics.
pub fn verify<M: Module>(masked: &M, smaller: &M, forward: impl Fn(&M, &mut Scope)) -> Result<Difference, ShrinkError> {
    let run = |model: &M| outputs(model, RunOn::Example, &forward);
    difference(&run(masked)?, &run(smaller)?)
}

/// Runs a model: its outputs.
pub(crate) fn outputs<M: Module>(
    model: &M,
    inputs: RunOn,
    forward: &impl Fn(&M, &mut Scope),
) -> Result<Vec<TensorData>, ShrinkError> {
    Scope::run(model, inputs, forward).map_err(ShrinkError::broken)
}

/// Whether all outputs are numbers.
pub(crate) fn finite(outputs: &[TensorData]) -> bool {
    outputs.iter().all(|output| output.iter::<f64>().all(f64::is_finite))
}

/// Compares two lists of outputs.
pub(crate) fn difference(a: &[TensorData], b: &[TensorData]) -> Result<Difference, ShrinkError> {
    let broken = |reason: String| Err(ShrinkError::broken(reason));
    if a.len() != b.len() {
        return broken(format!("{} outputs instead of {}", b.len(), a.len()));
    }
    let mut difference = Difference::default();
    let mut largest = 0.0_f64;
    for (index, (x, y)) in a.iter().zip(b).enumerate() {
        if x.shape() != y.shape() {
            return broken(format!("output {index} has shape {:?} instead of {:?}", y.shape(), x.shape()));
        }
        difference.half |= matches!(x.dtype(), DType::F16 | DType::BF16);
        for (x, y) in x.iter::<f64>().zip(y.iter::<f64>()) {
            // Infinities and NaN agree with themselves alone.
            let apart = if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { (x - y).abs() };
            if !apart.is_finite() {
                return broken(format!("output {index} has {y} instead of {x}"));
            }
            difference.max_abs = difference.max_abs.max(apart);
            largest = largest.max(if x.is_finite() { x.abs() } else { 0.0 });
            difference.outputs += 1;
        }
    }
    if largest > 0.0 {
        difference.max_rel = difference.max_abs / largest;
    }
    Ok(difference)
}
