//! Tensors of a trace that hold the entries of a parameter in another order: [`WeightView`].

use crate::score::statistics::Reads;
use burn_ir::{BaseOperationIr as Base, OperationIr, TensorId};
use pruning_core::score::MatrixLayout;
use std::collections::HashMap;

/// A tensor whose entries are those of a parameter, as a strided view of its memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WeightView {
    /// The index of the parameter in the trace.
    pub(super) param: usize,
    offset: usize,
    /// Length and stride of each axis.
    axes: Vec<(usize, usize)>,
}

/// A tensor that is made of weights: of a view, or of several side by side along its last axis.
pub(super) type Weights = Vec<WeightView>;

impl WeightView {
    fn whole(param: usize, shape: &[usize]) -> Self {
        let (mut stride, mut axes) = (1, Vec::with_capacity(shape.len()));
        for &len in shape.iter().rev() {
            axes.push((len, stride));
            stride *= len;
        }
        axes.reverse();
        Self { param, offset: 0, axes }
    }

    /// Whether the view is the parameter as it is.
    pub(super) fn is_whole(&self, shape: &[usize]) -> bool {
        *self == Self::whole(self.param, shape)
    }

    /// Whether the matrix has all entries of the parameter.
    pub(super) fn is_of_all(&self, layout: &MatrixLayout) -> bool {
        let entries: usize = self.axes.iter().filter(|(_, stride)| *stride != 0).map(|(len, _)| len).product();
        entries >= layout.len()
    }

    fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        // Neighboring axes that lie in memory as one are one.
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for &(len, stride) in self.axes.iter().filter(|(len, _)| *len != 1) {
            match merged.last_mut() {
                Some(last) if last.1 == stride * len => *last = (last.0 * len, stride),
                _ => merged.push((len, stride)),
            }
        }
        let mut blocks = merged.into_iter();
        let (mut axes, mut rest) = (Vec::with_capacity(shape.len()), (1, 0));
        for &len in shape {
            if len == 1 {
                axes.push((1, 0));
                continue;
            }
            if rest.0 == 1 {
                rest = blocks.next()?;
            }
            if !rest.0.is_multiple_of(len) {
                return None;
            }
            rest.0 /= len;
            axes.push((len, rest.1 * rest.0));
        }
        (rest.0 == 1 && blocks.next().is_none()).then_some(Self { axes, ..*self })
    }

    fn index(&self, at: [usize; 2]) -> usize {
        let last = &self.axes[self.axes.len() - 2..];
        self.offset + at[0] * last[0].1 + at[1] * last[1].1
    }

    /// Returns how an operand with as many columns as this matrix has rows (or columns, if it is `transposed`) meets the parameter.
    pub(super) fn reads(&self, layout: &MatrixLayout, transposed: bool) -> Option<Reads> {
        let (lead, matrix) = self.axes.split_last_chunk::<2>()?;
        // One matrix for the whole batch.
        if lead.iter().any(|&(len, stride)| len != 1 && stride != 0) {
            return None;
        }
        let [inputs, outputs] = if transposed { [matrix[1].0, matrix[0].0] } else { [matrix[0].0, matrix[1].0] };
        let at = |k: usize, n: usize| self.index(if transposed { [n, k] } else { [k, n] });
        // Outputs are an axis with one stride, so the first, the second and the last of them speak for all.
        let sample = [0, 1, outputs.saturating_sub(1)];
        let all = |same: &dyn Fn(usize, usize) -> bool| {
            (0..inputs).all(|k| sample.iter().filter(|&&n| n < outputs).all(|&n| same(k, at(k, n))))
        };
        if inputs == layout.cols() && all(&|k, index| layout.position(index).1 == k) {
            Some(Reads::Columns)
        } else if inputs == layout.rows() && all(&|k, index| layout.position(index).0 == k) {
            Some(Reads::Rows)
        } else {
            None
        }
    }
}

/// Follows weights through operations that move their entries.
pub(super) fn follow(known: &mut HashMap<TensorId, Weights>, op: &OperationIr) {
    let OperationIr::BaseFloat(op) = op else { return };
    let of = |id: &TensorId| known.get(id);
    let each = |id: &TensorId, change: &dyn Fn(&WeightView) -> Option<WeightView>| match of(id).map(Vec::as_slice) {
        Some([one]) => change(one).map(|view| vec![view]),
        _ => None,
    };
    let permuted = |view: &WeightView, order: &mut dyn Iterator<Item = usize>| {
        Some(WeightView { axes: order.map(|axis| view.axes[axis]).collect(), ..*view })
    };
    let (out, made) = match op {
        Base::Reshape(o) => {
            let shape = o.out.shape.as_slice();
            // Weights side by side stay so if only axes of one entry come or go in front.
            let tail = |shape: &[usize]| shape.iter().copied().skip_while(|&len| len == 1).collect::<Vec<_>>();
            let same = tail(shape) == tail(o.input.shape.as_slice());
            let several = || of(&o.input.id).filter(|views| same && views.len() > 1).cloned();
            (&o.out, each(&o.input.id, &|view| view.reshaped(shape)).or_else(several))
        }
        Base::Cast(o) => (&o.out, of(&o.input.id).cloned()),
        Base::SwapDims(o) => {
            let (rank, swap) = (o.input.shape.as_slice().len(), |axis| match axis {
                axis if axis == o.dim1 => o.dim2,
                axis if axis == o.dim2 => o.dim1,
                axis => axis,
            });
            (&o.out, each(&o.input.id, &|view| permuted(view, &mut (0..rank).map(swap))))
        }
        Base::Permute(o) => (&o.out, each(&o.input.id, &|view| permuted(view, &mut o.axes.iter().copied()))),
        Base::Expand(o) => {
            let shape = o.out.shape.as_slice();
            let expand = |view: &WeightView| {
                let lead = shape.len() - view.axes.len();
                let axis = |(i, &len): (usize, &usize)| match i.checked_sub(lead).map(|i| view.axes[i]) {
                    Some(axis) if axis.0 == len => axis,
                    _ => (len, 0),
                };
                Some(WeightView { axes: shape.iter().enumerate().map(axis).collect(), ..*view })
            };
            (&o.out, each(&o.input.id, &expand))
        }
        Base::Slice(o) => {
            let slice = |view: &WeightView| {
                let mut part = view.clone();
                for (axis, slice) in o.ranges.iter().enumerate() {
                    let (len, stride) = view.axes[axis];
                    let range = slice.to_range(len);
                    let step = usize::try_from(slice.step()).ok().filter(|&step| step > 0)?;
                    part.offset += range.start * stride;
                    part.axes[axis] = (range.len().div_ceil(step), stride * step);
                }
                Some(part)
            };
            (&o.out, each(&o.tensor.id, &slice))
        }
        Base::Cat(o) => {
            let last = o.dim + 1 == o.out.shape.as_slice().len();
            let parts: Option<Vec<&WeightView>> = o
                .tensors
                .iter()
                .map(|t| of(&t.id).and_then(|views| <&[_; 1]>::try_from(views.as_slice()).ok()).map(|[v]| v))
                .collect();
            (&o.out, parts.filter(|_| last).map(|parts| parts.into_iter().cloned().collect()))
        }
        _ => return,
    };
    if let Some(made) = made {
        known.insert(out.id, made);
    }
}

/// Returns the parameters themselves, from which views start.
pub(super) fn parameters<'a>(
    params: impl Iterator<Item = (TensorId, usize, &'a [usize])>,
) -> HashMap<TensorId, Weights> {
    params.map(|(id, param, shape)| (id, vec![WeightView::whole(param, shape)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_tell_which_axis_is_summed_over() {
        let linear = MatrixLayout::column_major(5, 3);
        let whole = WeightView::whole(0, &[3, 5]);
        assert_eq!(whole.reads(&linear, false), Some(Reads::Columns));
        assert_eq!(whole.reshaped(&[1, 3, 5]).and_then(|v| v.reads(&linear, false)), Some(Reads::Columns));
        assert_eq!(whole.reads(&linear, true), Some(Reads::Rows));
        // A parameter [in, heads, size] of a user's own: its first axis counts as rows.
        let own = MatrixLayout::row_major(3, 8);
        let heads = WeightView::whole(0, &[3, 2, 4]).reshaped(&[3, 8]).unwrap();
        assert_eq!(heads.reads(&own, false), Some(Reads::Rows));
        assert_eq!(WeightView::whole(0, &[3, 2, 4]).reads(&own, false), None);
        // Entries in an order that no matrix has.
        assert_eq!(WeightView::whole(0, &[3, 5]).reshaped(&[5, 3]).unwrap().reads(&linear, false), None);
    }

    #[test]
    fn reshaping_keeps_the_order_of_entries() {
        let swapped = WeightView { axes: vec![(5, 1), (3, 5)], ..WeightView::whole(0, &[3, 5]) };
        assert_eq!(swapped.reshaped(&[15]), None);
        assert_eq!(swapped.reshaped(&[5, 1, 3]).unwrap().axes, [(5, 1), (1, 0), (3, 5)]);
        assert_eq!(WeightView::whole(0, &[6]).reshaped(&[2, 3]).unwrap().axes, [(2, 3), (3, 1)]);
    }
}
