//! The same pass in other sizes, with every argument of its operations that holds a size: [`Trace::resized`].

use crate::trace::Trace;
use crate::trace::name::name;
use crate::trace::normal::{Sizes, groups_of, positions};
use burn::tensor::{Shape, Slice};
use burn_ir::{BaseOperationIr as Base, IrVisitorMut, OperationIr, TensorIr};

/// An operation that cannot be written in other sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unresizable {
    /// The index of the operation in the trace.
    pub(crate) index: usize,
    /// The index and name of the operation.
    pub(crate) operation: String,
    pub(crate) reason: String,
}

impl Trace {
    /// Returns the trace in other sizes. Tensors keep their ids; an operation of whose results nothing is left goes.
    pub(crate) fn resized(&self, sizes: &impl Sizes) -> Result<Self, Unresizable> {
        let vanishes = |t: &TensorIr| sizes.shape(t).contains(&0) && !t.shape.as_slice().contains(&0);
        let mut operations = Vec::with_capacity(self.operations.len());
        for (index, op) in self.operations.iter().enumerate() {
            let mut results = op.outputs().peekable();
            if results.peek().is_some() && results.all(vanishes) {
                continue;
            }
            let failed = |reason| Unresizable { index, operation: self.operation(index), reason };
            let mut op = op.clone();
            arguments(&mut op, sizes).map_err(failed)?;
            if op.inputs().any(vanishes) {
                return Err(failed("nothing is left of one of its operands".to_string()));
            }
            op.visit_mut(&mut Shapes(sizes));
            operations.push(op);
        }
        let mut smaller = Self { operations, ..self.clone() };
        smaller.given.iter_mut().for_each(|t| Shapes(sizes).visit_tensor_mut(t));
        let tensors = self.tensors();
        for (id, &param) in &self.param_of {
            if let Some(tensor) = tensors.get(id) {
                smaller.params[param].shape = sizes.shape(tensor);
            }
        }
        Ok(smaller)
    }

    /// Returns the index and name of an operation.
    pub(crate) fn operation(&self, index: usize) -> String {
        self.operations.get(index).map_or_else(|| "the end".to_string(), |op| format!("{index} ({})", name(op)))
    }
}

struct Shapes<'a, S>(&'a S);

impl<S: Sizes> IrVisitorMut for Shapes<'_, S> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.shape = Shape::from(self.0.shape(tensor));
    }
}

/// Updates the sizes that an operation, whose tensors have the recorded shapes, holds besides those shapes.
fn arguments(op: &mut OperationIr, sizes: &impl Sizes) -> Result<(), String> {
    if let Some((weight, groups)) = groups_of(op) {
        *groups = sizes.groups(&weight.clone(), *groups);
    }
    let (OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op)) = op else { return Ok(()) };
    match op {
        Base::Slice(o) => o.ranges = ranges(&o.tensor, &o.ranges, sizes)?,
        Base::SliceAssign(o) => o.ranges = ranges(&o.tensor, &o.ranges, sizes)?,
        Base::Cat(o) => o.tensors.retain(|t| !sizes.shape(t).contains(&0)),
        Base::RepeatDim(o) => {
            let (from, to) = (sizes.shape(&o.tensor)[o.dim], sizes.shape(&o.out)[o.dim]);
            if from == 0 || !to.is_multiple_of(from) {
                return Err(format!("{from} positions cannot be repeated to {to}"));
            }
            o.times = to / from;
        }
        _ => {}
    }
    Ok(())
}

/// Returns the ranges that take, along each axis, what is left of the positions that the recorded ones take.
fn ranges(tensor: &TensorIr, recorded: &[Slice], sizes: &impl Sizes) -> Result<Vec<Slice>, String> {
    let along = positions(tensor, recorded, sizes).into_iter().enumerate().map(|(axis, positions)| {
        let (Some(&first), Some(&last)) = (positions.first(), positions.last()) else {
            return Ok(Slice { start: 0, end: Some(0), step: 1 });
        };
        let mut steps = positions.windows(2).map(|w| w[1] as isize - w[0] as isize);
        let step = steps.next().unwrap_or(1);
        if steps.any(|s| s != step) {
            return Err(format!("what is left of the positions that it takes of axis {axis} is not evenly spaced"));
        }
        let (start, end) = (first.min(last) as isize, first.max(last) as isize + 1);
        Ok(Slice { start, end: Some(end), step })
    });
    along.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;
    use burn_ir::{TensorId, TensorStatus};

    /// An axis of `size` positions, of which some stay.
    struct Axis(Vec<usize>);

    impl Sizes for Axis {
        fn shape(&self, _: &TensorIr) -> Vec<usize> {
            vec![self.0.len()]
        }

        fn kept(&self, _: &TensorIr, _: usize) -> Option<Vec<usize>> {
            Some(self.0.clone())
        }

        fn groups(&self, _: &TensorIr, recorded: usize) -> usize {
            recorded
        }
    }

    #[test]
    fn a_slice_takes_what_is_left_of_its_positions() {
        let tensor = TensorIr {
            id: TensorId::new(1),
            shape: Shape::from(vec![12]),
            status: TensorStatus::ReadOnly,
            dtype: DType::F32,
        };
        let taken = |kept: &[usize], slice: Slice| -> Result<Vec<usize>, String> {
            let found = ranges(&tensor, &[slice], &Axis(kept.to_vec()))?;
            // The positions of the small axis that the new range takes, as positions of the large one.
            let whole = Axis((0..kept.len()).collect());
            let small = TensorIr { shape: Shape::from(vec![kept.len()]), ..tensor.clone() };
            Ok(positions(&small, &found, &whole)[0].iter().map(|&p| kept[p]).collect())
        };
        let slice = |start, end, step| Slice { start, end: Some(end), step };
        assert_eq!(taken(&[0, 2, 3, 7, 11], slice(2, 8, 1)), Ok(vec![2, 3, 7]));
        assert_eq!(taken(&[0, 2, 3, 7, 11], slice(2, 8, -1)), Ok(vec![7, 3, 2]));
        assert_eq!(taken(&[1, 3, 5, 7], slice(1, 8, 2)), Ok(vec![1, 3, 5, 7]));
        assert_eq!(taken(&[0, 1, 4, 5, 8], slice(0, 12, 4)), Ok(vec![0, 4, 8]));
        assert_eq!(taken(&[0, 1], slice(4, 8, 1)), Ok(vec![]));
        assert!(taken(&[0, 1, 2, 4, 8], slice(0, 12, 4)).unwrap_err().contains("axis 0"));
    }
}
