//! How units are chosen, and which are chosen: [`ChooseRules`], [`Compare`], [`Chosen`], [`ChooseError`].

use crate::budget::{AllocationError, Allocator, Amount, Rounding};
use crate::mask::Bits;
use crate::score::{GranularityError, NonFinite, ScoreError};
use serde::{Deserialize, Serialize};

/// The units of a layer that compete with each other for the number that the layer keeps.
///
/// In a recipe: `compare = "layer"` or `compare = "row"`. How many weights a layer keeps does not depend on it.
///
/// ```
/// use pruning_core::budget::{Amount, Candidate, ChooseRules, Compare, Sparsity, choose_masks};
/// use pruning_core::score::{ElementScores, Granularity, MatrixLayout, Units};
/// let (layout, scores) = (MatrixLayout::row_major(2, 3), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
/// let units = Units::of(Granularity::Element, layout, ElementScores::new(&scores));
/// let candidate = Candidate::new("fc1.weight", layout, units).with_own(Some(Amount::OfTotal(Sparsity::new(0.5)?)));
/// let rules = ChooseRules::new(Amount::Count(0)).with_compare(Compare::Row);
/// // Each row keeps one of its three weights. The third one that stays goes to the row whose next score is the highest.
/// let chosen = choose_masks(&[candidate], &rules)?;
/// assert_eq!(chosen[0].keep.to_bools(), [true, true, false, true, false, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// All units of the layer.
    #[default]
    Layer,
    /// The weights of one output unit: the rows of the [`MatrixLayout`](crate::score::MatrixLayout) keep the same number each, as in Wanda
    /// (Sun et al. 2024, arXiv:2306.11695, section 3). A row that has fewer weights left keeps them all. What does not divide goes to the
    /// rows whose next score is the highest, the lower row on a tie. It is for single weights.
    Row,
}

/// The rules by which units are chosen, the same for all candidates.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ChooseRules<'a> {
    /// The budget that candidates share.
    pub amount: Amount,
    /// How fractions become counts.
    pub rounding: Rounding,
    /// The allocator that shares the budget; N:M and amounts of their own need none.
    pub allocator: Option<&'a dyn Allocator>,
    /// The units of a layer that compete with each other.
    pub compare: Compare,
}

impl<'a> ChooseRules<'a> {
    /// Creates rules that round half units to even counts and have no allocator. All units of a layer compete.
    #[must_use]
    pub fn new(amount: Amount) -> Self {
        Self { amount, rounding: Rounding::HalfEven, allocator: None, compare: Compare::Layer }
    }

    /// Sets the budget that candidates share.
    #[must_use]
    pub fn with_amount(self, amount: Amount) -> Self {
        Self { amount, ..self }
    }

    /// Sets how fractions become counts.
    #[must_use]
    pub fn with_rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// Sets the allocator that shares the budget.
    #[must_use]
    pub fn with_allocator(self, allocator: Option<&'a dyn Allocator>) -> Self {
        Self { allocator, ..self }
    }

    /// Sets the units of a layer that compete with each other.
    #[must_use]
    pub fn with_compare(self, compare: Compare) -> Self {
        Self { compare, ..self }
    }
}

/// The number of units that a candidate keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quota {
    /// The number of units; for an N:M pattern, those of each group.
    pub keep: usize,
    /// The fraction of the candidate's units that was asked to be removed in all.
    pub asked: f64,
}

/// The units of a candidate that are kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Chosen {
    /// The kept elements, in memory order; the kept units for a coupled group.
    pub keep: Bits,
    /// The number of units.
    pub units: usize,
    /// The number of kept units.
    pub kept_units: usize,
    /// The fraction of the candidate's units that was asked to be removed in all.
    pub asked: f64,
}

/// An error that stops choosing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// The granularity does not fit a layer.
    #[error(
        "{path}: {source}; exclude the layer, choose another granularity, or leave all such layers dense with skip_unfit = true"
    )]
    Granularity {
        /// The path of the layer.
        path: String,
        /// The reason why the granularity does not fit.
        source: GranularityError,
    },
    /// A score is NaN or infinite.
    #[error("{path}: {source}; repair the weights, or exclude the layer")]
    NonFinite {
        /// The path of the layer.
        path: String,
        /// The first such score.
        source: NonFinite,
    },
    /// The scores of a layer cannot be read.
    #[error("{path}: {source}")]
    Scores {
        /// The path of the layer.
        path: String,
        /// The reason.
        source: ScoreError,
    },
    /// The budget cannot be shared out.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// A budget is shared, and no allocator is given.
    #[error("{path}: no allocator is given: name one, such as \"uniform\"; only N:M needs none")]
    NoAllocator {
        /// The first layer that needs an allocator.
        path: String,
    },
    /// Units compete within their rows, and a unit is not a single weight.
    #[error(
        "{path}: compare = \"row\" is for single weights, and the granularity is {granularity}; remove one of the two"
    )]
    NoRows {
        /// The path of the layer.
        path: String,
        /// The granularity of the layer, or "a coupled group".
        granularity: String,
    },
}

impl ChooseError {
    /// Creates the error of scores that cannot be read, or that are not finite.
    pub(crate) fn of_scores(path: &str, source: ScoreError) -> Self {
        match source {
            ScoreError::NonFinite(source) => Self::non_finite(path, source),
            source => Self::Scores { path: path.to_string(), source },
        }
    }

    pub(crate) fn non_finite(path: &str, source: NonFinite) -> Self {
        Self::NonFinite { path: path.to_string(), source }
    }
}
