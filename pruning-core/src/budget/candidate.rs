//! A set of units that may be pruned, with all that choosing needs to know of it: [`Candidate`].

use crate::budget::Amount;
use crate::score::{MatrixLayout, Order, Reduction, Units};

/// A set of units that compete for a budget: those of one parameter, or a coupled group of several, named after one of them.
///
/// ```
/// use pruning_core::budget::{Amount, Candidate, ChooseRules, Sparsity, choose_masks};
/// use pruning_core::score::{ElementScores, Granularity, MatrixLayout, Order, Reduction, Units};
/// let scores = [0.5, -2.0, 1.0, 1.0, 3.0, -0.1];
/// let layout = MatrixLayout::row_major(3, 2);
/// let units = Units::of(Granularity::CHANNEL, layout, ElementScores::new(&scores));
/// // Two of three channels are pruned, by an amount of the candidate's own; the largest weight of a channel scores it.
/// let candidate = Candidate::new("fc1.weight", layout, units)
///     .with_ranking(Order::Absolute, Reduction::Max)
///     .with_own(Some(Amount::OfTotal(Sparsity::new(0.6)?)));
/// let chosen = choose_masks(&[candidate], &ChooseRules::new(Amount::Count(0)))?;
/// assert_eq!(chosen[0].keep.to_bools(), [false, false, false, false, true, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Creates a candidate of the parameter at `path`, or of a coupled group that is named after it.
    ///
    /// By default the highest scores stay, and a unit scores the sum of its elements.
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

    /// Sets what allocators see of the layer: its type, such as `Linear`, the parameter's own shape, and its place among the candidates
    /// in the order of the model.
    pub fn with_layer(self, kind: &'a str, shape: &'a [usize], place: usize) -> Self {
        Self { kind, shape, place, ..self }
    }

    /// Sets how element scores rank, and how they become unit scores.
    pub fn with_ranking(self, order: Order, reduction: Reduction) -> Self {
        Self { order, reduction, ..self }
    }

    /// Sets a factor above 0 that multiplies all scores before candidates are compared. Exact scores already contain it.
    pub fn with_factor(self, factor: f32) -> Self {
        Self { factor, ..self }
    }

    /// Sets an amount of the candidate's own, apart from the shared budget.
    pub fn with_own(self, own: Option<Amount>) -> Self {
        Self { own, ..self }
    }

    /// Sets the least number of units that stay, 1 by default; a candidate with fewer units keeps all of them.
    pub fn with_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// Sets the multiply-accumulates that each weight takes, if a trace shows them.
    pub fn with_uses(self, uses: Option<usize>) -> Self {
        Self { macs: uses.map(|uses| self.weights * uses), ..self }
    }

    /// Sets the parameters and multiply-accumulates that go with one unit.
    pub fn with_unit_cost(self, weights: usize, macs: usize) -> Self {
        Self { weights, macs: Some(macs), ..self }
    }
}
