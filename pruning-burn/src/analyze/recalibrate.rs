//! Recomputing the statistics of batch norms after a pruning: [`recalibrate_batch_norm`].
//!
//! # How it works
//!
//! No visitor can read the momentum of a batch norm in Burn. So the statistics of a copy are set to 0 before each batch, and once to 1024:
//! the result is `gain * start + part`, and `part / (1 - gain)` is the statistic of the batch. The result is written into fresh
//! `RunningState`s (by `valid` and `train`), since the old ones are shared with clones. Every other parameter keeps the very same tensor.

use crate::layers::{SharedId, layers};
use crate::snapshot::apart;
use crate::walk::{self, Map, Position, Visit};
use burn::module::{Flag, Module, Param};
use burn::tensor::Tensor;
use pruning_core::caught;
use std::any::Any;
use std::collections::BTreeMap;

/// An error of [`recalibrate_batch_norm`]. The model is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecalibrationError {
    /// No batch was given.
    #[error("no batch was given: statistics are averages over batches, and need at least one")]
    NoBatch,
    /// The model has no batch norm.
    #[error("the model has no batch norm, so nothing needs recalibration")]
    NoBatchNorm,
    /// The closure panicked.
    #[error("the closure panicked at batch {batch}: {message}")]
    Panicked {
        /// Number of the batch, from 0.
        batch: usize,
        /// The message of the panic.
        message: String,
    },
    /// Two different parameters share an id.
    #[error(transparent)]
    SharedId(#[from] SharedId),
    /// No batch changed a statistic.
    #[error(
        "{path}: no batch changed it: give batches on `device.autodiff()`, let the closure run the model that it is given, and \
         use a momentum above 0"
    )]
    Untouched {
        /// The statistic.
        path: String,
    },
    /// A batch made a statistic NaN or infinite.
    #[error("{path}: batch {batch} makes it NaN or infinite; repair the batch, or the weights of the layers before it")]
    NotFinite {
        /// The statistic.
        path: String,
        /// Number of the batch, from 0.
        batch: usize,
    },
}

/// Recomputes the running means and variances of every batch norm as averages over `batches`, without training anything.
///
/// Pruning shifts the outputs of a layer, and the statistics of the batch norm after it are still those of the dense model. This resets
/// them to the mean of the means and variances of the batches, each batch weighted equally, as with `momentum=None` in torch
/// (`torch.optim.swa_utils.update_bn`). The variance of a batch is Burn's, the mean of the squared deviations. The model runs as in
/// training, so each batch norm normalizes by the batch, but nothing drops out. A frozen batch norm is recalibrated too.
///
/// Parameters, ids, masks and flags stay as they are. Clones of the model keep their statistics, which Burn would otherwise share.
/// The first batch is run twice to measure the momentum, which Burn does not expose.
///
/// ```
/// # use burn::{nn::{BatchNorm, BatchNormConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::analyze::recalibrate_batch_norm;
/// let device = Device::flex().autodiff();
/// let mut norm = BatchNormConfig::new(1).init(&device);
/// let batches = [[[1.0], [3.0]], [[2.0], [8.0]]].map(|batch| Tensor::<2>::from_data(batch, &device));
/// recalibrate_batch_norm(&mut norm, &batches, |norm: &BatchNorm, batch| norm.forward(batch.clone()))?;
/// // Means 2 and 5, variances 1 and 9.
/// let value = |tensor: Tensor<1>| tensor.into_scalar::<f32>();
/// assert!((value(norm.running_mean.value()) - 3.5).abs() < 1e-4);
/// assert!((value(norm.running_var.value()) - 5.0).abs() < 1e-4);
/// # Ok::<(), pruning_burn::analyze::RecalibrationError>(())
/// ```
///
/// # Errors
/// There is no batch, the model has no batch norm, no batch reached a batch norm, a statistic is not finite, or the closure panics. The
/// model is unchanged.
pub fn recalibrate_batch_norm<M: Module, B, R>(
    model: &mut M,
    batches: &[B],
    forward: impl Fn(&M, &B) -> R,
) -> Result<(), RecalibrationError> {
    let Some(first) = batches.first() else { return Err(RecalibrationError::NoBatch) };
    if !layers(model)?.iter().any(|l| l.buffer) {
        return Err(RecalibrationError::NoBatchNorm);
    }
    // Batch norms as in training, everything else as at inference.
    let base = walk::map(model.valid().train().no_grad(), &mut Train);
    let run = |start: f64, number: usize, batch: &B| {
        let copy = walk::map(base.valid().train(), &mut Set { to: To::Number(start) });
        caught(|| drop(forward(&copy, batch)))
            .map_err(|message| RecalibrationError::Panicked { batch: number, message })?;
        // All that is pending on any thread is merged.
        Ok::<_, RecalibrationError>(statistics(&copy.valid()))
    };
    // What comes out is `gain * start + part`, and `part / (1 - gain)` is the statistic of the batch, by whatever momentum and
    // however often the layer was called. A power of two far above the statistics shows the gain to the last bit.
    const PROBE: f64 = 1024.0;
    let mut sum = run(0.0, 0, first)?;
    let mut scale = BTreeMap::new();
    for (path, probed) in run(PROBE, 0, first)? {
        let part = sum.get(&path).map_or(&[][..], Vec::as_slice);
        let gains: Vec<f64> = probed.iter().zip(part).map(|(probed, part)| (probed - part) / PROBE).collect();
        let gain = gains.iter().sum::<f64>() / gains.len().max(1) as f64;
        if probed.iter().chain(part).all(|v| v.is_finite()) && 1.0 - gain < 1e-6 {
            return Err(RecalibrationError::Untouched { path });
        }
        scale.insert(path, 1.0 / ((1.0 - gain) * batches.len() as f64));
    }
    finite(&sum, 0)?;
    for (number, batch) in batches.iter().enumerate().skip(1) {
        let more = run(0.0, number, batch)?;
        finite(&more, number)?;
        for (path, more) in more {
            if let Some(sum) = sum.get_mut(&path) {
                sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
        }
    }
    for (path, sum) in &mut sum {
        let scale = scale.get(path).copied().unwrap_or(1.0);
        sum.iter_mut().for_each(|v| *v *= scale);
    }
    // Statistics in a place of their own; every other parameter is the very tensor it was.
    let mut keep = Keep { tensors: BTreeMap::new() };
    walk::visit(model, &mut keep);
    let fresh = walk::map(apart(model), &mut Set { to: To::Values(&sum, &keep.tensors) });
    *model = fresh;
    Ok(())
}

fn finite(statistics: &Statistics, batch: usize) -> Result<(), RecalibrationError> {
    match statistics.iter().find(|(_, values)| !values.iter().all(|v| v.is_finite())) {
        Some((path, _)) => Err(RecalibrationError::NotFinite { path: path.clone(), batch }),
        None => Ok(()),
    }
}

type Statistics = BTreeMap<String, Vec<f64>>;

fn statistics<M: Module>(model: &M) -> Statistics {
    let mut read = Read { values: Statistics::new() };
    walk::visit(model, &mut read);
    read.values
}

/// Running statistics by path.
struct Read {
    values: Statistics,
}

impl Visit for Read {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.at_buffer() {
            self.values.insert(at.path(), param.base().into_data().iter::<f64>().collect());
        }
    }
}

/// Everything else, as tensors of any rank.
struct Keep {
    tensors: BTreeMap<String, Box<dyn Any>>,
}

impl Visit for Keep {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if !at.at_buffer() {
            self.tensors.insert(at.path(), Box::new(param.base()));
        }
    }
}

/// Lets batch norms see batches, and nothing drop out.
struct Train;

impl Map for Train {
    fn map_flag(&mut self, at: &Position, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(at.layer_type().has_buffers())
    }
}

/// Writes statistics, which must be in a place of their own.
struct Set<'a> {
    to: To<'a>,
}

enum To<'a> {
    Number(f64),
    /// Statistics, and what the other parameters were.
    Values(&'a Statistics, &'a BTreeMap<String, Box<dyn Any>>),
}

impl Map for Set<'_> {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = at.path();
        match (&self.to, at.at_buffer()) {
            (To::Number(start), true) => param.map(|old| old.full_like(*start)),
            (To::Number(_), false) => param,
            (To::Values(values, _), true) => match values.get(&path) {
                None => param,
                Some(values) => param.map(|old| {
                    let data = burn::tensor::TensorData::new(values.clone(), old.shape());
                    let plain = Tensor::<D>::from_data(data, (&old.device().without_autodiff(), old.dtype()));
                    if old.is_autodiff() { Tensor::from_inner(plain) } else { plain }
                }),
            },
            (To::Values(_, tensors), false) => {
                match tensors.get(&path).and_then(|tensor| tensor.downcast_ref::<Tensor<D>>()) {
                    None => param,
                    Some(tensor) => param.map(|_| tensor.clone()),
                }
            }
        }
    }
}
