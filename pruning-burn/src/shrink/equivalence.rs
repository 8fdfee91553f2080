//! The comparison of the masked and the smaller model with random biases and inputs: [`check`].

use crate::layers::layers;
use crate::mask::attach::undo;
use crate::shrink::cut::cut;
use crate::shrink::mask::mask;
use crate::shrink::parameters::{ByPath, Parameters};
use crate::shrink::verify::{difference, finite, outputs};
use crate::shrink::{Difference, ShrinkError};
use crate::trace::{RunOn, Scope, Trace};
use crate::walk::{self, Map, Position};
use burn::module::{Module, Param};
use burn::tensor::{Distribution, Tensor, TensorData};
use pruning_core::graph::ShrinkPlan;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The result of the equivalence check of [`apply`](super::apply()).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Equivalence {
    /// The masked and the smaller model differ by this much, and the masks change the outputs.
    Checked(Difference),
    /// The check proved nothing.
    NotChecked {
        /// The reason.
        why: String,
    },
}

impl Equivalence {
    /// Returns the measured difference, if the models were compared.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        match self {
            Self::Checked(difference) => Some(*difference),
            Self::NotChecked { .. } => None,
        }
    }

    pub(crate) fn not(why: &str) -> Self {
        Self::NotChecked { why: why.to_string() }
    }
}

/// Compares copies of both models. Their biases, statistics and scales are random, since a trained zero would hide what a
/// channel still contributes.
pub(crate) fn check<M: Module>(
    plan: &ShrinkPlan,
    model: &M,
    smaller: &M,
    recorded: &Trace,
    tolerance: Option<f64>,
    forward: &impl Fn(&M, &mut Scope),
) -> Result<Equivalence, ShrinkError> {
    if let Some(nothing) = proves_nothing(plan, recorded) {
        return Ok(nothing);
    }
    let Copies { dense, masked, cut } = copies(plan, model)?;
    let values = Parameters::of(&cut).found;
    let smaller = walk::map(smaller.valid().materialize(), &mut Place { values });
    // Random numbers may leave the domain of a function; those of the example do not.
    judge([RunOn::Random, RunOn::Example], tolerance, |inputs| {
        let run = |model: &M| outputs(model, inputs, forward);
        Ok(Some([run(&dense)?, run(&masked)?, run(&smaller)?]))
    })
}

/// Returns the reason why no run could prove anything.
pub(crate) fn proves_nothing(plan: &ShrinkPlan, recorded: &Trace) -> Option<Equivalence> {
    if plan.is_empty() {
        return Some(Equivalence::not("the plan removes nothing"));
    }
    recorded.is_random().then(|| Equivalence::not("the forward draws random numbers"))
}

/// Copies of a model with the same random biases, scales and statistics.
pub(crate) struct Copies<M> {
    pub(crate) dense: M,
    pub(crate) masked: M,
    /// The smaller one, whose fields are not set.
    pub(crate) cut: M,
}

pub(crate) fn copies<M: Module>(plan: &ShrinkPlan, model: &M) -> Result<Copies<M>, ShrinkError> {
    let rng = StdRng::seed_from_u64(1);
    // If the plan's masks are attached already, they are taken off: masks must change the outputs of the dense model.
    let mut unmasked = model.valid();
    if layers(&unmasked)?.iter().any(|layer| layer.keep.is_some()) {
        undo(&mut unmasked)?;
    }
    let dense = walk::map(unmasked.materialize(), &mut Randomize { rng });
    let mut masked = dense.clone();
    mask(plan, &mut masked)?;
    let cut = cut(plan, &dense)?;
    Ok(Copies { dense, masked, cut })
}

/// Compares the outputs of the dense, the masked and the smaller model on inputs of several kinds, until those of one kind prove something.
///
/// `run` returns `None` for inputs on which the dense model cannot run.
pub(crate) fn judge<I>(
    kinds: impl IntoIterator<Item = I>,
    tolerance: Option<f64>,
    run: impl Fn(I) -> Result<Option<[Vec<TensorData>; 3]>, ShrinkError>,
) -> Result<Equivalence, ShrinkError> {
    let mut last = Equivalence::not("the outputs are not finite");
    for inputs in kinds {
        let Some([dense, masked, smaller]) = run(inputs)? else {
            last = Equivalence::not("the dense model does not run on random inputs");
            continue;
        };
        if !finite(&masked) || !finite(&dense) {
            continue;
        }
        let found = difference(&masked, &smaller)?;
        let tolerance = tolerance.unwrap_or(found.rounding());
        found.within(tolerance)?;
        if difference(&dense, &masked)?.max_rel > found.max_rel {
            return Ok(Equivalence::Checked(found));
        }
        last = Equivalence::not("the masks change nothing of the outputs, so agreement would prove nothing");
    }
    Ok(last)
}

/// Redraws the parameters with one axis: biases, scales and statistics.
struct Randomize {
    rng: StdRng,
}

impl Map for Randomize {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 1 {
            return param;
        }
        let variance = at.at_buffer() && at.field().ends_with("var");
        param.map(|tensor| {
            let (old, dtype, device) = (tensor.to_data(), tensor.dtype(), tensor.device());
            let positive = old.iter::<f64>().all(|x| x > 0.0);
            let uniform = |low, high, rng: &mut StdRng| {
                TensorData::random::<f32, _, _>(tensor.shape(), Distribution::Uniform(low, high), rng)
            };
            let (factors, shifts) = (uniform(0.5, 1.5, &mut self.rng), uniform(-0.5, 0.5, &mut self.rng));
            let drawn = old.iter::<f64>().zip(factors.iter::<f64>().zip(shifts.iter::<f64>()));
            // Scales and variances stay positive; a bias may have any sign.
            let drawn = drawn.map(|(x, (factor, shift))| match (variance, positive) {
                (true, _) => x.abs() * factor + shift.abs() + 0.1,
                (false, true) => x * factor,
                (false, false) => x * factor + shift,
            });
            let data = TensorData::new(drawn.collect::<Vec<f64>>(), tensor.shape()).convert_dtype(dtype);
            Tensor::from_data(data, (&device, dtype))
        })
    }
}

/// Replaces the values of a model.
struct Place {
    values: ByPath,
}

impl Map for Place {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values.get(&at.path()).and_then(|(_, value)| value.downcast_ref::<Tensor<D>>()) {
            Some(value) => param.map(|_| value.clone()),
            None => param,
        }
    }
}
