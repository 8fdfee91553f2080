//! Axis rules for operations that move entries.

use crate::trace::Trace;
use crate::trace::analysis::Analysis;
use burn_ir::{BaseOperationIr as Base, OperationIr, TensorId, TensorIr};
use pruning_core::graph::Dim;
use std::collections::{BTreeSet, HashMap, HashSet};

const CHOSEN: &str = "entries are chosen by their index";

/// Finds the axes that are cut into even pieces, as `chunk` does, with the length of a piece.
///
/// Such code takes the length from the tensor that it cuts, so pieces must stay even: a position is removed from all of them.
/// All pieces must be there, since the code more likely cuts a single one at fixed positions.
pub(crate) fn chunks(trace: &Trace) -> HashMap<(TensorId, usize), usize> {
    /// The length of a piece, the number of pieces, and the starts of those found.
    type Pieces = (usize, usize, BTreeSet<usize>);
    let mut pieces: HashMap<(TensorId, usize), Option<Pieces>> = HashMap::new();
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
            let piece =
                pieces.entry((o.tensor.id, axis)).or_insert_with(|| even.then(|| (len, size / len, BTreeSet::new())));
            match piece {
                Some((known, _, starts)) if even && *known == len => _ = starts.insert(range.start),
                _ => *piece = None,
            }
        }
    }
    let whole = |piece: Option<Pieces>| piece.filter(|(_, count, starts)| starts.len() == *count).map(|(len, ..)| len);
    pieces.into_iter().filter_map(|(at, piece)| Some((at, whole(piece)?))).collect()
}

impl Analysis<'_> {
    /// Applies the rule of an operation on any kind of tensor. With `fits`, a repeated axis of one entry takes its new size from the
    /// tensor that the result is used on.
    pub(crate) fn base_rule(&mut self, op: &Base, fits: bool) -> bool {
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
                let stretched: Vec<_> =
                    shape.iter().map(|&s| if fits { self.made(s, false) } else { Dim::Fixed(s) }).collect();
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
                if fits && dims[o.dim].len() == 1 && !dims[o.dim].is_free() {
                    dims[o.dim] = self.made(o.times, false);
                    self.set(&o.out, dims);
                    return true;
                }
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
                let (mut dims, indices) = (self.of(&o.tensor), self.of(&o.indices));
                self.pin(&[&dims[o.dim..=o.dim], &indices[..]].concat(), CHOSEN);
                dims[o.dim] = Dim::Fixed(o.out.shape.as_slice()[o.dim]);
                self.set(&o.out, dims);
            }
            Base::SelectAssign(o) => {
                let (mut dims, indices, value) = (self.of(&o.tensor), self.of(&o.indices), self.of(&o.value));
                self.pin(&[&dims[o.dim..=o.dim], &value[o.dim..=o.dim], &indices[..]].concat(), CHOSEN);
                for axis in (0..dims.len()).filter(|&a| a != o.dim) {
                    dims[axis] = self.graph.join(&dims[axis], &value[axis], false, CHOSEN);
                }
                dims[o.dim] = Dim::Fixed(dims[o.dim].len());
                self.set(&o.out, dims);
            }
            Base::Gather(o) => {
                let (mut dims, indices) = (self.of(&o.tensor), self.of(&o.indices));
                self.pin(&[dims[o.dim].clone(), indices[o.dim].clone()], CHOSEN);
                for axis in (0..dims.len()).filter(|&a| a != o.dim) {
                    // If the tensor has only zeros at a position, any index selects a zero.
                    let zero = dims[axis].is_zero();
                    dims[axis] = self.graph.join(&dims[axis], &indices[axis], true, CHOSEN).keeping_zero(zero);
                }
                dims[o.dim] = Dim::Fixed(indices[o.dim].len());
                self.set(&o.out, dims);
            }
            Base::All(o) | Base::Any(o) => self.reduce_all(&o.input, &o.out, false, "searched through"),
            Base::AllDim(o) | Base::AnyDim(o) => {
                self.reduce(&o.input, &o.out, &[o.axis], false, "searched through");
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
                        dims[axis] =
                            self.graph.join(&dims[axis], &other[axis], false, "concatenated with an axis that stays");
                    }
                }
                // Only the code knows the length of a piece that it creates, such as the zeros of a shortcut: a fixed number, or
                // the length of a piece of the same size.
                let len = |dims: &[Dim]| dims[o.dim].len();
                let made = |t: &TensorIr| !self.without_code && self.made.contains(&t.id);
                let made = o.tensors.iter().zip(&all).filter(|(t, _)| made(t));
                let sizes: HashSet<usize> = made.map(|(_, dims)| len(dims)).collect();
                for dims in all.iter().filter(|dims| sizes.contains(&len(dims))) {
                    self.graph.pin(
                        &dims[o.dim],
                        "concatenated with a tensor that the code creates, whose size may be fixed in the code",
                    );
                }
                let parts: Vec<_> = all.iter().map(|d| d[o.dim].clone()).collect();
                dims[o.dim] = self.graph.concat(&parts);
                self.set(&o.out, dims);
            }
            Base::Cast(o) => self.unary(&o.input, &o.out, true),
            Base::Empty(o) | Base::Zeros(o) => self.create(&o.out, true),
            Base::Ones(o) => self.create(&o.out, false),
            // Their indices may reach any position.
            Base::Scatter(_) | Base::ScatterNd(_) | Base::GatherNd(_) => return false,
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
                None if self.without_code && step == 1 => dims[axis] = self.graph.take(&dims[axis], range),
                None if self.without_code && step == -1 => dims[axis] = self.graph.take(&dims[axis], range.rev()),
                None => {
                    self.graph.pin(&dims[axis], "cut at positions that may be fixed in the code");
                    dims[axis] = Dim::Fixed(out.shape.as_slice()[axis]);
                }
            }
        }
        self.set(out, dims);
    }
}
