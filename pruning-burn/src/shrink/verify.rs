//! The comparison of two models on the same inputs: [`verify`].

use crate::shrink::ShrinkError;
use crate::trace::{RunOn, Scope};
use burn::module::Module;
use burn::tensor::{DType, TensorData};
use serde::{Deserialize, Serialize};

/// The difference between the outputs of two models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Difference {
    /// The largest absolute difference of two outputs.
    pub max_abs: f64,
    /// The largest difference, relative to the largest output of the first model; 0 if that is 0.
    pub max_rel: f64,
    /// The number of compared output values.
    pub outputs: usize,
    /// Whether some outputs have 16 bits.
    #[serde(default)]
    half: bool,
}

impl Difference {
    /// Returns the difference if it is at most `tolerance`, relative to the largest output.
    ///
    /// # Errors
    /// The difference is larger.
    pub fn within(self, tolerance: f64) -> Result<Self, ShrinkError> {
        // A tolerance of NaN allows nothing.
        if self.max_rel <= tolerance { Ok(self) } else { Err(ShrinkError::Apart { difference: self, tolerance }) }
    }

    /// Returns the tolerance for sums in another order: 1/1000, or 1/20 in 16 bits.
    pub(crate) fn rounding(&self) -> f64 {
        if self.half { 0.05 } else { 1e-3 }
    }
}

/// Runs both models in validation mode on the inputs of `forward`, and compares all outputs.
///
/// The masked and the smaller model must agree up to rounding, since sums have another order. Check that with
/// [`Difference::within`].
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{self, Fields, Shrinker};
/// use pruning_burn::trace::{Scope, Trace};
/// # use pruning_burn::{Pruner, plugin::Plugins};
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// # let device = Device::flex();
/// let mut model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
/// # let x = Tensor::<2>::ones([1, 8], &device);
/// let forward = |model: &Vec<Linear>, scope: &mut Scope| {
///     let x = scope.input(&x);
///     scope.output(model[1].forward(model[0].forward(x)));
/// };
/// let trace = Trace::record(&model, forward)?;
/// # let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
/// # let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
/// let mut masked = model.clone();
/// shrink::mask(&plan, &mut masked)?;
/// shrink::apply(&plan, &mut model, |_: &mut Vec<Linear>, _: &mut Fields| {}, forward)?;
/// let difference = shrink::verify(&masked, &model, forward)?.within(1e-6)?;
/// assert_eq!(difference.outputs, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The outputs differ in number or shape, only one of two outputs is finite, or the forward panics.
pub fn verify<M: Module>(masked: &M, smaller: &M, forward: impl Fn(&M, &mut Scope)) -> Result<Difference, ShrinkError> {
    let run = |model: &M| outputs(model, RunOn::Example, &forward);
    difference(&run(masked)?, &run(smaller)?)
}

/// Runs a model and returns its outputs.
pub(crate) fn outputs<M: Module>(
    model: &M,
    inputs: RunOn,
    forward: &impl Fn(&M, &mut Scope),
) -> Result<Vec<TensorData>, ShrinkError> {
    Scope::run(model, inputs, forward).map_err(ShrinkError::broken)
}

/// Returns whether all outputs are finite.
pub(crate) fn finite(outputs: &[TensorData]) -> bool {
    outputs.iter().all(|output| output.iter::<f64>().all(f64::is_finite))
}

/// Compares two lists of outputs.
pub(crate) fn difference(a: &[TensorData], b: &[TensorData]) -> Result<Difference, ShrinkError> {
    let broken = |reason: String| Err(ShrinkError::broken(reason));
    if a.iter().chain(b).all(|output| output.iter::<f64>().next().is_none()) {
        return broken(
            "the forward declared no output that could be compared; declare one by `scope.output`".to_string(),
        );
    }
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
            // Infinities and NaN agree only with themselves.
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
