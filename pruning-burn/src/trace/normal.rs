//! A normal form of passes, in which two of them can be compared: [`normal`].
//!
//! The same code on other sizes does not always record the same operations. Burn folds the batch of a linear layer into its
//! rows for some sizes only; it leaves out a repeat by one and the empty pieces of a concatenation. The normal form has no
//! change of shape (each use of a tensor states its shape there), no operation without effect, and matrix products and
//! additions with their leading axes folded.

use crate::trace::Trace;
use burn::tensor::{Shape, Slice};
use burn_ir::{BaseOperationIr as Base, FloatOperationIr as Flt, ModuleOperationIr as Mod, NumericOperationIr as Num};
use burn_ir::{IrVisitorMut, OperationIr, ScalarIr, TensorId, TensorIr, TensorStatus};
use std::collections::HashMap;

/// The sizes of a trace: those that were recorded, or those that a plan predicts.
pub(crate) trait Sizes {
    /// Returns the shape of a tensor.
    fn shape(&self, tensor: &TensorIr) -> Vec<usize>;
    /// Returns the positions of an axis that stay, in ascending order; `None` for all.
    fn kept(&self, tensor: &TensorIr, axis: usize) -> Option<Vec<usize>>;
    /// Returns the number of groups of a convolution with this weight.
    fn groups(&self, weight: &TensorIr, recorded: usize) -> usize;
}

/// The recorded sizes.
pub(crate) struct Recorded;

impl Sizes for Recorded {
    fn shape(&self, tensor: &TensorIr) -> Vec<usize> {
        tensor.shape.as_slice().to_vec()
    }

    fn kept(&self, _: &TensorIr, _: usize) -> Option<Vec<usize>> {
        None
    }

    fn groups(&self, _: &TensorIr, recorded: usize) -> usize {
        recorded
    }
}

/// An operation in normal form, and its place in the trace.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) operation: OperationIr,
    pub(crate) index: usize,
}

/// A pass in normal form. Tensors are numbered by their origin, so equal passes have equal numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normal {
    pub(crate) steps: Vec<Step>,
    /// Captured values, in the order in which they are first used.
    pub(crate) constants: Vec<TensorId>,
    pub(crate) outputs: Vec<TensorIr>,
}

const INPUT: u64 = 1 << 40;
const PARAM: u64 = 2 << 40;
const CONSTANT: u64 = 3 << 40;
const RESULT: u64 = 4 << 40;
const EMPTY: u64 = 5 << 40;

/// Brings a trace into normal form, under its own or other sizes.
pub(crate) fn normal(trace: &Trace, sizes: &impl Sizes) -> Normal {
    let mut naming = Naming { sizes, names: HashMap::new(), constants: Vec::new() };
    naming.names.extend(trace.inputs.iter().zip(INPUT..).map(|(t, name)| (t.id, TensorId::new(name))));
    naming.names.extend(trace.param_of.iter().map(|(id, &param)| (*id, TensorId::new(PARAM + param as u64))));
    let mut steps: Vec<Step> = Vec::new();
    for (index, op) in trace.operations.iter().enumerate() {
        let outputs: Vec<TensorIr> = op.outputs().cloned().collect();
        if !outputs.is_empty() && outputs.iter().all(|t| sizes.shape(t).contains(&0)) {
            naming.names.extend(outputs.iter().map(|t| (t.id, TensorId::new(EMPTY))));
            continue;
        }
        if let (Some(same), [out]) = (does_nothing(op, sizes), &outputs[..]) {
            let name = naming.name(same.id);
            naming.names.insert(out.id, name);
            continue;
        }
        let mut operation = op.clone();
        resize(&mut operation, sizes);
        // Operands are named first, so that captured values are numbered by their first use.
        operation.inputs().for_each(|t| {
            naming.name(t.id);
        });
        let first = RESULT + ((steps.len() as u64) << 4);
        naming.names.extend(outputs.iter().zip(first..).map(|(t, name)| (t.id, TensorId::new(name))));
        operation.visit_mut(&mut naming);
        fold(&mut operation);
        steps.push(Step { operation, index });
    }
    let tensors = trace.tensors();
    let outputs = trace.outputs.iter().map(|id| {
        let mut output = tensors[id].clone();
        naming.visit_tensor_mut(&mut output);
        output
    });
    let outputs = outputs.collect();
    Normal { steps, outputs, constants: naming.constants }
}

struct Naming<'a, S> {
    sizes: &'a S,
    names: HashMap<TensorId, TensorId>,
    constants: Vec<TensorId>,
}

impl<S> Naming<'_, S> {
    fn name(&mut self, id: TensorId) -> TensorId {
        *self.names.entry(id).or_insert_with(|| {
            self.constants.push(id);
            TensorId::new(CONSTANT + self.constants.len() as u64)
        })
    }
}

impl<S: Sizes> IrVisitorMut for Naming<'_, S> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.shape = Shape::from(self.sizes.shape(tensor));
        tensor.id = self.name(tensor.id);
        tensor.status = TensorStatus::ReadOnly;
    }
}

fn base(op: &OperationIr) -> Option<&Base> {
    match op {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => Some(op),
        _ => None,
    }
}

/// Returns the operand that an operation passes on unchanged.
fn does_nothing<'a>(op: &'a OperationIr, sizes: &impl Sizes) -> Option<&'a TensorIr> {
    let elements = |t: &TensorIr| sizes.shape(t).iter().product::<usize>();
    match base(op)? {
        Base::Reshape(o) => Some(&o.input),
        Base::RepeatDim(o) if o.times == 1 => Some(&o.tensor),
        Base::Expand(o) if elements(&o.input) == elements(&o.out) => Some(&o.input),
        Base::Slice(o) if o.ranges.iter().all(|r| r.step > 0) && elements(&o.tensor) == elements(&o.out) => {
            Some(&o.tensor)
        }
        Base::Cast(o) if o.input.dtype == o.out.dtype => Some(&o.input),
        Base::Cat(o) => {
            let mut pieces = o.tensors.iter().filter(|t| elements(t) > 0);
            pieces.next().filter(|_| pieces.next().is_none())
        }
        _ => None,
    }
}

/// Updates the sizes that an operation holds besides its shapes.
fn resize(op: &mut OperationIr, sizes: &impl Sizes) {
    if let Some((weight, groups)) = groups_of(op) {
        *groups = sizes.groups(&weight.clone(), *groups);
    }
    let (OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op)) = op else { return };
    match op {
        Base::Slice(o) => o.ranges = ranges(&o.tensor, &o.ranges, sizes),
        Base::SliceAssign(o) => o.ranges = ranges(&o.tensor, &o.ranges, sizes),
        Base::Cat(o) => o.tensors.retain(|t| !sizes.shape(t).contains(&0)),
        _ => {}
    }
}

/// Returns the weight of a grouped operation, and its number of groups.
pub(crate) fn groups_of(op: &mut OperationIr) -> Option<(&TensorIr, &mut usize)> {
    let OperationIr::Module(op) = op else { return None };
    match op {
        Mod::Conv1d(o) => Some((&o.weight, &mut o.options.groups)),
        Mod::Conv2d(o) => Some((&o.weight, &mut o.options.groups)),
        Mod::Conv3d(o) => Some((&o.weight, &mut o.options.groups)),
        Mod::ConvTranspose1d(o) => Some((&o.weight, &mut o.options.groups)),
        Mod::ConvTranspose2d(o) => Some((&o.weight, &mut o.options.groups)),
        Mod::ConvTranspose3d(o) => Some((&o.weight, &mut o.options.groups)),
        Mod::DeformableConv2d(o) => Some((&o.weight, &mut o.options.weight_groups)),
        _ => None,
    }
}

/// Returns for each axis of a tensor the positions that a slice of it takes, in the order in which they are taken.
pub(crate) fn positions(tensor: &TensorIr, ranges: &[Slice], sizes: &impl Sizes) -> Vec<Vec<usize>> {
    let shape = tensor.shape.as_slice();
    let along = (0..shape.len()).map(|axis| {
        let whole = Slice { start: 0, end: None, step: 1 };
        let slice = ranges.get(axis).copied().unwrap_or(whole);
        let range = slice.to_range(shape[axis]);
        let step = slice.step.unsigned_abs().max(1);
        let positions: Vec<usize> =
            if slice.step < 0 { range.rev().step_by(step).collect() } else { range.step_by(step).collect() };
        match sizes.kept(tensor, axis) {
            Some(kept) => positions.into_iter().filter_map(|p| kept.binary_search(&p).ok()).collect(),
            None => positions,
        }
    });
    along.collect()
}

/// Returns for each axis the first position, the number of positions (as `end`), and the distance between them.
fn ranges(tensor: &TensorIr, ranges: &[Slice], sizes: &impl Sizes) -> Vec<Slice> {
    let along = positions(tensor, ranges, sizes).into_iter().enumerate().map(|(axis, positions)| {
        let first = positions.first().map_or(0, |&p| p as isize);
        let mut steps = positions.windows(2).map(|w| w[1] as isize - w[0] as isize);
        let step = steps.next().unwrap_or_else(|| ranges.get(axis).map_or(1, |slice| slice.step.signum()));
        // No range has a step of 0, so positions without an even step equal no range.
        let step = if steps.all(|s| s == step) { step } else { 0 };
        Slice { start: first, end: Some(positions.len() as isize), step }
    });
    along.collect()
}

/// Folds the leading axes of products with one matrix, and of additions, as Burn does in linear layers of some sizes.
fn fold(op: &mut OperationIr) {
    match op {
        OperationIr::Float(_, Flt::Matmul(o)) => {
            let matrix = |t: &TensorIr| {
                let shape = t.shape.as_slice();
                let (rows, last) = shape.split_at(shape.len() - 1);
                Shape::from(vec![rows.iter().product::<usize>(), last[0]])
            };
            let batch = o.rhs.shape.as_slice().iter().rev().skip(2).product::<usize>();
            let rank = o.out.shape.as_slice().len();
            // A product with one matrix whose rows are those of all samples.
            if batch == 1 && o.lhs.shape.as_slice().len() == rank {
                let rows = matrix(&o.lhs).as_slice()[0] == matrix(&o.out).as_slice()[0];
                if rows {
                    (o.lhs.shape, o.rhs.shape, o.out.shape) = (matrix(&o.lhs), matrix(&o.rhs), matrix(&o.out));
                }
            }
        }
        OperationIr::NumericFloat(_, Num::Add(o)) => {
            let (a, b, out) = (o.lhs.shape.as_slice(), o.rhs.shape.as_slice(), o.out.shape.as_slice());
            if a.len() != out.len() || b.len() != out.len() {
                return;
            }
            // Neighboring axes along which both operands are read alike are one.
            let mut folded: Vec<(usize, (bool, bool))> = Vec::new();
            for axis in (0..out.len()).filter(|&axis| out[axis] != 1) {
                let whole = (a[axis] == out[axis], b[axis] == out[axis]);
                match folded.last_mut() {
                    Some((size, same)) if *same == whole => *size *= out[axis],
                    _ => folded.push((out[axis], whole)),
                }
            }
            let shape = |reads: fn(&(bool, bool)) -> bool| {
                Shape::from(folded.iter().map(|(size, whole)| if reads(whole) { *size } else { 1 }).collect::<Vec<_>>())
            };
            let shapes = (shape(|w| w.0), shape(|w| w.1), shape(|_| true));
            (o.lhs.shape, o.rhs.shape, o.out.shape) = shapes;
        }
        _ => {}
    }
}

/// Returns the scalars of an operation as text.
pub(crate) fn scalars(op: &OperationIr) -> Vec<String> {
    struct Collect(Vec<String>);
    impl IrVisitorMut for Collect {
        fn visit_scalar_mut(&mut self, scalar: &mut ScalarIr) {
            self.0.push(match scalar {
                ScalarIr::Float(x) => x.to_string(),
                ScalarIr::Int(x) => x.to_string(),
                ScalarIr::UInt(x) => x.to_string(),
                ScalarIr::Bool(x) => x.to_string(),
            });
        }
    }
    let mut found = Collect(Vec::new());
    op.clone().visit_mut(&mut found);
    found.0
}
