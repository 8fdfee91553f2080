//! The channels of a network that belong together: labels on the axes of its tensors, joined by its operations.
//!
//! Every position along an axis that may be removed carries a label. An operation joins the labels of its operands (an addition those at
//! equal positions, a convolution the channels of its input with the columns of its weight), or maps them (a flattening repeats them, a
//! concatenation appends them). The labels of one set are removed together, from every parameter on whose axes they lie. This is the
//! dependency graph of [DepGraph](https://arxiv.org/abs/2301.12900) (Fang et al. 2023, section 3.2), kept for each position instead of
//! each layer, so that slices, rolls, shuffles and concatenations need no cases of their own.
//!
//! If an operation splits an axis in two, as attention splits channels into heads, both factors have labels, and an entry is removed when
//! either factor is. [`AxisGraph::solve`] decides which of the two is free: whole heads, or the same positions of every head.
//!
//! ```
//! use pruning_core::graph::{AxisGraph, Factor};
//! let mut graph = AxisGraph::new();
//! // y = W2 relu(W1 x): the rows of W1 are the columns of W2. The columns of W1 and the rows of W2 must stay.
//! let (w1, w2) = (graph.param(&[3, 2]), graph.param(&[4, 3]));
//! let [rows1, cols1] = [0, 1].map(|axis| graph.dims(w1)[axis].clone());
//! let [rows2, cols2] = [0, 1].map(|axis| graph.dims(w2)[axis].clone());
//! graph.join(&rows1, &cols2, false, "a product");
//! graph.pin(&cols1, "an input");
//! graph.pin(&rows2, "an output");
//! let solved = graph.solve(Factor::Outer);
//! assert_eq!(solved.groups.len(), 1);
//! assert_eq!(solved.groups[0].units.len(), 3);
//! assert_eq!(solved.groups[0].units[1].positions, [[1], [1]]);
//! assert_eq!(solved.pinned.len(), 2);
//! ```
//!
//! # Contract
//!
//! Every position along an axis of a parameter has a label. Operations join labels (an addition those at equal positions, a product the
//! columns of one operand with the rows of the other) or map them (slice, concatenation, reshape). A set of joined labels is removed
//! together; sets on the same axes compete as one group. Sets that meet an input, an output, a mean or a softmax along their axis are
//! pinned, with the reason. Beside the labels, an axis records whether its removed entries are zero before they are removed (`sigmoid`
//! loses that), since a sum over them is exact only then.
//!
//! A reshape that splits an axis records the split: an entry is removed when either factor is. Solving leaves one factor free, whole
//! heads or the same positions of each, and takes the other factor where the first leads nowhere. Even pieces (`chunk`) stay even, if all
//! of them are there. A lone slice keeps its axis, since its size may be written down; so does a tensor that the code creates and joins
//! with another one.

mod labels;
mod plan;
mod removal;
mod reshape;
mod solve;

pub use labels::Label;
use labels::Labels;
pub use plan::{Cut, FieldChange, GroupCut, PlanError, Product, Rule, ShrinkPlan, Totals};
pub use removal::{Removal, RemovalError};
pub use solve::{Factor, Group, Groups, Member, Pinned, Unit};
use std::sync::Arc;

/// One axis of a tensor.
#[derive(Clone, Debug)]
pub enum Dim {
    /// No position of the axis is removed.
    Fixed(usize),
    /// Positions of the axis may be removed.
    Free {
        /// The label of each position.
        labels: Arc<[Label]>,
        /// Whether an entry at a removed position is zero before it is removed.
        zero: bool,
    },
}

impl Dim {
    /// Returns the number of positions along the axis.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Free { labels, .. } => labels.len(),
        }
    }

    /// Returns whether the axis has no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether positions may be removed.
    #[must_use]
    pub fn is_free(&self) -> bool {
        matches!(self, Self::Free { .. })
    }

    /// Returns whether entries at removed positions are zero; true where nothing is removed.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        matches!(self, Self::Fixed(_) | Self::Free { zero: true, .. })
    }

    /// Returns whether both axes have the same labels, position by position.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Free { labels: a, .. }, Self::Free { labels: b, .. }) => Arc::ptr_eq(a, b) || a == b,
            (Self::Fixed(a), Self::Fixed(b)) => a == b,
            _ => false,
        }
    }

    /// Returns the axis after an operation that keeps zeros (`true`) or may not.
    #[must_use]
    pub fn keeping_zero(&self, keeps: bool) -> Self {
        match self {
            Self::Fixed(size) => Self::Fixed(*size),
            Self::Free { labels, zero } => Self::Free { labels: labels.clone(), zero: *zero && keeps },
        }
    }
}

/// The number of a parameter in the graph.
pub type ParamIndex = usize;

/// An axis that is split into several factors.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) whole: Arc<[Label]>,
    /// Labels of each factor, outermost first.
    pub(crate) factors: Vec<Arc<[Label]>>,
}

/// The labels of all axes of a network, with the operations that join them.
#[derive(Clone, Debug, Default)]
pub struct AxisGraph {
    labels: Labels,
    splits: Vec<Split>,
    params: Vec<Vec<Dim>>,
}

impl AxisGraph {
    /// Creates a graph without parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter, whose axes are all free and zero at removed positions.
    pub fn param(&mut self, shape: &[usize]) -> ParamIndex {
        let dims = shape.iter().map(|&size| self.fresh(size, true)).collect();
        self.params.push(dims);
        self.params.len() - 1
    }

    /// Returns the axes of a parameter.
    #[must_use]
    pub fn dims(&self, param: ParamIndex) -> &[Dim] {
        &self.params[param]
    }

    /// Creates a free axis.
    pub fn fresh(&mut self, size: usize, zero: bool) -> Dim {
        Dim::Free { labels: self.labels.fresh(size).into(), zero }
    }

    /// Keeps every position of an axis.
    pub fn pin(&mut self, dim: &Dim, why: &str) {
        if let Dim::Free { labels, .. } = dim {
            let reason = self.labels.reason(why);
            labels.iter().for_each(|&l| self.labels.pin(l, reason));
        }
    }

    /// Keeps one position of an axis.
    pub fn pin_at(&mut self, dim: &Dim, position: usize, why: &str) {
        if let Dim::Free { labels, .. } = dim {
            let reason = self.labels.reason(why);
            self.labels.pin(labels[position], reason);
        }
    }

    /// Joins two axes of one size position by position.
    ///
    /// The result is zero where both are zero, or with `product` where one is. Axes of different sizes stay.
    pub fn join(&mut self, a: &Dim, b: &Dim, product: bool, why: &str) -> Dim {
        if a.len() != b.len() {
            self.pin(a, why);
            self.pin(b, why);
            return Dim::Fixed(a.len().max(b.len()));
        }
        match (a, b) {
            (Dim::Fixed(size), Dim::Fixed(_)) => Dim::Fixed(*size),
            (Dim::Free { labels: x, zero: p }, Dim::Free { labels: y, zero: q }) => {
                if !Arc::ptr_eq(x, y) {
                    x.iter().zip(y.iter()).for_each(|(&x, &y)| self.labels.join(x, y));
                }
                Dim::Free { labels: x.clone(), zero: if product { *p || *q } else { *p && *q } }
            }
            (free, Dim::Fixed(size)) | (Dim::Fixed(size), free) => {
                self.pin(free, why);
                Dim::Fixed(*size)
            }
        }
    }

    /// Returns the axes of an element-wise result: axes of size one are stretched, and the others are joined. Missing leading axes count
    /// as one.
    pub fn broadcast(&mut self, a: &[Dim], b: &[Dim], product: bool, why: &str) -> Vec<Dim> {
        let rank = a.len().max(b.len());
        let at = |dims: &[Dim], i: usize| {
            let lead = rank - dims.len();
            if i < lead { Dim::Fixed(1) } else { dims[i - lead].clone() }
        };
        (0..rank)
            .map(|i| {
                let (a, b) = (at(a, i), at(b, i));
                match (a.len(), b.len()) {
                    (1, 1) => self.join(&a, &b, product, why),
                    // A single entry that is spread over an axis cannot go. What it is added to is no longer zero.
                    (1, _) => {
                        self.pin(&a, why);
                        b.keeping_zero(product)
                    }
                    (_, 1) => {
                        self.pin(&b, why);
                        a.keeping_zero(product)
                    }
                    _ => self.join(&a, &b, product, why),
                }
            })
            .collect()
    }

    /// Takes some positions of an axis, in the given order.
    #[must_use]
    pub fn take(&self, dim: &Dim, positions: impl Iterator<Item = usize>) -> Dim {
        match dim {
            Dim::Fixed(_) => Dim::Fixed(positions.count()),
            Dim::Free { labels, zero } => Dim::Free { labels: positions.map(|i| labels[i]).collect(), zero: *zero },
        }
    }

    /// Puts axes one after the other.
    pub fn concat(&mut self, dims: &[Dim]) -> Dim {
        if dims.iter().all(|d| !d.is_free()) {
            return Dim::Fixed(dims.iter().map(Dim::len).sum());
        }
        let mut labels = Vec::with_capacity(dims.iter().map(Dim::len).sum());
        for dim in dims {
            match dim {
                Dim::Free { labels: l, .. } => labels.extend_from_slice(l),
                Dim::Fixed(size) => {
                    let fixed = self.labels.fresh(*size);
                    let reason = self.labels.reason("concatenated with an axis that stays");
                    fixed.iter().for_each(|&l| self.labels.pin(l, reason));
                    labels.extend(fixed);
                }
            }
        }
        Dim::Free { labels: labels.into(), zero: dims.iter().all(Dim::is_zero) }
    }
}
