//! Labels through a change of shape: axes stay, merge or split.

use crate::graph::{AxisGraph, Dim, Split};
use std::sync::Arc;

impl AxisGraph {
    /// Returns the axes of a tensor under another shape of the same size.
    ///
    /// Axes are compared from the left until their products agree; the axes between two such places are merged and split again. Axes of
    /// size one come and go freely. If the sizes differ, every axis stays.
    pub fn reshape(&mut self, dims: &[Dim], shape: &[usize], why: &str) -> Vec<Dim> {
        let size = dims.iter().map(Dim::len).product::<usize>();
        if size == 0 || size != shape.iter().product::<usize>() {
            dims.iter().for_each(|d| self.pin(d, why));
            return shape.iter().map(|&s| Dim::Fixed(s)).collect();
        }
        let mut out = Vec::with_capacity(shape.len());
        let (mut i, mut j) = (0, 0);
        while i < dims.len() || j < shape.len() {
            // An axis of size one that meets another one is that one.
            if i < dims.len() && j < shape.len() && dims[i].len() == shape[j] {
                out.push(dims[i].clone());
                (i, j) = (i + 1, j + 1);
                continue;
            }
            if i < dims.len() && dims[i].len() == 1 {
                self.pin(&dims[i], why);
                i += 1;
                continue;
            }
            if j < shape.len() && shape[j] == 1 {
                out.push(Dim::Fixed(1));
                j += 1;
                continue;
            }
            let (first, from) = (i, j);
            let (mut a, mut b) = (dims[i].len(), shape[j]);
            (i, j) = (i + 1, j + 1);
            while a != b {
                if a < b {
                    a *= dims[i].len();
                    i += 1;
                } else {
                    b *= shape[j];
                    j += 1;
                }
            }
            let whole = self.merge(&dims[first..i]);
            self.split(whole, &shape[from..j], &mut out);
        }
        out
    }

    fn merge(&mut self, dims: &[Dim]) -> Dim {
        if let [one] = dims {
            return one.clone();
        }
        let size = dims.iter().map(Dim::len).product();
        let free: Vec<_> = (0..dims.len()).filter(|&k| dims[k].is_free()).collect();
        let stride = |k: usize| dims[k + 1..].iter().map(Dim::len).product::<usize>();
        match free[..] {
            [] => Dim::Fixed(size),
            [k] => {
                let (inner, len) = (stride(k), dims[k].len());
                self.take(&dims[k], (0..size).map(|at| at / inner % len))
            }
            _ => {
                let labels: Arc<[_]> = self.labels.fresh(size).into();
                let factors = dims.iter().map(|d| self.labels_of(d)).collect();
                self.splits.push(Split { whole: labels.clone(), factors });
                // An entry goes when one of its factors does, and it is zero if it is so along each of them.
                Dim::Free { labels, zero: dims.iter().all(Dim::is_zero) }
            }
        }
    }

    fn split(&mut self, whole: Dim, shape: &[usize], out: &mut Vec<Dim>) {
        match (whole, shape) {
            (whole, [_]) => out.push(whole),
            (Dim::Fixed(_), _) => out.extend(shape.iter().map(|&s| Dim::Fixed(s))),
            (Dim::Free { labels, zero }, _) => {
                let factors: Vec<_> =
                    shape.iter().map(|&s| if s == 1 { Dim::Fixed(1) } else { self.fresh(s, zero) }).collect();
                let of = factors.iter().map(|d| self.labels_of(d)).collect();
                self.splits.push(Split { whole: labels, factors: of });
                out.extend(factors);
            }
        }
    }

    /// Labels of an axis; those of one that stays are new and pinned.
    fn labels_of(&mut self, dim: &Dim) -> Arc<[super::Label]> {
        match dim {
            Dim::Free { labels, .. } => labels.clone(),
            Dim::Fixed(size) => {
                let fresh = Dim::Free { labels: self.labels.fresh(*size).into(), zero: true };
                self.pin(&fresh, "an axis that stays");
                self.labels_of(&fresh)
            }
        }
    }
}
