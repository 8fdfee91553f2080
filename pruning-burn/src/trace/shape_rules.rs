//! Rules for operations that move entries.

use super::Trace;
use super::rules::Analysis;
use burn_ir::{BaseOperationIr as Base, OperationIr, TensorId, TensorIr};
use pruning_core::graph::Dim;
use std::collections::HashMap;

/// Axes that are cut into even pieces, as `chunk` does, with the length of a piece.
///
/// Code that does so takes the length from the tensor it cuts, so pieces must stay even: what goes from one goes from all.
pub(crate) fn chunks(trace: &Trace) -> HashMap<(TensorId, usize), usize> {
    let mut pieces: HashMap<(TensorId, usize), Option<usize>> = HashMap::new();
    for op in &trace.operations {
        let (OperationIr::BaseFloat(Base::Slice(o)) | OperationIr::BaseInt(Base::Slice(o))) = op else { continue };
        for (axis, slice) in o.ranges.iter().enumerate() {
            let size = o.tensor.shape.as_slice()[axis];
            let range = slice.to_range(size);
            let len = range.len();
            if len == size {
                continue;
            }
            let even = slice.step() == 1 && len > 0 && size.is_multiple_of(len) && range.start.is_multiple_of(len);
            let piece = pieces.entry((o.tensor.id, axis)).or_insert(even.then_some(len));
            if *piece != Some(len) || !even {
                *piece = None;
            }
        }
    }
    pieces.into_iter().filter_map(|(at, len)| Some((at, len?))).collect()
}

impl Analysis<'_> {
    pub(crate) fn base_rule(&mut self, op: &Base) -> bool {
        match op {
            Base::Reshape(o) => {
                let dims = self.of(&o.input);
                let dims = self.graph.reshape(&dims, o.out.shape.as_slice(), "an axis of one entry");
                self.set(&o.out, dims);
            }
            Base::SwapDims(o) => {
                let mut dims = self.of(&o.input);
                dims.swap(o.dim1, o.dim2);
                self.set(&o.out, dims);
            }
            Base::Permute(o) => {
                let dims = self.of(&o.input);
                let dims = o.axes.iter().map(|&a| dims[a].clone()).collect();
                self.set(&o.out, dims);
            }
            Base::Flip(o) => {
                let mut dims = self.of(&o.input);
                for &axis in &o.axes {
                    let len = dims[axis].len();
                    dims[axis] = self.graph.take(&dims[axis], (0..len).rev());
                }
                self.set(&o.out, dims);
            }
            Base::Expand(o) => {
                let dims = self.of(&o.input);
                let shape = o.out.shape.as_slice();
                let stretched: Vec<_> = shape.iter().map(|&s| Dim::Fixed(s)).collect();
                let lead = shape.len() - dims.len();
                let out = (0..shape.len())
                    .map(|i| match i.checked_sub(lead).map(|j| &dims[j]) {
                        Some(dim) if dim.len() == shape[i] => dim.clone(),
                        Some(dim) => {
                            self.graph.pin(dim, "an axis of one entry");
                            stretched[i].clone()
                        }
                        None => stretched[i].clone(),
                    })
                    .collect();
                self.set(&o.out, out);
            }
            Base::RepeatDim(o) => {
                let mut dims = self.of(&o.tensor);
                dims[o.dim] = self.graph.concat(&vec![dims[o.dim].clone(); o.times]);
                self.set(&o.out, dims);
            }
            Base::Unfold(o) => {
                let mut dims = self.of(&o.input);
                self.graph.pin(&dims[o.dim], "windows are taken along it");
                let shape = o.out.shape.as_slice();
                dims[o.dim] = Dim::Fixed(shape[o.dim]);
                dims.push(Dim::Fixed(shape[shape.len() - 1]));
                self.set(&o.out, dims);
            }
            Base::Slice(o) => self.slice(o.tensor.id, &o.tensor, &o.ranges, &o.out),
            Base::SliceAssign(o) => {
                let (mut dims, value) = (self.of(&o.tensor), self.of(&o.value));
                for axis in 0..dims.len() {
                    let size = dims[axis].len();
                    let whole = o.ranges.get(axis).is_none_or(|s| s.step() == 1 && s.to_range(size).len() == size);
                    if whole {
                        dims[axis] =
                            self.graph.join(&dims[axis], &value[axis], false, "written over an axis that stays");
                    } else {
                        self.pin(&[dims[axis].clone(), value[axis].clone()], "written in part");
                        dims[axis] = Dim::Fixed(size);
                    }
                }
                self.set(&o.out, dims);
            }
            Base::Select(o) => {
                let mut dims = self.of(&o.tensor);
                self.graph.pin(&dims[o.dim], "entries are chosen by their index");
                dims[o.dim] = Dim::Fixed(o.out.shape.as_slice()[o.dim]);
                self.set(&o.out, dims);
            }
            Base::Gather(o) => {
                let (dims, indices) = (self.of(&o.tensor), self.of(&o.indices));
                self.pin(&dims, "entries are chosen by their index");
                self.pin(&indices, "entries are chosen by their index");
                self.set_fixed(&o.out);
            }
            Base::MaskWhere(o) => {
                let (a, b, mask) = (self.of(&o.tensor), self.of(&o.value), self.of(&o.mask));
                let dims = self.graph.broadcast(&a, &b, false, "chosen from an axis that stays");
                let mask: Vec<_> = mask.iter().map(|d| d.keeping_zero(false)).collect();
                let dims = self.graph.broadcast(&dims, &mask, true, "masked along an axis that stays");
                self.set(&o.out, dims);
            }
            Base::MaskFill(o) => {
                let (dims, mask) = (self.of(&o.tensor), self.of(&o.mask));
                let mask: Vec<_> = mask.iter().map(|d| d.keeping_zero(false)).collect();
                let zero = o.value.elem::<f64>() == 0.0;
                let dims = self.graph.broadcast(&dims, &mask, true, "masked along an axis that stays");
                let dims = dims.iter().map(|d| d.keeping_zero(zero)).collect();
                self.set(&o.out, dims);
            }
            Base::Equal(o) | Base::NotEqual(o) => {
                let (a, b) = (self.of(&o.lhs), self.of(&o.rhs));
                let dims = self.graph.broadcast(&a, &b, false, "compared with an axis that stays");
                let dims = dims.iter().map(|d| d.keeping_zero(false)).collect();
                self.set(&o.out, dims);
            }
            Base::EqualElem(o) | Base::NotEqualElem(o) => self.unary(&o.lhs, &o.out, false),
            Base::Cat(o) => {
                let all: Vec<_> = o.tensors.iter().map(|t| self.of(t)).collect();
                let mut dims = all[0].clone();
                for other in &all[1..] {
                    for axis in (0..dims.len()).filter(|&a| a != o.dim) {
                        dims[axis] = self.graph.join(&dims[axis], &other[axis], false, "beside an axis that stays");
                    }
                }
                let parts: Vec<_> = all.iter().map(|d| d[o.dim].clone()).collect();
                dims[o.dim] = self.graph.concat(&parts);
                self.set(&o.out, dims);
            }
            Base::Cast(o) => self.unary(&o.input, &o.out, true),
            Base::Empty(o) | Base::Zeros(o) => self.create(&o.out, true),
            Base::Ones(o) => self.create(&o.out, false),
            _ => return false,
        }
        true
    }

    fn slice(&mut self, id: TensorId, tensor: &TensorIr, ranges: &[burn::tensor::Slice], out: &TensorIr) {
        let mut dims = self.of(tensor);
        for (axis, slice) in ranges.iter().enumerate() {
            let size = dims[axis].len();
            let (range, step) = slice.to_range_and_step(size);
            if !dims[axis].is_free() {
                dims[axis] = Dim::Fixed(out.shape.as_slice()[axis]);
                continue;
            }
            if range.len() == size && step == 1 {
                continue;
            }
            match self.chunks.get(&(id, axis)) {
                Some(&len) => {
                    let first = self.graph.take(&dims[axis], 0..len);
                    for start in (len..size).step_by(len) {
                        let piece = self.graph.take(&dims[axis], start..start + len);
                        self.graph.join(&first, &piece, false, "even pieces of an axis");
                    }
                    dims[axis] = self.graph.take(&dims[axis], range);
                }
                None => {
                    self.graph.pin(&dims[axis], "cut at positions that the code may have written down");
                    dims[axis] = Dim::Fixed(out.shape.as_slice()[axis]);
                }
            }
        }
        self.set(out, dims);
    }
}
