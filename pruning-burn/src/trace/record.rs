//! The recording of a forward pass: [`Trace::record`].

use crate::layer_types;
use crate::walk::{self, Map, Position};
use burn::module::{Module, Param, ParamId};
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, DType, Device, Distribution, Float, Int, Tensor, TensorData};
use burn_capture::{CaptureBackend, CaptureError};
use burn_ir::{FloatOperationIr, NumericOperationIr, OperationIr, TensorId, TensorIr};
use pruning_core::caught;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashMap};

/// An error that keeps a forward pass from being recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The forward panicked. Tensors have no values while it is recorded, so code that reads one panics.
    #[error(
        "the forward panicked while it was recorded: {message}; tensors have no values there, so move code \
         that reads them (`into_data`, `into_scalar`, decisions on tensors) out of the traced function"
    )]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The traced function declared no output.
    #[error("the traced function declared no output; call `scope.output` with each output")]
    NoOutput,
    /// An output lives on another device.
    #[error("output {index} does not come from the traced function: it lives on another device")]
    Foreign {
        /// The index of the output.
        index: usize,
    },
    /// Burn cannot record the forward.
    #[error("the forward cannot be recorded: {reason}")]
    Capture {
        /// The reason that Burn gives.
        reason: String,
    },
}

impl From<CaptureError> for TraceError {
    fn from(error: CaptureError) -> Self {
        Self::Capture { reason: error.to_string() }
    }
}

/// A parameter that the trace knows.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    pub(crate) paths: Vec<String>,
    /// The structs around the parameter, outermost first, each with its path.
    pub(crate) owners: Vec<(String, String)>,
    pub(crate) shape: Vec<usize>,
    pub(crate) float: bool,
}

impl Traced {
    /// Returns the first path.
    pub(crate) fn path(&self) -> &str {
        &self.paths[0]
    }

    /// Returns whether the parameter is a running statistic.
    pub(crate) fn is_buffer(&self) -> bool {
        self.path().rsplit('.').next().is_some_and(|field| layer_types::of(self.kind()).is_buffer(field))
    }

    /// Returns the rest of its path, as seen from a module around it.
    pub(crate) fn within(&self, module: &str) -> &str {
        self.path().strip_prefix(module).unwrap_or_default().trim_start_matches('.')
    }

    /// Returns the type of the layer that owns it.
    pub(crate) fn kind(&self) -> &str {
        self.owners.last().map_or("Param", |(kind, _)| kind)
    }
}

/// The operations of a recorded forward pass with concrete shapes, without the weights.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(crate) operations: Vec<OperationIr>,
    pub(crate) params: Vec<Traced>,
    /// The parameter that each tensor holds.
    pub(crate) param_of: HashMap<TensorId, usize>,
    /// The outputs that are unchanged parameters.
    pub(crate) given: Vec<TensorIr>,
    /// The values that are neither parameters nor inputs.
    pub(crate) constants: BTreeMap<TensorId, TensorData>,
    pub(crate) inputs: Vec<TensorIr>,
    pub(crate) outputs: Vec<TensorId>,
}

/// A scope that declares the inputs and outputs of a forward pass while it is recorded.
#[derive(Debug)]
pub struct Scope {
    device: Device,
    inputs: Vec<TensorId>,
    outputs: Vec<Option<TensorId>>,
    /// The handles of the outputs, which must not be overwritten before the end.
    kept: Vec<Box<dyn Kept>>,
    /// The values of the outputs, if the forward is run instead of recorded.
    numbers: Option<Vec<TensorData>>,
    /// Draws values for the inputs, if they are not those of the examples.
    random: Option<StdRng>,
    /// Which positions of the batch count.
    positions: Option<Positions>,
}

/// The positions of a batch `[batch, sequence]`, and whether each of them counts in a calibration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) shape: [usize; 2],
    pub(crate) count: Vec<bool>,
}

/// What a forward declared of its batch while it was recorded.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// The values of the inputs, in the order of [`Trace::inputs`].
    pub(crate) inputs: Vec<TensorData>,
    pub(crate) positions: Option<Positions>,
}

/// The input values that a forward is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// The values of the example.
    Example,
    /// Random floats. Integers and booleans are those of the example, since they may be indices and lengths.
    Random,
}

trait Kept: std::fmt::Debug {}
impl<const D: usize, K: Identified> Kept for Tensor<D, K> {}

/// Returns the id of a tensor on the capture device.
fn id<const D: usize, K: Identified>(tensor: &Tensor<D, K>) -> Option<TensorId> {
    K::id(tensor)
}

/// A kind of tensor that can be an input or output: float, int or bool.
pub trait Identified: Basic + 'static {
    #[doc(hidden)]
    fn id<const D: usize>(tensor: &Tensor<D, Self>) -> Option<TensorId>
    where
        Self: Sized;
    #[doc(hidden)]
    fn fits(dtype: DType) -> bool;
}

macro_rules! identified {
    ($($kind:ty: $fits:expr),+) => {$(
        impl Identified for $kind {
            fn fits(dtype: DType) -> bool {
                $fits(dtype)
            }

            fn id<const D: usize>(tensor: &Tensor<D, Self>) -> Option<TensorId> {
                Some(tensor.clone().try_into_primitive::<CaptureBackend>().ok()?.id())
            }
        }
    )+};
}
identified!(Float: |d: DType| d.is_float(), Int: |d: DType| d.is_int() || d.is_uint(), Bool: |d: DType| d.is_bool());

impl Scope {
    /// Declares an input with the shape and type of `example`, whose values do not matter.
    pub fn input<const D: usize, K: Identified>(&mut self, example: &Tensor<D, K>) -> Tensor<D, K> {
        let dtype = example.dtype();
        if let Some(rng) = self.random.as_mut().filter(|_| dtype.is_float()) {
            let numbers = TensorData::random::<f32, _, _>(example.shape(), Distribution::Normal(0.0, 1.0), rng);
            return Tensor::from_data(numbers.convert_dtype(dtype), (&self.device, dtype));
        }
        let input = Tensor::from_data(example.clone().into_data(), (&self.device, dtype));
        self.inputs.extend(id(&input));
        input
    }

    /// Declares an output of the pass.
    pub fn output<const D: usize, K: Identified>(&mut self, tensor: Tensor<D, K>) {
        if let Some(numbers) = &mut self.numbers {
            return numbers.push(tensor.into_data());
        }
        self.outputs.push(id(&tensor));
        self.kept.push(Box::new(tensor));
    }

    /// Declares which positions of the batch count in a calibration, `[batch, sequence]`; all do by default.
    ///
    /// An element that is true, or not zero, counts; one that is false or zero is padding, whose rows are left out of the sums of every
    /// layer that sees batch and sequence. A [`Calibration`](crate::calibrate::Calibration) asks for it, and nothing else does.
    ///
    /// `real` is a tensor with values, and not one that the traced function computes.
    pub fn count_positions<K: Identified>(&mut self, real: &Tensor<2, K>) {
        let count = real.clone().into_data().iter::<f64>().map(|value| value != 0.0).collect();
        self.positions = Some(Positions { shape: real.dims(), count });
    }

    fn on(device: Device) -> Self {
        Self {
            device,
            inputs: Vec::new(),
            outputs: Vec::new(),
            kept: Vec::new(),
            numbers: None,
            random: None,
            positions: None,
        }
    }

    /// Runs a forward pass in validation mode. Returns the values of its outputs, or the message of its panic.
    pub(crate) fn run<M: Module>(
        model: &M,
        inputs: Inputs,
        forward: &impl Fn(&M, &mut Self),
    ) -> Result<Vec<TensorData>, String> {
        let device = model.devices().into_iter().next().unwrap_or_default().without_autodiff();
        let mut scope = Self::on(device);
        scope.numbers = Some(Vec::new());
        // Every run draws the same values, and the generator of the user's training is left alone.
        scope.random = (inputs == Inputs::Random).then(|| StdRng::seed_from_u64(0));
        caught(|| forward(&model.valid(), &mut scope))?;
        Ok(scope.numbers.unwrap_or_default())
    }

    /// Returns the device of the recording, for tensors that the traced function creates itself.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Trace {
    /// Records the operations of `forward` on a copy of the model in validation mode. The model does not change.
    ///
    /// # Errors
    /// The forward reads values, declares no output, or uses an operation that Burn cannot record.
    pub fn record<M: Module>(model: &M, forward: impl FnOnce(&M, &mut Scope)) -> Result<Self, TraceError> {
        Self::record_declared(model, forward).map(|(trace, _)| trace)
    }

    /// Records like [`record`](Self::record), and returns also what the forward declared of its batch.
    pub(crate) fn record_declared<M: Module>(
        model: &M,
        forward: impl FnOnce(&M, &mut Scope),
    ) -> Result<(Self, Declared), TraceError> {
        // `valid` also copies running statistics, which a move would otherwise take from the model.
        let model = model.valid().materialize();
        let device = Device::capture();
        let mut shapes = None;
        let captured = caught(|| {
            device.capture_scope(|capture| {
                let mut place = Place { device: device.clone(), params: Params::default() };
                let model = walk::map(model, &mut place).to_device(&device);
                let mut scope = Scope::on(device.clone());
                forward(&model, &mut scope);
                let mut unique: Vec<_> = scope.outputs.iter().flatten().copied().collect();
                unique.sort();
                unique.dedup();
                let done = capture.complete(scope.inputs.iter().copied(), unique);
                let taken = (std::mem::take(&mut scope.inputs), std::mem::take(&mut scope.outputs));
                shapes = Some((place.params, taken, scope.positions.take()));
                done
            })
        });
        let captured = captured.map_err(|message| TraceError::Panicked { message })??;
        let (params, (inputs, outputs), positions) = shapes.unwrap_or_default();
        if outputs.is_empty() {
            return Err(TraceError::NoOutput);
        }
        if let Some(index) = outputs.iter().position(Option::is_none) {
            return Err(TraceError::Foreign { index });
        }
        let Params { params, of: param_of, .. } = params;
        let outputs: Vec<TensorId> = outputs.into_iter().flatten().collect();
        let made = captured.graph.operations.iter().flat_map(OperationIr::outputs);
        let given = made.filter(|t| param_of.contains_key(&t.id) && outputs.contains(&t.id)).cloned().collect();
        let placed = |op: &OperationIr| op.outputs().any(|t| param_of.contains_key(&t.id));
        let operations: Vec<_> = (captured.graph.operations.into_iter())
            .filter(|op| !matches!(op, OperationIr::Init(_) | OperationIr::Drop(_)) && !placed(op))
            .collect();
        let used: HashMap<TensorId, &TensorIr> =
            operations.iter().flat_map(OperationIr::inputs).map(|t| (t.id, t)).collect();
        let mut constants = captured.values;
        let (mut declared, mut batch) = (Vec::new(), Declared { inputs: Vec::new(), positions });
        for id in inputs {
            if let Some(data) = constants.remove(&id) {
                let shape = data.shape().clone();
                declared.push(TensorIr::uninit(id, shape, data.dtype()));
                batch.inputs.push(data);
            }
        }
        constants.retain(|id, _| used.contains_key(id) || outputs.contains(id));
        Ok((Self { operations, params, param_of, given, constants, inputs: declared, outputs }, batch))
    }

    /// Iterates over the parameters, each with all its paths.
    pub fn parameters(&self) -> impl Iterator<Item = &[String]> {
        self.params.iter().map(|p| p.paths.as_slice())
    }

    /// Returns whether the pass draws random numbers.
    pub(crate) fn is_random(&self) -> bool {
        let draws = |op: &OperationIr| {
            matches!(
                op,
                OperationIr::Float(_, FloatOperationIr::Random(_))
                    | OperationIr::NumericInt(_, NumericOperationIr::IntRandom(_))
            )
        };
        self.operations.iter().any(draws)
    }

    /// Returns the number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Returns whether the pass has no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

#[derive(Default)]
struct Params {
    params: Vec<Traced>,
    of: HashMap<TensorId, usize>,
    known: HashMap<ParamId, usize>,
}

/// Replaces each parameter by one of the same shape without values, so that recording copies no weight.
struct Place {
    device: Device,
    params: Params,
}

impl Place {
    fn note(&mut self, at: &Position, param: ParamId, tensor: Option<TensorId>, shape: &[usize], float: bool) {
        let path = at.path();
        let index = match self.params.known.get(&param) {
            Some(&index) => {
                self.params.params[index].paths.push(path);
                index
            }
            None => {
                let index = self.params.params.len();
                self.params.known.insert(param, index);
                let owners = at.owners();
                self.params.params.push(Traced { paths: vec![path], owners, shape: shape.to_vec(), float });
                index
            }
        };
        self.params.of.extend(tensor.map(|t| (t, index)));
    }
}

macro_rules! place {
    ($name:ident, $kind:ty, $float:expr) => {
        fn $name<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D, $kind>>) -> Param<Tensor<D, $kind>> {
            let old = param.val();
            let tensor = Tensor::<D, $kind>::empty(old.shape(), (&self.device, old.dtype()));
            self.note(at, param.id, id(&tensor), &old.dims(), $float);
            Param::initialized(param.id, tensor)
        }
    };
}

impl Map for Place {
    place!(map_float, Float, true);
    place!(map_int, Int, false);
    place!(map_bool, Bool, false);
}
