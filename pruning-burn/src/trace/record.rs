//! Recording a forward pass: [`Trace::record`].

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

/// A forward pass that could not be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The forward stopped. While it is recorded nothing has a value yet, so code that reads one cannot go on.
    #[error(
        "the forward panicked while it was recorded: {message}; values cannot be read there (`into_data`, \
         `into_scalar`, decisions on tensors): move such code out of the traced function"
    )]
    Panicked {
        /// What it said.
        message: String,
    },
    /// Nothing was declared as output.
    #[error("the traced function declared no output; call `scope.output` with each")]
    NoOutput,
    /// A tensor of another device was declared as output.
    #[error("output {index} does not come from the traced function: it lives on another device")]
    Foreign {
        /// Its place among the outputs.
        index: usize,
    },
    /// Burn could not record it.
    #[error("the forward cannot be recorded: {reason}")]
    Capture {
        /// What it says.
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
    /// Structs around the parameter, outermost first, each with the path of its value.
    pub(crate) owners: Vec<(String, String)>,
    pub(crate) shape: Vec<usize>,
    pub(crate) float: bool,
}

impl Traced {
    /// The first path.
    pub(crate) fn path(&self) -> &str {
        &self.paths[0]
    }

    /// Whether it is a running statistic.
    pub(crate) fn is_buffer(&self) -> bool {
        self.path().rsplit('.').next().is_some_and(|field| layer_types::of(self.kind()).is_buffer(field))
    }

    /// The rest of its path, from a module around it.
    pub(crate) fn within(&self, module: &str) -> &str {
        self.path().strip_prefix(module).unwrap_or_default().trim_start_matches('.')
    }

    /// The type of the layer that owns it.
    pub(crate) fn kind(&self) -> &str {
        self.owners.last().map_or("Param", |(kind, _)| kind)
    }
}

/// The operations of a forward pass, with concrete shapes. Weights are not part of it.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(crate) operations: Vec<OperationIr>,
    pub(crate) params: Vec<Traced>,
    /// Which parameter a tensor is.
    pub(crate) param_of: HashMap<TensorId, usize>,
    /// Outputs that are parameters as they are.
    pub(crate) given: Vec<TensorIr>,
    /// Values that are neither parameters nor inputs.
    pub(crate) constants: BTreeMap<TensorId, TensorData>,
    pub(crate) inputs: Vec<TensorIr>,
    pub(crate) outputs: Vec<TensorId>,
}

/// Declares inputs and outputs while a forward pass is recorded.
#[derive(Debug)]
pub struct Scope {
    device: Device,
    inputs: Vec<TensorId>,
    outputs: Vec<Option<TensorId>>,
    /// Handles of the outputs, which must not be overwritten before the end.
    kept: Vec<Box<dyn Kept>>,
    /// Numbers of the outputs, where the forward is run instead of recorded.
    numbers: Option<Vec<TensorData>>,
    /// Draws numbers for the inputs, where they are not those of the examples.
    random: Option<StdRng>,
}

/// Which numbers a forward is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// Those of the example.
    Example,
    /// Random floats; integers and booleans of the example, which may be indices and lengths.
    Random,
}

trait Kept: std::fmt::Debug {}
impl<const D: usize, K: Identified> Kept for Tensor<D, K> {}

/// A tensor's id on the capture device.
fn id<const D: usize, K: Identified>(tensor: &Tensor<D, K>) -> Option<TensorId> {
    K::id(tensor)
}

/// Kinds of tensors that can be inputs and outputs: float, int and bool.
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
    /// Declares an input of the shape and type of `example`; its numbers do not matter.
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

    /// Declares an output.
    pub fn output<const D: usize, K: Identified>(&mut self, tensor: Tensor<D, K>) {
        if let Some(numbers) = &mut self.numbers {
            return numbers.push(tensor.into_data());
        }
        self.outputs.push(id(&tensor));
        self.kept.push(Box::new(tensor));
    }

    fn on(device: Device) -> Self {
        Self { device, inputs: Vec::new(), outputs: Vec::new(), kept: Vec::new(), numbers: None, random: None }
    }

    /// Runs a forward pass in validation mode: the numbers of its outputs, or what it said when it panicked.
    pub(crate) fn run<M: Module>(
        model: &M,
        inputs: Inputs,
        forward: &impl Fn(&M, &mut Self),
    ) -> Result<Vec<TensorData>, String> {
        let device = model.devices().into_iter().next().unwrap_or_default().without_autodiff();
        let mut scope = Self::on(device);
        scope.numbers = Some(Vec::new());
        // The same numbers in every run, and none of the generator that the user's training draws from.
        scope.random = (inputs == Inputs::Random).then(|| StdRng::seed_from_u64(0));
        caught(|| forward(&model.valid(), &mut scope))?;
        Ok(scope.numbers.unwrap_or_default())
    }

    /// The device on which everything is recorded, for tensors that the traced function makes itself.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Trace {
    /// Records what `forward` does, on a copy of the model in validation mode. The model stays as it is.
    ///
    /// # Errors
    /// The forward reads values, or does something that Burn cannot record.
    pub fn record<M: Module>(model: &M, forward: impl FnOnce(&M, &mut Scope)) -> Result<Self, TraceError> {
        // `valid` also gives running statistics a place of their own, which moving would otherwise take from the model.
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
                shapes = Some((place.params, std::mem::take(&mut scope.inputs), std::mem::take(&mut scope.outputs)));
                done
            })
        });
        let captured = captured.map_err(|message| TraceError::Panicked { message })??;
        let (params, inputs, outputs) = shapes.unwrap_or_default();
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
        let mut declared = Vec::new();
        for id in inputs {
            if let Some(data) = constants.remove(&id) {
                let shape = data.shape().clone();
                declared.push(TensorIr::uninit(id, shape, data.dtype()));
            }
        }
        constants.retain(|id, _| used.contains_key(id) || outputs.contains(id));
        Ok(Self { operations, params, param_of, given, constants, inputs: declared, outputs })
    }

    /// Paths of the parameters, each with all its names.
    pub fn parameters(&self) -> impl Iterator<Item = &[String]> {
        self.params.iter().map(|p| p.paths.as_slice())
    }

    /// Whether it draws random numbers.
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

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing is computed.
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

/// Puts a parameter of the same shape and without values in the place of each, so that recording copies no weight.
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
