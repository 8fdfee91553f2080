//! Two models on the same inputs: [`verify`].

use super::ShrinkError;
use crate::trace::Scope;
use burn::module::Module;

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
}

/// Runs both models in validation mode on the inputs of `forward`, and compares all outputs.
///
/// Give it the masked model and the smaller one: they must agree within the rounding of sums in another order.
///
/// # Errors
/// The outputs are of different numbers or shapes, or one is not finite where the other is.
pub fn verify<M: Module>(masked: &M, smaller: &M, forward: impl Fn(&M, &mut Scope)) -> Result<Difference, ShrinkError> {
    let (a, b) = (Scope::run(masked, &forward), Scope::run(smaller, &forward));
    let broken = |reason: String| Err(ShrinkError::Broken { reason });
    if a.len() != b.len() {
        return broken(format!("{} outputs instead of {}", b.len(), a.len()));
    }
    let mut difference = Difference::default();
    let mut largest = 0.0_f64;
    for (index, (x, y)) in a.iter().zip(&b).enumerate() {
        if x.shape() != y.shape() {
            return broken(format!("output {index} has shape {:?} instead of {:?}", y.shape(), x.shape()));
        }
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
