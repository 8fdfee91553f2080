//! The replay of a recorded forward pass on real inputs: [`Trace::replay`].

use crate::trace::Trace;
use crate::trace::record::Identified;
use burn::backend::{BackendTensor, DispatchKindConversion, DispatchTensor, TensorMetadata};
use burn::module::Module;
use burn::tensor::kind::Basic;
#[cfg(feature = "sparse")]
use burn::tensor::{Bool, Int, TensorData};
use burn::tensor::{DType, Tensor};
use burn_ir::{BackendIr, HandleKind, IrVisitorMut, TensorId, TensorIr, TensorStatus};
use burn_router::TensorInterpreter;
use std::collections::{HashMap, HashSet};

/// An error that keeps a trace from being replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The number of inputs differs from that of the trace.
    #[error("{found} inputs for a trace of {expected}")]
    Inputs {
        /// The number of inputs of the trace.
        expected: usize,
        /// The number of inputs given.
        found: usize,
    },
    /// An input has another shape or type than in the trace.
    #[error("input {index} is {found}, but the trace was recorded with {expected}; record a new trace for other sizes")]
    Input {
        /// The index of the input.
        index: usize,
        /// The shape and type in the trace.
        expected: String,
        /// The shape and type given.
        found: String,
    },
    /// A parameter has another shape than in the trace, or is absent.
    #[error("{path}: the trace has a parameter of shape {expected:?} here, but the module has {found:?}")]
    Parameter {
        /// The path of the parameter.
        path: String,
        /// The shape in the trace.
        expected: Vec<usize>,
        /// The shape in the module; empty if the module has no such parameter.
        found: Vec<usize>,
    },
    /// A parameter has another type of values than in the trace.
    #[error(
        "{path}: the trace was recorded with {expected} here, but the module has {found}; record a new trace for other types"
    )]
    Type {
        /// The path of the parameter.
        path: String,
        /// The type in the trace.
        expected: String,
        /// The type in the module.
        found: String,
    },
    /// A tensor is on another backend than the one that runs the trace.
    #[error("{what}: {reason}")]
    Backend {
        /// The path of the parameter, or the input.
        what: String,
        /// The reason that Burn gives.
        reason: String,
    },
    /// There is no output with this index, kind and rank.
    #[error("there is no output {index} of this kind and rank")]
    Output {
        /// The index of the output.
        index: usize,
    },
}

/// A list of tensors of any ranks and kinds: the inputs or outputs of a replay.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use pruning_burn::trace::Values;
///
/// let device = Device::flex();
/// let picture = Tensor::<4>::zeros([1, 3, 8, 8], &device);
/// let label = Tensor::<1, Int>::from_data([7], &device);
/// let values = Values::new().with(picture).with(label);
/// assert_eq!(values.get::<4, burn::tensor::Float>(0)?.dims(), [1, 3, 8, 8]);
/// assert!(values.get::<2, Int>(1).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Values {
    tensors: Vec<(DispatchTensor, Vec<usize>, DType)>,
}

impl Values {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor.
    #[must_use]
    pub fn with<const D: usize, K: Basic>(mut self, tensor: Tensor<D, K>) -> Self {
        let (shape, dtype) = (tensor.dims().to_vec(), tensor.dtype());
        self.tensors.push((tensor.into_dispatch(), shape, dtype));
        self
    }

    /// Returns the tensor at `index`.
    ///
    /// # Errors
    /// There is no tensor at this index, or it has another rank or kind.
    pub fn get<const D: usize, K: Identified>(&self, index: usize) -> Result<Tensor<D, K>, ReplayError> {
        match self.tensors.get(index) {
            Some((tensor, shape, dtype)) if shape.len() == D && K::fits(*dtype) => {
                Ok(Tensor::from_dispatch(tensor.clone()))
            }
            _ => Err(ReplayError::Output { index }),
        }
    }

    /// Returns the values of a float tensor of any rank.
    pub(crate) fn numbers(&self, index: usize) -> Result<Vec<f32>, ReplayError> {
        let found = self.tensors.get(index).filter(|(_, _, dtype)| dtype.is_float());
        let (tensor, _, _) = found.ok_or(ReplayError::Output { index })?;
        // The reader ignores the rank.
        Ok(Tensor::<1>::from_dispatch(tensor.clone()).into_data().iter::<f32>().collect())
    }

    /// Returns the values of every tensor.
    #[cfg(feature = "sparse")]
    pub(crate) fn into_data(self) -> Vec<TensorData> {
        let data = |(tensor, _, dtype): (DispatchTensor, Vec<usize>, DType)| {
            // The readers ignore the rank.
            if dtype.is_float() {
                Tensor::<1>::from_dispatch(tensor).into_data()
            } else if dtype.is_bool() {
                Tensor::<1, Bool>::from_dispatch(tensor).into_data()
            } else {
                Tensor::<1, Int>::from_dispatch(tensor).into_data()
            }
        };
        self.tensors.into_iter().map(data).collect()
    }

    /// Returns whether number, shapes and kinds are those of the recorded inputs.
    #[cfg(feature = "sparse")]
    pub(crate) fn fit(&self, inputs: &[TensorIr]) -> bool {
        let same = |(ir, (_, shape, dtype)): (&TensorIr, &(DispatchTensor, Vec<usize>, DType))| {
            ir.shape.as_slice() == shape && same_kind(ir.dtype, *dtype)
        };
        self.len() == inputs.len() && inputs.iter().zip(&self.tensors).all(same)
    }

    /// Returns the shapes and types as text.
    #[cfg(feature = "sparse")]
    pub(crate) fn describe(&self) -> String {
        let each: Vec<_> = self.tensors.iter().map(|(_, shape, dtype)| format!("{shape:?} {dtype:?}")).collect();
        each.join(", ")
    }

    /// Returns the tensors in order.
    #[cfg(feature = "sparse")]
    pub(crate) fn into_dispatch(self) -> impl Iterator<Item = DispatchTensor> {
        self.tensors.into_iter().map(|(tensor, ..)| tensor)
    }

    /// Adds a tensor of known shape and type.
    #[cfg(feature = "sparse")]
    pub(crate) fn push(&mut self, tensor: DispatchTensor, shape: Vec<usize>, dtype: DType) {
        self.tensors.push((tensor, shape, dtype));
    }

    /// Returns the number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

/// Returns whether two types are interchangeable. Widths of ints and bools differ between devices; floats must have the recorded type.
pub(super) fn same_kind(a: DType, b: DType) -> bool {
    if a.is_float() { a == b } else { !b.is_float() && a.is_bool() == b.is_bool() }
}

/// A backend on which a trace can be replayed: any that Burn dispatches to.
pub trait ReplayBackend: BackendIr {
    #[doc(hidden)]
    fn take(tensor: DispatchTensor) -> Result<HandleKind<Self>, String>
    where
        Self: Sized;
    #[doc(hidden)]
    fn put(handle: HandleKind<Self>) -> DispatchTensor
    where
        Self: Sized;
}

impl<B: BackendIr> ReplayBackend for B
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn take(tensor: DispatchTensor) -> Result<HandleKind<B>, String> {
        match <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(tensor)? {
            BackendTensor::Float(tensor) => Ok(HandleKind::Float(tensor)),
            BackendTensor::Int(tensor) => Ok(HandleKind::Int(tensor)),
            BackendTensor::Bool(tensor) => Ok(HandleKind::Bool(tensor)),
            other => Err(format!("{} tensors cannot be replayed", other.name())),
        }
    }

    fn put(handle: HandleKind<B>) -> DispatchTensor {
        <DispatchTensor as DispatchKindConversion<B>>::from_backend(match handle {
            HandleKind::Float(tensor) => BackendTensor::Float(tensor),
            HandleKind::Int(tensor) => BackendTensor::Int(tensor),
            HandleKind::Bool(tensor) => BackendTensor::Bool(tensor),
            HandleKind::Quantized(tensor) => BackendTensor::Quantized(tensor),
        })
    }
}

/// Returns the device of a primitive.
fn device_of<B: BackendIr>(handle: &HandleKind<B>) -> Option<B::Device> {
    match handle {
        HandleKind::Float(tensor) => Some(tensor.device()),
        HandleKind::Int(tensor) => Some(tensor.device()),
        HandleKind::Bool(tensor) => Some(tensor.device()),
        HandleKind::Quantized(_) => None,
    }
}

/// A tensor to look at during a replay, right before or after an operation runs.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    pub(crate) operation: usize,
    pub(crate) after: bool,
    pub(crate) tensor: TensorIr,
}

impl Trace {
    /// Runs the recorded operations with the model's weights on backend `B`.
    ///
    /// Model and inputs must be on that backend. Masks and other reparameterizations of the model are applied.
    ///
    /// # Errors
    /// Inputs or parameters do not fit the trace, or they are on another backend.
    pub fn replay<B: ReplayBackend, M: Module>(&self, model: &M, inputs: Values) -> Result<Values, ReplayError> {
        self.replay_with::<B, M>(model, inputs, &[])
    }

    /// Replays like [`replay`](Self::replay) and appends the values of the tensors `taps` to the outputs.
    pub(crate) fn replay_with<B: ReplayBackend, M: Module>(
        &self,
        model: &M,
        inputs: Values,
        taps: &[TensorId],
    ) -> Result<Values, ReplayError> {
        let mut interpreter = self.interpreter::<B, M>(model, inputs)?;
        let wanted: HashSet<_> = self.outputs.iter().chain(taps).copied().collect();
        let mut keep = KeepAll(&wanted);
        for op in &self.operations {
            let mut op = op.clone();
            op.visit_mut(&mut keep);
            interpreter.register_op(op);
        }
        let shapes: HashMap<TensorId, TensorIr> = self.tensors();
        let mut outputs = Values::new();
        for id in self.outputs.iter().chain(taps) {
            let ir = TensorIr { status: TensorStatus::ReadOnly, ..shapes[id].clone() };
            let (shape, dtype) = (ir.shape.as_slice().to_vec(), ir.dtype);
            outputs.tensors.push((B::put(interpreter.get_tensor(&ir)), shape, dtype));
        }
        Ok(outputs)
    }

    /// Replays like [`replay`](Self::replay), and shows tensors on the way instead of keeping them to the end.
    ///
    /// `see` is called with the number and value of each tap. Operations after the last of them do not run.
    pub(crate) fn watch<B: ReplayBackend, M: Module, E: From<ReplayError>>(
        &self,
        model: &M,
        inputs: Values,
        taps: &[Tap],
        mut see: impl FnMut(usize, DispatchTensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut interpreter = self.interpreter::<B, M>(model, inputs)?;
        let last = taps.iter().map(|tap| tap.operation).max();
        for (index, op) in self.operations.iter().enumerate().take_while(|(index, _)| last.is_some_and(|l| *index <= l))
        {
            let here = || taps.iter().enumerate().filter(|(_, tap)| tap.operation == index);
            let mut show = |interpreter: &mut TensorInterpreter<B>, number: usize, tap: &Tap| {
                let ir = TensorIr { status: TensorStatus::ReadOnly, ..tap.tensor.clone() };
                see(number, B::put(interpreter.get_tensor(&ir)))
            };
            for (number, tap) in here().filter(|(_, tap)| !tap.after) {
                show(&mut interpreter, number, tap)?;
            }
            interpreter.register_op(op.clone());
            for (number, tap) in here().filter(|(_, tap)| tap.after) {
                show(&mut interpreter, number, tap)?;
            }
        }
        Ok(())
    }

    /// Creates an interpreter that holds inputs, weights and constants.
    fn interpreter<B: ReplayBackend, M: Module>(
        &self,
        model: &M,
        inputs: Values,
    ) -> Result<TensorInterpreter<B>, ReplayError> {
        self.check(&inputs)?;
        let mut handles: Vec<(TensorId, HandleKind<B>)> = Vec::new();
        for (index, (ir, (tensor, ..))) in self.inputs.iter().zip(inputs.tensors).enumerate() {
            let failed = |reason| ReplayError::Backend { what: format!("input {index}"), reason };
            handles.push((ir.id, B::take(tensor).map_err(failed)?));
        }
        handles.extend(self.weights::<B, M>(model)?);
        let device = handles.iter().find_map(|(_, handle)| device_of::<B>(handle)).unwrap_or_default();
        let mut interpreter = TensorInterpreter::<B>::new(device);
        for (id, handle) in handles {
            interpreter.register_tensor_to_device(id, handle);
        }
        for (id, data) in &self.constants {
            interpreter.register_tensor_data_id(*id, data.clone());
        }
        Ok(interpreter)
    }

    fn check(&self, inputs: &Values) -> Result<(), ReplayError> {
        if inputs.len() != self.inputs.len() {
            return Err(ReplayError::Inputs { expected: self.inputs.len(), found: inputs.len() });
        }
        for (index, (ir, (_, shape, dtype))) in self.inputs.iter().zip(&inputs.tensors).enumerate() {
            if ir.shape.as_slice() != shape || !same_kind(ir.dtype, *dtype) {
                let expected = format!("{:?} {:?}", ir.shape.as_slice(), ir.dtype);
                return Err(ReplayError::Input { index, expected, found: format!("{shape:?} {dtype:?}") });
            }
        }
        Ok(())
    }

    /// Returns every tensor of the trace by its id.
    pub(crate) fn tensors(&self) -> HashMap<TensorId, TensorIr> {
        let constants =
            self.constants.iter().map(|(id, data)| TensorIr::uninit(*id, data.shape().clone(), data.dtype()));
        let all = self.operations.iter().flat_map(burn_ir::OperationIr::nodes).chain(&self.inputs).cloned();
        constants.chain(self.given.iter().cloned()).chain(all).map(|t| (t.id, t)).collect()
    }
}

/// Keeps tensors that are needed at the end alive through operations that would reuse their memory.
struct KeepAll<'a>(&'a HashSet<TensorId>);

impl IrVisitorMut for KeepAll<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if tensor.status == TensorStatus::ReadWrite && self.0.contains(&tensor.id) {
            tensor.status = TensorStatus::ReadOnly;
        }
    }
}
