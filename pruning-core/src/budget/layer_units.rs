//! A layer as allocators see it: [`LayerUnits`], and the [`Measure`] of its units.

use crate::budget::Scores;
use crate::score::MatrixLayout;

/// The quantity in which a budget is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The number of units, whatever their size. The total is met exactly.
    #[default]
    Units,
    /// The weights of the units.
    Weights,
    /// The multiply-accumulates of the units, where they are known.
    Macs,
}

/// A layer as an allocator sees it.
///
/// ```
/// use pruning_core::budget::{Allocator, LayerUnits, Scores};
/// use pruning_core::score::{MatrixLayout, Order};
/// let scores = Scores::new(&[0.4, 0.1, 0.3, 0.2], Order::Value)?;
/// let layer = LayerUnits::new("fc1.weight", MatrixLayout::row_major(2, 2), &scores).with_bounds(1, 2);
/// assert_eq!((layer.units(), layer.alive(), layer.least, layer.even), (4, 4, 1, 2));
/// # Ok::<(), pruning_core::score::NonFinite>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LayerUnits<'a> {
    /// The path of the parameter.
    pub path: &'a str,
    /// The type of the layer: `Linear`, `Conv2d`, ...
    pub kind: &'a str,
    /// The parameter's own shape.
    pub shape: &'a [usize],
    /// The matrix view of the parameter.
    pub layout: MatrixLayout,
    /// The place among the pruned layers in the order of the model, from 0; only for rules about the first and last layer.
    pub place: usize,
    /// The scores of the units.
    pub scores: &'a Scores<'a>,
    /// The least number of units that must stay: 1, or 0 where the recipe allows an empty layer.
    pub least: usize,
    /// The number of units that the layer keeps if it is pruned by the asked amount alone.
    pub even: usize,
    /// The weights of one unit.
    pub weights: usize,
    /// The multiply-accumulates of one unit, if a trace shows them.
    pub macs: Option<usize>,
}

impl<'a> LayerUnits<'a> {
    /// Creates the layer at `path` with the scores of its units.
    ///
    /// By default its type and shape are empty, it comes first in the model, one unit must stay, all units stay if it is pruned by itself, a
    /// unit has one weight, and its multiply-accumulates are not known.
    #[must_use]
    pub fn new(path: &'a str, layout: MatrixLayout, scores: &'a Scores<'a>) -> Self {
        let (least, even) = (scores.alive().min(1), scores.alive());
        Self { path, kind: "", shape: &[], layout, place: 0, scores, least, even, weights: 1, macs: None }
    }

    /// Sets the type of the layer, the parameter's own shape, and the place among the pruned layers in the order of the model.
    #[must_use]
    pub fn with_layer(self, kind: &'a str, shape: &'a [usize], place: usize) -> Self {
        Self { kind, shape, place, ..self }
    }

    /// Sets the least number of units that must stay, and the number that stays if the layer is pruned by the asked amount alone.
    #[must_use]
    pub fn with_bounds(self, least: usize, even: usize) -> Self {
        Self { least, even, ..self }
    }

    /// Sets the weights and the multiply-accumulates of one unit.
    #[must_use]
    pub fn with_unit_cost(self, weights: usize, macs: Option<usize>) -> Self {
        Self { weights, macs, ..self }
    }

    /// Returns the number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.scores.len()
    }

    /// Returns the number of units that are not pruned yet: the most that can stay.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.scores.alive()
    }

    /// Returns what one unit measures; `None` where that is not known.
    #[must_use]
    pub fn cost(&self, measure: Measure) -> Option<usize> {
        match measure {
            Measure::Units => Some(1),
            Measure::Weights => Some(self.weights),
            Measure::Macs => self.macs,
        }
    }
}
