//! What is pruned, and what is known of it: [`Candidate`].

use crate::budget::Amount;
use crate::score::{MatrixLayout, Order, Reduction, Units};

/// Units that compete for a budget: of one parameter, or a coupled group of several, named after one of them.
#[derive(Clone, Debug)]
#[must_use]
pub struct Candidate<'a> {
    pub(crate) path: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) layout: MatrixLayout,
    pub(crate) place: usize,
    pub(crate) units: Units<'a>,
    pub(crate) order: Order,
    pub(crate) reduction: Reduction,
    pub(crate) factor: f32,
    pub(crate) own: Option<Amount>,
    pub(crate) least: usize,
    pub(crate) weights: usize,
    pub(crate) macs: Option<usize>,
}

impl<'a> Candidate<'a> {
    /// The units of the parameter at `path`, or of a coupled group that is named after it. The highest scores stay, and a unit scores the
    /// sum of its elements.
    pub fn new(path: &'a str, layout: MatrixLayout, units: Units<'a>) -> Self {
        // Of blocks at ragged edges, the mean.
        let weights = layout.len().div_ceil(units.len().max(1));
        Self {
            path,
            kind: "",
            shape: &[],
            layout,
            place: 0,
            units,
            order: Order::Value,
            reduction: Reduction::Sum,
            factor: 1.0,
            own: None,
            least: 1,
            weights,
            macs: None,
        }
    }

    /// What allocators see of the layer: its type, such as `Linear`, the parameter's own shape, and its place among the candidates in the
    /// order of the model.
    pub fn with_layer(self, kind: &'a str, shape: &'a [usize], place: usize) -> Self {
        Self { kind, shape, place, ..self }
    }

    /// How element scores rank, and how they become unit scores.
    pub fn with_ranking(self, order: Order, reduction: Reduction) -> Self {
        Self { order, reduction, ..self }
    }

    /// A factor above 0 that all scores are multiplied by before candidates are compared. Exact scores have it in them.
    pub fn with_factor(self, factor: f32) -> Self {
        Self { factor, ..self }
    }

    /// An amount of its own, apart from the shared budget.
    pub fn with_own(self, own: Option<Amount>) -> Self {
        Self { own, ..self }
    }

    /// The least units that stay, 1 by default; a candidate that has fewer keeps all.
    pub fn with_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// Multiply-accumulates that each weight takes, if a trace says so.
    pub fn with_uses(self, uses: Option<usize>) -> Self {
        Self { macs: uses.map(|uses| self.weights * uses), ..self }
    }

    /// Parameters and multiply-accumulates that one unit takes with it.
    pub fn with_unit_cost(self, weights: usize, macs: usize) -> Self {
        Self { weights, macs: Some(macs), ..self }
    }
}
