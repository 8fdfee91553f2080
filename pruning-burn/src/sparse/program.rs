//! A recorded pass with its weights, which computes constants once and frees tensors after their last use.

use crate::trace::{ReplayError, Trace};
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::module::Module;
use burn_ir::{HandleKind, IrVisitorMut, OperationIr, TensorId, TensorIr, TensorStatus};
use burn_router::{CustomOpRegistry, TensorInterpreter};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A value that is the same in every run.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) value: HandleKind<Flex>,
    pub(super) ir: TensorIr,
    /// The path of the only parameter that it is computed from.
    pub(super) path: Option<String>,
}

impl Constant {
    /// Returns the values of a single-precision constant.
    pub(super) fn floats(&self) -> Option<Vec<f32>> {
        let HandleKind::Float(tensor) = &self.value else { return None };
        tensor.to_contiguous().as_slice::<f32>().map(<[f32]>::to_vec)
    }
}

/// The memory and layout of a tensor, equal for tensors that share both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    at: usize,
    start: usize,
    strides: Vec<isize>,
    shape: Vec<usize>,
}

impl Key {
    /// Returns the key of a tensor, which must outlive the key.
    pub(super) fn of(tensor: &FlexTensor) -> Self {
        let layout = tensor.layout();
        Self {
            at: tensor.bytes().as_ptr() as usize,
            start: layout.start_offset(),
            strides: layout.strides().to_vec(),
            shape: layout.shape().as_slice().to_vec(),
        }
    }
}

/// Returns the tensor of a value of any kind.
pub(super) fn primitive(value: &HandleKind<Flex>) -> &FlexTensor {
    match value {
        HandleKind::Float(tensor) | HandleKind::Int(tensor) | HandleKind::Bool(tensor) => tensor,
        HandleKind::Quantized(_) => unreachable!("Burn's capture and this crate make no quantized tensors"),
    }
}

/// The operations that depend on inputs, and the values of all other tensors.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) operations: Vec<OperationIr>,
    pub(super) constants: BTreeMap<TensorId, Constant>,
    pub(super) inputs: Vec<TensorIr>,
    pub(super) outputs: Vec<TensorIr>,
}

impl Program {
    /// Creates the program of a trace with the weights of a model.
    pub(super) fn new<M: Module>(trace: &Trace, model: &M) -> Result<Self, ReplayError> {
        let shapes = trace.tensors();
        let mut constants: BTreeMap<TensorId, Constant> = BTreeMap::new();
        for (id, value) in trace.weights::<Flex, M>(model)? {
            // A parameter without a use is in no operation's description.
            let Some(ir) = shapes.get(&id) else { continue };
            let path = trace.param_of.get(&id).map(|&p| trace.params[p].path().to_string());
            constants.insert(id, Constant { value, ir: ir.clone(), path });
        }
        for (id, data) in &trace.constants {
            let tensor = FlexTensor::from_data(data.clone());
            let ir = shapes[id].clone();
            let value = kind(&ir, tensor);
            constants.insert(*id, Constant { value, ir, path: None });
        }
        let operations = fold(&trace.operations, &mut constants);
        let outputs: Vec<TensorIr> = trace.outputs.iter().map(|id| shapes[id].clone()).collect();
        let used: HashSet<TensorId> = operations
            .iter()
            .flat_map(OperationIr::inputs)
            .map(|t| t.id)
            .chain(trace.outputs.iter().copied())
            .collect();
        constants.retain(|id, _| used.contains(id));
        Ok(Self { operations, constants, inputs: trace.inputs.clone(), outputs })
    }

    /// Drops constants that no operation uses.
    pub(super) fn forget_unused(&mut self) {
        let inputs = self.operations.iter().flat_map(OperationIr::inputs);
        let used: HashSet<TensorId> = inputs.chain(&self.outputs).map(|t| t.id).collect();
        self.constants.retain(|id, _| used.contains(id));
    }

    /// Returns an interpreter with registered constants.
    pub(super) fn interpreter(&self, custom: &CustomOpRegistry<Flex>) -> TensorInterpreter<Flex> {
        let mut interpreter = TensorInterpreter::with_custom_ops(Default::default(), custom.clone());
        for (id, constant) in &self.constants {
            interpreter.register_tensor_to_device(*id, constant.value.clone());
        }
        interpreter
    }

    /// Marks the last use of every tensor, so that its memory is reused, and drops results without a use.
    ///
    /// Returns the operations, and the previous index of each.
    pub(super) fn with_lifetimes(&self) -> (Vec<OperationIr>, Vec<Option<usize>>) {
        let outputs: HashSet<TensorId> = self.outputs.iter().map(|t| t.id).collect();
        let stays = |id: &TensorId| self.constants.contains_key(id) || outputs.contains(id);
        let mut later: HashSet<TensorId> = HashSet::new();
        let mut reversed: Vec<(OperationIr, Option<usize>)> = Vec::new();
        for (place, op) in self.operations.iter().enumerate().rev() {
            let mut op = op.clone();
            let inputs: Vec<TensorIr> = op.inputs().cloned().collect();
            let times = |id: TensorId| inputs.iter().filter(|t| t.id == id).count();
            let mut last = HashSet::new();
            for t in inputs.iter().filter(|t| !stays(&t.id) && later.insert(t.id)) {
                if times(t.id) == 1 {
                    last.insert(t.id);
                } else {
                    // The operation decides which of its uses comes last.
                    reversed.push((OperationIr::Drop(t.clone()), None));
                }
            }
            for t in op.outputs().filter(|t| !stays(&t.id) && !later.contains(&t.id)) {
                reversed.push((OperationIr::Drop(t.clone()), None));
            }
            op.visit_mut(&mut Uses { last: &last });
            reversed.push((op, Some(place)));
        }
        for t in self.inputs.iter().filter(|t| !stays(&t.id) && !later.contains(&t.id)) {
            reversed.push((OperationIr::Drop(t.clone()), None));
        }
        reversed.into_iter().rev().unzip()
    }
}

/// Wraps a tensor as the kind in its description.
pub(super) fn kind(ir: &TensorIr, tensor: FlexTensor) -> HandleKind<Flex> {
    if ir.dtype.is_float() {
        HandleKind::Float(tensor)
    } else if ir.dtype.is_bool() {
        HandleKind::Bool(tensor)
    } else {
        HandleKind::Int(tensor)
    }
}

/// Runs the operations on constants, unless the result is larger than its operands, such as a view that repeats a bias.
fn fold(operations: &[OperationIr], constants: &mut BTreeMap<TensorId, Constant>) -> Vec<OperationIr> {
    let mut interpreter = TensorInterpreter::<Flex>::new(Default::default());
    let mut registered = HashSet::new();
    let mut rest = Vec::new();
    for op in operations {
        let inputs: Vec<&TensorIr> = op.inputs().collect();
        let known = !inputs.is_empty() && inputs.iter().all(|t| constants.contains_key(&t.id));
        let size = |ts: &mut dyn Iterator<Item = &TensorIr>| ts.map(|t| t.shape.num_elements()).sum::<usize>();
        if !known || size(&mut op.outputs()) > size(&mut inputs.iter().copied()) || matches!(op, OperationIr::Custom(_))
        {
            rest.push(op.clone());
            continue;
        }
        let paths: HashSet<_> = inputs.iter().filter_map(|t| constants[&t.id].path.clone()).collect();
        let path = if paths.len() == 1 { paths.into_iter().next() } else { None };
        for t in &inputs {
            if registered.insert(t.id) {
                interpreter.register_tensor_to_device(t.id, constants[&t.id].value.clone());
            }
        }
        let mut op = op.clone();
        op.visit_mut(&mut Uses { last: &HashSet::new() });
        let outputs: Vec<TensorIr> = op.outputs().cloned().collect();
        interpreter.register_op(op);
        for ir in outputs {
            let value = interpreter.get_tensor(&TensorIr { status: TensorStatus::ReadOnly, ..ir.clone() });
            registered.insert(ir.id);
            constants.insert(ir.id, Constant { value, ir, path: path.clone() });
        }
    }
    rest
}

/// Marks each use as the last one or not.
struct Uses<'a> {
    last: &'a HashSet<TensorId>,
}

impl IrVisitorMut for Uses<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if tensor.status != TensorStatus::NotInit {
            let last = self.last.contains(&tensor.id);
            tensor.status = if last { TensorStatus::ReadWrite } else { TensorStatus::ReadOnly };
        }
    }
}

/// Returns the operations that use each tensor.
pub(super) fn uses(operations: &[OperationIr]) -> HashMap<TensorId, Vec<usize>> {
    let mut uses: HashMap<TensorId, Vec<usize>> = HashMap::new();
    for (place, op) in operations.iter().enumerate() {
        op.inputs().for_each(|t| uses.entry(t.id).or_default().push(place));
    }
    uses
}
