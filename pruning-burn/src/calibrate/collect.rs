//! The collection of a calibration, batch by batch: [`Calibration::collect`].

use crate::calibrate::calibration::{COLLECTED, Inner, Reader};
use crate::calibrate::positions::Axes;
use crate::calibrate::products::{Input, Operand, Output, Sights, find};
use crate::calibrate::stages::of_trace;
use crate::calibrate::sums::{GRAM, Sums, mirror, rows_of};
use crate::calibrate::watch::watch;
use crate::calibrate::{Calibration, CalibrationError};
use crate::fingerprint::Fingerprint;
use crate::layers::{Layer, layers, names};
use crate::score::statistics::Reads;
use crate::score::{Need, Needs};
use crate::trace::{Declared, Positions, ReplayError, Scope, Tap, Trace};
use burn::backend::DispatchTensor;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use pruning_core::caught;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of batches that are done.
    pub done: usize,
    /// The number of all batches, if they say so.
    pub total: Option<usize>,
}

impl Calibration {
    /// Runs a model on batches, and adds up those of `needs` that a layer's inputs and outputs tell.
    ///
    /// `forward` declares the tensors of a batch by [`Scope::input`], runs the model and declares its outputs, as for
    /// [`Trace::record`]. Each batch is recorded anew, so batches may differ in size. Nothing is kept of a batch but its sums; an input that
    /// several layers share is summed once. Masks on the model apply. Of a batch with padding `forward` says by
    /// [`Scope::count_positions`] which positions count.
    ///
    /// Sums are in double precision on the host; Gram matrices are multiplied on the device of the model.
    ///
    /// ```
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use burn::{nn::{Embedding, EmbeddingConfig, Linear, LinearConfig}, module::Module, tensor::{Bool, Device, Int, Tensor}};
    /// use pruning_burn::calibrate::Calibration;
    /// use pruning_burn::score::Need;
    ///
    /// #[derive(Module, Debug)]
    /// struct Tagger { words: Embedding, tags: Linear }
    ///
    /// let device = Device::flex();
    /// let model = Tagger { words: EmbeddingConfig::new(10, 4).init(&device), tags: LinearConfig::new(4, 2).init(&device) };
    /// // A batch of two sentences, the second of which is shorter: its tokens, and which of them are real.
    /// let tokens = Tensor::<2, Int>::from_data([[1, 2, 3], [4, 5, 0]], &device);
    /// let real = Tensor::<2, Bool>::from_data([[true, true, true], [true, true, false]], &device);
    /// let batches = [(tokens, real)];
    /// let calibration = Calibration::collect(&model, Need::INPUT_GRAM, &batches, |model, (tokens, real), scope| {
    ///     let x = scope.input(tokens);
    ///     scope.count_positions(real);
    ///     scope.output(model.tags.forward(model.words.forward(x)));
    /// })?;
    /// assert_eq!(calibration.rows("tags.weight"), Some(5.0));
    /// # Ok::<(), pruning_burn::calibrate::CalibrationError>(())
    /// ```
    ///
    /// # Errors
    /// There is no batch or no input, `needs` names nothing that a calibration collects, a forward cannot be recorded or run, what a layer sees is
    /// not finite, or the positions that count do not fit it.
    pub fn collect<M: Module, I: IntoIterator>(
        model: &M,
        needs: impl Into<Needs>,
        batches: I,
        forward: impl Fn(&M, I::Item, &mut Scope),
    ) -> Result<Self, CalibrationError> {
        Self::collect_with(model, needs, batches, forward, |_| ())
    }

    /// Collects like [`collect`](Self::collect), and calls `progress` after each batch.
    ///
    /// # Errors
    /// Those of [`collect`](Self::collect).
    pub fn collect_with<M: Module, I: IntoIterator>(
        model: &M,
        needs: impl Into<Needs>,
        batches: I,
        forward: impl Fn(&M, I::Item, &mut Scope),
        progress: impl FnMut(Progress),
    ) -> Result<Self, CalibrationError> {
        Collector::new(model, needs.into(), &|_| true)?.run(model, batches, forward, progress)
    }

    /// Collects for some parameters alone.
    pub(crate) fn collect_of<M: Module, I: IntoIterator>(
        model: &M,
        needs: &Needs,
        batches: I,
        forward: impl Fn(&M, I::Item, &mut Scope),
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Self, CalibrationError> {
        Collector::new(model, needs.clone(), wanted)?.run(model, batches, forward, |_| ())
    }
}

/// The positions of a batch that count, and where they lie in its tensors.
struct Padding {
    axes: Axes,
    positions: Positions,
}

struct Collector<'a> {
    all: Vec<Layer>,
    wanted: &'a dyn Fn(&str) -> bool,
    inner: Inner,
}

/// An input or an output, whose tensor the replay shows.
enum Sight {
    Input(Input),
    Output(Output),
}

impl<'a> Collector<'a> {
    fn new<M: Module>(model: &M, needs: Needs, wanted: &'a dyn Fn(&str) -> bool) -> Result<Self, CalibrationError> {
        let can = COLLECTED.iter().fold(Needs::none(), |can, (need, _)| can | *need);
        let needs = needs.without(needs.without(&can));
        if needs.is_empty() {
            return Err(CalibrationError::Uncollectable { can });
        }
        let all = layers(model)?;
        let first = all.iter().flat_map(|l| names(l).map(|name| (name.clone(), l.path.clone()))).collect();
        let inner = Inner { needs, model: Fingerprint::of(model), first, ..Inner::default() };
        Ok(Self { all, wanted, inner })
    }

    fn run<M: Module, I: IntoIterator>(
        mut self,
        model: &M,
        batches: I,
        forward: impl Fn(&M, I::Item, &mut Scope),
        mut progress: impl FnMut(Progress),
    ) -> Result<Calibration, CalibrationError> {
        // As it is at inference, and without gradients: masks folded in once, and not for each batch.
        let model = &model.valid().materialize();
        let batches = batches.into_iter();
        let (least, most) = batches.size_hint();
        let total = most.filter(|most| *most == least);
        for (number, batch) in batches.enumerate() {
            self.batch(model, number, |model, scope| forward(model, batch, scope))?;
            self.inner.batches += 1;
            let now = Progress { done: number + 1, total };
            caught(|| progress(now)).map_err(|message| CalibrationError::Panicked { batch: number, message })?;
        }
        if self.inner.batches == 0 {
            return Err(CalibrationError::NoBatch);
        }
        if self.inner.entries.is_empty() && self.inner.skipped.is_empty() {
            return Err(CalibrationError::NoProduct);
        }
        for (readers, sums) in &mut self.inner.entries {
            let groups = readers.iter().find_map(|reader| match reader.reads {
                Some(Reads::Groups(groups)) => Some(groups),
                _ => None,
            });
            if let Some(gram) = sums.arrays.get_mut(GRAM) {
                let cols = (gram.len() / groups.unwrap_or(1)).isqrt();
                mirror(gram, cols);
            }
        }
        Ok(Calibration { inner: Arc::new(self.inner) })
    }

    fn batch<M: Module>(
        &mut self,
        model: &M,
        batch: usize,
        forward: impl FnOnce(&M, &mut Scope),
    ) -> Result<(), CalibrationError> {
        let recorded = Trace::record_declared(model, forward);
        let (trace, declared) = recorded.map_err(|source| CalibrationError::Trace { batch, source })?;
        if declared.inputs.is_empty() {
            return Err(CalibrationError::NoInput { batch });
        }
        let Declared { inputs, positions } = declared;
        let sights = self.sights(&trace);
        let taps: Vec<Tap> = sights
            .iter()
            .map(|sight| match sight {
                Sight::Input(input) => input.tap.clone(),
                Sight::Output(output) => output.tap.clone(),
            })
            .collect();
        let padding = positions.map(|positions| Padding { axes: Axes::follow(&trace, &positions), positions });
        if let Some(padding) = &padding {
            self.steps(batch, &sights, padding)?;
        }
        let mut see = |number: usize, tensor: DispatchTensor| match &sights[number] {
            Sight::Input(input) => self.see_input(batch, input, tensor, padding.as_ref()),
            Sight::Output(output) => self.see_output(batch, output, tensor, padding.as_ref()),
        };
        // Burn panics at types and indices that do not fit.
        let seen = caught(|| watch(&trace, model, inputs, &taps, &mut see));
        seen.map_err(|message| CalibrationError::Panicked { batch, message })?.map_err(|stop| match stop {
            Stop::Replay(source) => CalibrationError::Replay { batch, source },
            Stop::Calibration(error) => error,
        })
    }

    /// Refuses a layer that goes along the sequence step by step: which of its steps are padding cannot be told.
    fn steps(&self, batch: usize, sights: &[Sight], padding: &Padding) -> Result<(), CalibrationError> {
        let mut stepping = BTreeSet::new();
        for input in sights.iter().filter_map(|sight| if let Sight::Input(input) = sight { Some(input) } else { None })
        {
            let rows = rows_of(&input.operand, &input.shape);
            if rows.iter().product::<usize>() <= padding.positions.shape[0] {
                if let Some(&layer) = input.readers.keys().find(|layer| stepping.contains(*layer)) {
                    let (path, expected) = (self.all[layer].path.clone(), padding.positions.shape);
                    return Err(CalibrationError::Positions { path, batch, expected, found: rows });
                }
                stepping.extend(input.readers.keys().copied());
            }
        }
        Ok(())
    }

    /// What is to be seen of a batch, as far as it is wanted.
    fn sights(&mut self, trace: &Trace) -> Vec<Sight> {
        let Sights { inputs, outputs, skipped } = find(trace, &of_trace(trace, &self.all));
        let needs = &self.inner.needs;
        let wants = |layer: usize| (self.wanted)(&self.all[layer].path);
        let of_inputs = [Need::INPUT_NORM, Need::INPUT_MEAN, Need::INPUT_GRAM, Need::INPUT_ACTIVATION];
        let of_outputs = [Need::OUTPUT_ZEROS, Need::OUTPUT_RANK];
        let mut sights = Vec::new();
        if of_inputs.iter().any(|need| needs.contains(*need)) {
            for mut input in inputs {
                input.readers.retain(|layer, _| wants(*layer) && !skipped.contains_key(layer));
                if !input.readers.is_empty() {
                    sights.push(Sight::Input(input));
                }
            }
        }
        if of_outputs.iter().any(|need| needs.contains(*need)) {
            sights.extend(outputs.into_iter().filter(|output| wants(output.layer)).map(Sight::Output));
        }
        let skipped = skipped.into_iter().filter(|(layer, _)| (self.wanted)(&self.all[*layer].path));
        let skipped: Vec<_> = skipped.map(|(layer, why)| (self.all[layer].path.clone(), why.to_string())).collect();
        self.inner.skipped.extend(skipped);
        sights
    }

    fn see_input(
        &mut self,
        batch: usize,
        input: &Input,
        tensor: DispatchTensor,
        padding: Option<&Padding>,
    ) -> Result<(), Stop> {
        let readers: Vec<Reader> = input
            .readers
            .iter()
            .map(|(&layer, &reads)| Reader { path: self.all[layer].path.clone(), reads: Some(reads) })
            .collect();
        let path = readers[0].path.clone();
        let shape = input.tap.tensor.shape.as_slice();
        let rows = rows_of(&input.operand, &input.shape);
        let last = input.shape.len() - 1;
        let axis_of = |axis: usize| match &input.operand {
            Operand::Rows { transposed: false } => Some(axis).filter(|&axis| axis < last),
            // The axis before the last is summed over.
            Operand::Rows { transposed: true } => [(axis < last - 1, axis), (axis == last, last - 1)]
                .into_iter()
                .find(|(is, _)| *is)
                .map(|(_, axis)| axis),
            Operand::Windows(_) | Operand::Channels { .. } => {
                [(axis == 0, 0), (axis > 1, axis.wrapping_sub(1))].into_iter().find(|(is, _)| *is).map(|(_, axis)| axis)
            }
            Operand::Indices { .. } => Some(axis),
        };
        let counts =
            padding.map_or(Ok(None), |padding| padding.axes.counts(input.root, &rows, axis_of, &padding.positions));
        let counts = counts.map_err(|expected| CalibrationError::Positions {
            path: path.clone(),
            batch,
            expected,
            found: rows.clone(),
        })?;
        let counts = counts.as_deref();
        let Inner { needs, entries, skipped, .. } = &mut self.inner;
        let mut without_gram = |why: &str| {
            if needs.contains(Need::INPUT_GRAM) {
                skipped.extend(readers.iter().map(|reader| (reader.path.clone(), why.to_string())));
            }
        };
        // Added in place: a Gram matrix of a batch would take as much memory as the sum.
        let sums = entries.entry(readers.clone()).or_default();
        match &input.operand {
            Operand::Rows { transposed } => {
                let (lead, last) = shape
                    .split_last_chunk::<2>()
                    .map_or((1, [1, shape[0]]), |(lead, last)| (lead.iter().product(), *last));
                let x = match transposed {
                    false => Tensor::<2>::from_dispatch(tensor).reshape([lead * last[0], last[1]]),
                    true => {
                        let x = Tensor::<3>::from_dispatch(tensor).reshape([lead, last[0], last[1]]);
                        x.swap_dims(1, 2).reshape([lead * last[1], last[0]])
                    }
                };
                let examples = if rows.len() > 1 { rows[0] } else { x.dims()[0] };
                sums.add_rows(x, counts, examples, needs);
            }
            Operand::Windows(window) => {
                let x = Tensor::<2>::from_dispatch(tensor).reshape([shape[0], window.len()]);
                sums.add_windows(x, window, counts, needs);
            }
            Operand::Channels { kernel } => {
                let area = shape[2..].iter().product();
                let x = Tensor::<3>::from_dispatch(tensor).reshape([shape[0], shape[1], area]);
                sums.add_channels(x, *kernel, needs);
                without_gram("the inputs of a transposed convolution have norms and means alone");
            }
            Operand::Indices { classes } => {
                let indices = Tensor::<1, Int>::from_dispatch(tensor).into_data().iter::<i64>().collect::<Vec<_>>();
                sums.add_indices(&indices, *classes, counts, needs);
                without_gram("the inputs of a table are indices, of which there is no Gram matrix");
            }
        }
        finite(sums, &path, batch)
    }

    fn see_output(
        &mut self,
        batch: usize,
        output: &Output,
        tensor: DispatchTensor,
        padding: Option<&Padding>,
    ) -> Result<(), Stop> {
        let path = self.all[output.layer].path.clone();
        let shape = output.tap.tensor.shape.as_slice();
        let (outer, inner) = (&shape[..output.axis], &shape[output.axis + 1..]);
        let rows = [outer, inner].concat();
        let axis_of = |axis: usize| match axis.cmp(&output.axis) {
            Ordering::Less => Some(axis),
            Ordering::Equal => None,
            Ordering::Greater => Some(axis - 1),
        };
        let tensor_id = output.tap.tensor.id;
        let counts =
            padding.map_or(Ok(None), |padding| padding.axes.counts(tensor_id, &rows, axis_of, &padding.positions));
        let counts = counts.map_err(|expected| CalibrationError::Positions {
            path: path.clone(),
            batch,
            expected,
            found: rows.clone(),
        })?;
        let map = <[usize; 2]>::try_from(inner).ok();
        if map.is_none() && self.inner.needs.contains(Need::OUTPUT_RANK) {
            self.inner
                .skipped
                .insert(path.clone(), "its outputs are no feature maps, which alone have a rank".to_string());
        }
        if !output.active && self.inner.needs.contains(Need::OUTPUT_ZEROS) {
            let why = "no activation is seen right after it, whose zeros would count";
            self.inner.skipped.insert(path.clone(), why.to_string());
        }
        let dims = [outer.iter().product(), shape[output.axis], inner.iter().product()];
        let x = Tensor::<3>::from_dispatch(tensor).reshape::<3, _>(dims);
        let Inner { needs, entries, .. } = &mut self.inner;
        let sums = entries.entry(vec![Reader { path: path.clone(), reads: None }]).or_default();
        let needs = if output.active { needs.clone() } else { needs.without(Need::OUTPUT_ZEROS) };
        sums.add_outputs(x, counts.as_deref(), map, &needs);
        finite(sums, &path, batch)
    }
}

/// Checks that all sums are finite.
fn finite(sums: &Sums, path: &str, batch: usize) -> Result<(), Stop> {
    if sums.is_finite() { Ok(()) } else { Err(CalibrationError::NonFinite { path: path.to_string(), batch }.into()) }
}

/// Why the replay of a batch stopped.
#[derive(Debug)]
enum Stop {
    Replay(ReplayError),
    Calibration(CalibrationError),
}

impl From<ReplayError> for Stop {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

impl From<CalibrationError> for Stop {
    fn from(error: CalibrationError) -> Self {
        Self::Calibration(error)
    }
}
