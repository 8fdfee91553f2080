//! How units are chosen, and which are chosen: [`ChooseRules`], [`Chosen`], [`ChooseError`].

use crate::budget::{AllocationError, Allocator, Amount, Rounding};
use crate::mask::Bits;
use crate::score::{GranularityError, NonFinite};

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
}

impl<'a> ChooseRules<'a> {
    /// Creates rules that round half units to even counts and have no allocator.
    #[must_use]
    pub fn new(amount: Amount) -> Self {
        Self { amount, rounding: Rounding::HalfEven, allocator: None }
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
    /// The budget cannot be shared out.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// A budget is shared, and no allocator is given.
    #[error("{path}: no allocator is given: name one, such as \"uniform\"; only N:M needs none")]
    NoAllocator {
        /// The first layer that needs an allocator.
        path: String,
    },
}

impl ChooseError {
    pub(crate) fn non_finite(path: &str, source: NonFinite) -> Self {
        Self::NonFinite { path: path.to_string(), source }
    }
}
