//! The comparison of a recorded pass with a predicted one: [`Prediction`].

use crate::trace::name::name;
use crate::trace::normal::{Normal, Recorded, Sizes, Step, groups_of, normal, scalars};
use crate::trace::{Analysis, Trace};
use burn_ir::{BaseOperationIr as Base, IrVisitorMut, OperationIr, ScalarIr, TensorIr};
use pruning_core::graph::Removal;

/// The first difference between a recorded pass and the predicted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The index and name of the operation in the trace behind the prediction.
    pub(crate) operation: String,
    /// The path of the nearest parameter before it.
    pub(crate) near: String,
    pub(crate) predicted: String,
    pub(crate) found: String,
}

/// The pass that follows from a trace when positions of its parameters are removed.
#[derive(Debug)]
pub(crate) struct Prediction<'a> {
    analysis: &'a Analysis<'a>,
    removal: &'a Removal,
}

impl Sizes for Prediction<'_> {
    fn shape(&self, tensor: &TensorIr) -> Vec<usize> {
        match self.analysis.dims.get(&tensor.id) {
            Some(dims) => dims.iter().map(|d| self.removal.left(d)).collect(),
            None => tensor.shape.as_slice().to_vec(),
        }
    }

    fn kept(&self, tensor: &TensorIr, axis: usize) -> Option<Vec<usize>> {
        let dim = self.analysis.dims.get(&tensor.id)?.get(axis)?;
        let kept = self.removal.kept(dim);
        (kept.len() < dim.len()).then_some(kept)
    }

    fn groups(&self, weight: &TensorIr, recorded: usize) -> usize {
        let found = self.analysis.grouped.iter().find(|g| g.weight == weight.id && g.groups.len() == recorded);
        found.map_or(recorded, |g| self.removal.left(&g.groups))
    }
}

impl<'a> Prediction<'a> {
    pub(crate) fn new(analysis: &'a Analysis<'a>, removal: &'a Removal) -> Self {
        Self { analysis, removal }
    }

    /// Compares all operations of a pass with the predicted ones: their kinds, scalars, options, operands and shapes, and the
    /// captured values.
    pub(crate) fn departure(&self, found: &Trace) -> Option<Departure> {
        let dense = self.analysis.trace;
        let (predicted, came) = (normal(dense, self), normal(found, &Recorded));
        let here = |step: Option<&Step>| {
            let index = step.map_or(dense.operations.len(), |s| s.index);
            match dense.operations.get(index) {
                Some(op) => (format!("{} ({})", index, name(op)), self.analysis.near(op).to_string()),
                None => ("the end".to_string(), "all operations".to_string()),
            }
        };
        let departs = |step: Option<&Step>, predicted: String, found: String| {
            let (operation, near) = here(step);
            Some(Departure { operation, near, predicted, found })
        };
        if let Some((planned, real)) = input_departure(dense, found) {
            return departs(None, planned, real);
        }
        let steps = predicted.steps.len().max(came.steps.len());
        for at in 0..steps {
            let (planned, real) = (predicted.steps.get(at), came.steps.get(at));
            let (Some(a), Some(b)) = (planned, real) else {
                let told = |s: Option<&Step>| s.map_or("no further operation".to_string(), |s| name(&s.operation));
                return departs(planned, told(planned), told(real));
            };
            if !same(&a.operation, &b.operation) {
                let (planned, real) = first_difference(&a.operation, &b.operation);
                return departs(Some(a), planned, real);
            }
        }
        if let Some((step, planned, real)) = constant_departure(&predicted, dense, &came, found) {
            return departs(step, planned, real);
        }
        let outputs = |n: &Normal| n.outputs.iter().map(shape).collect::<Vec<_>>().join(", ");
        if predicted.outputs != came.outputs {
            return departs(None, format!("outputs {}", outputs(&predicted)), format!("outputs {}", outputs(&came)));
        }
        None
    }
}

fn shape(tensor: &TensorIr) -> String {
    format!("{:?}", tensor.shape.as_slice())
}

/// Returns whether two operations are equal. A NaN equals a NaN.
fn same(a: &OperationIr, b: &OperationIr) -> bool {
    struct Numbers;
    impl IrVisitorMut for Numbers {
        fn visit_scalar_mut(&mut self, scalar: &mut ScalarIr) {
            if matches!(scalar, ScalarIr::Float(x) if x.is_nan()) {
                *scalar = ScalarIr::Float(0.0);
            }
        }
    }
    let without_nan = |op: &OperationIr| {
        let mut op = op.clone();
        op.visit_mut(&mut Numbers);
        op
    };
    a == b || (scalars(a) == scalars(b) && without_nan(a) == without_nan(b))
}

fn input_departure(dense: &Trace, found: &Trace) -> Option<(String, String)> {
    let inputs =
        |t: &Trace| t.inputs.iter().map(|i| format!("{} {:?}", shape(i), i.dtype)).collect::<Vec<_>>().join(", ");
    let (planned, real) = (inputs(dense), inputs(found));
    (planned != real).then(|| (format!("inputs {planned}"), format!("inputs {real}")))
}

/// Returns the first captured value that differs. None may, since no axis of them can lose a position.
fn constant_departure<'n>(
    predicted: &'n Normal,
    dense: &Trace,
    came: &Normal,
    found: &Trace,
) -> Option<(Option<&'n Step>, String, String)> {
    for (at, (a, b)) in predicted.constants.iter().zip(&came.constants).enumerate() {
        let (planned, real) = (dense.constants.get(a), found.constants.get(b));
        let same = match (planned, real) {
            (Some(a), Some(b)) => a.shape() == b.shape() && a.dtype() == b.dtype() && a.as_bytes() == b.as_bytes(),
            (a, b) => a.is_none() && b.is_none(),
        };
        if !same {
            let users = |s: &&Step| dense.operations[s.index].inputs().any(|t| t.id == *a);
            let step = predicted.steps.iter().find(users);
            return Some((step, format!("captured value {at} as before"), "other numbers in it".to_string()));
        }
    }
    None
}

/// Describes the first difference between two operations, for each of them.
fn first_difference(a: &OperationIr, b: &OperationIr) -> (String, String) {
    let shapes = |op: &OperationIr| {
        let (ins, outs): (Vec<_>, Vec<_>) = (op.inputs().map(shape).collect(), op.outputs().map(shape).collect());
        format!("{} of {} to {}", name(op), ins.join(" and "), outs.join(" and "))
    };
    let ranges = |op: &OperationIr| match op {
        OperationIr::BaseFloat(Base::Slice(o)) | OperationIr::BaseInt(Base::Slice(o)) => {
            let of = |r: &burn::tensor::Slice| format!("{} from {}", r.end.unwrap_or_default(), r.start);
            format!("slice of {}", o.ranges.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    };
    let groups = |op: &OperationIr| {
        groups_of(&mut op.clone()).map_or(String::new(), |(_, groups)| format!("{} in {groups} groups", name(op)))
    };
    let values = |op: &OperationIr| format!("{} with {}", name(op), scalars(op).join(" and "));
    let aspects: [&dyn Fn(&OperationIr) -> String; 5] = [&name, &shapes, &groups, &values, &ranges];
    let differing = aspects.iter().map(|told| (told(a), told(b))).find(|(a, b)| a != b);
    differing.unwrap_or_else(|| {
        (format!("{} with its operands and options as before", name(a)), "other operands or options".to_string())
    })
}
