//! Where batch and sequence lie in the tensors of a pass, and so which rows of an operand count: [`Axes`].

use crate::trace::{Positions, Trace};
use burn_ir::{BaseOperationIr as Base, FloatOperationIr as Flt, ModuleOperationIr as Mod, OperationIr};
use burn_ir::{TensorId, TensorIr};
use std::collections::HashMap;

/// The axes of batch and sequence of each tensor that has both; one axis twice, if the sequences follow each other along it.
#[derive(Debug)]
pub(super) struct Axes {
    shape: [usize; 2],
    of: HashMap<TensorId, [usize; 2]>,
    /// Whether an input begins with batch and sequence. If none does, only the shapes tell.
    known: bool,
}

impl Axes {
    /// Follows batch and sequence from the inputs that begin with them.
    pub(super) fn follow(trace: &Trace, positions: &Positions) -> Self {
        let begins = |t: &&TensorIr| t.shape.as_slice().starts_with(&positions.shape);
        let of: HashMap<_, _> = trace.inputs.iter().filter(begins).map(|t| (t.id, [0, 1])).collect();
        let mut axes = Self { shape: positions.shape, known: !of.is_empty(), of };
        for op in &trace.operations {
            if let Some((out, found)) = axes.after(op)
                && axes.fit(found, out.shape.as_slice())
            {
                axes.of.insert(out.id, found);
            }
        }
        axes
    }

    /// Whether the axes of a shape have the lengths of batch and sequence.
    fn fit(&self, [b, s]: [usize; 2], shape: &[usize]) -> bool {
        let [batch, len] = self.shape;
        match b == s {
            true => shape.get(b) == Some(&(batch * len)),
            false => shape.get(b) == Some(&batch) && shape.get(s) == Some(&len),
        }
    }

    fn after<'a>(&self, op: &'a OperationIr) -> Option<(&'a TensorIr, [usize; 2])> {
        let of = |t: &TensorIr| self.of.get(&t.id).copied();
        let out = op.outputs().next()?;
        let found = match op {
            OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => self.moved(op)?,
            OperationIr::Module(Mod::Embedding(o)) => of(&o.indices)?,
            // Rows stay; what is summed over goes.
            OperationIr::Float(_, Flt::Matmul(o)) => {
                let rank = o.lhs.shape.as_slice().len();
                of(&o.lhs).filter(|axes| !axes.contains(&(rank - 1))).or_else(|| {
                    let rank = o.rhs.shape.as_slice().len();
                    of(&o.rhs).filter(|axes| !axes.contains(&(rank - 2)))
                })?
            }
            // Whatever keeps the lengths of both axes keeps their order.
            _ => {
                let rank = out.shape.as_slice().len();
                op.inputs().filter(|t| t.shape.as_slice().len() == rank).find_map(of)?
            }
        };
        Some((out, found))
    }

    fn moved(&self, op: &Base) -> Option<[usize; 2]> {
        let of = |t: &TensorIr| self.of.get(&t.id).copied();
        let other = |axes: &[usize; 2], dim: usize| !axes.contains(&dim);
        match op {
            Base::Reshape(o) => {
                let [b, s] = of(&o.input)?;
                let (from, to) = (o.input.shape.as_slice(), o.out.shape.as_slice());
                // An axis is where as many entries lie before it and in it.
                let place = |axis: usize, len: usize| {
                    let before: usize = from[..axis].iter().product();
                    (0..to.len()).find(|&i| to[..i].iter().product::<usize>() == before && to[i] == len)
                };
                let [batch, len] = self.shape;
                let apart = || match b == s {
                    true => place(b, batch).filter(|&i| to.get(i + 1) == Some(&len)).map(|i| [i, i + 1]),
                    false => Some([place(b, batch)?, place(s, len)?]),
                };
                let merged = || place(b, batch * len).filter(|_| b == s || s == b + 1).map(|i| [i, i]);
                apart().or_else(merged)
            }
            Base::SwapDims(o) => {
                let swap = |axis| match axis {
                    axis if axis == o.dim1 => o.dim2,
                    axis if axis == o.dim2 => o.dim1,
                    axis => axis,
                };
                of(&o.input).map(|axes| axes.map(swap))
            }
            Base::Permute(o) => {
                let axes = of(&o.input)?;
                let place = |axis: usize| o.axes.iter().position(|&from| from == axis);
                Some([place(axes[0])?, place(axes[1])?])
            }
            Base::Cast(o) => of(&o.input),
            Base::Expand(o) => {
                let lead = o.out.shape.as_slice().len() - o.input.shape.as_slice().len();
                of(&o.input).map(|axes| axes.map(|axis| axis + lead))
            }
            Base::Flip(o) => of(&o.input).filter(|axes| o.axes.iter().all(|dim| other(axes, *dim))),
            Base::Select(o) => of(&o.tensor).filter(|axes| other(axes, o.dim)),
            Base::Gather(o) => of(&o.tensor).filter(|axes| other(axes, o.dim)),
            Base::Cat(o) => o.tensors.iter().find_map(of).filter(|axes| other(axes, o.dim)),
            Base::RepeatDim(o) => of(&o.tensor).filter(|axes| other(axes, o.dim)),
            // A part of the sequence has another length, which is no sequence.
            Base::Slice(o) => of(&o.tensor).filter(|_| o.ranges.iter().all(|slice| slice.step() == 1)),
            Base::MaskWhere(o) => of(&o.tensor),
            Base::MaskFill(o) => of(&o.tensor),
            _ => None,
        }
    }

    /// Returns which rows of an operand count, if not all do; an error if that cannot be told.
    ///
    /// `rows` is the shape of the rows, and `axis_of` the axis of the rows that an axis of the tensor became.
    pub(super) fn counts(
        &self,
        tensor: TensorId,
        rows: &[usize],
        axis_of: impl Fn(usize) -> Option<usize>,
        positions: &Positions,
    ) -> Result<Option<Vec<bool>>, [usize; 2]> {
        let Positions { shape: [batch, len], count } = positions;
        let total: usize = rows.iter().product();
        let found = self.of.get(&tensor).and_then(|axes| Some([axis_of(axes[0])?, axis_of(axes[1])?]));
        if let Some([b, s]) = found.filter(|axes| self.fit(*axes, rows)) {
            let at = |row: usize, axis: usize| row / rows[axis + 1..].iter().product::<usize>() % rows[axis];
            let place = |row: usize| if b == s { at(row, b) } else { at(row, b) * len + at(row, s) };
            return Ok(Some((0..total).map(|row| count[place(row)]).collect()));
        }
        match rows {
            [number] | [1, number] if *number == batch * len && !self.known => Ok(Some(count.clone())),
            // The positions of a picture, row by row.
            [b, rest @ ..] if b == batch && rest.iter().product::<usize>() == *len && !self.known => {
                Ok(Some(count.clone()))
            }
            // What is computed once for the batch, or for each example, has no padding.
            [1, ..] => Ok(None),
            _ if total <= *batch => Ok(None),
            _ => Err([*batch, *len]),
        }
    }
}
