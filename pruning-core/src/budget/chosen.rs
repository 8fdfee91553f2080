//! How units are chosen, and what is chosen: [`ChooseRules`], [`Chosen`], [`ChooseError`].

use crate::budget::{AllocationError, Allocator, Amount, Rounding};
use crate::mask::Bits;
use crate::score::{GranularityError, NonFinite};

/// How units are chosen, for all candidates.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ChooseRules<'a> {
    /// The shared budget.
    pub amount: Amount,
    /// How fractions become counts.
    pub rounding: Rounding,
    /// How the budget is shared; N:M and amounts of their own need none.
    pub allocator: Option<&'a dyn Allocator>,
}

impl<'a> ChooseRules<'a> {
    /// Half units to even numbers, and nothing that shares the budget.
    #[must_use]
    pub fn new(amount: Amount) -> Self {
        Self { amount, rounding: Rounding::HalfEven, allocator: None }
    }

    /// The shared budget.
    #[must_use]
    pub fn with_amount(self, amount: Amount) -> Self {
        Self { amount, ..self }
    }

    /// How fractions become counts.
    #[must_use]
    pub fn with_rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// How the budget is shared.
    #[must_use]
    pub fn with_allocator(self, allocator: Option<&'a dyn Allocator>) -> Self {
        Self { allocator, ..self }
    }
}

/// How much a candidate keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Units; of an N:M pattern those of each group.
    pub keep: usize,
    /// Fraction of its units that was asked to be removed in all.
    pub asked: f64,
}

/// What is chosen of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Elements kept, in memory order; of a coupled group its units.
    pub keep: Bits,
    /// Units in all.
    pub units: usize,
    /// Units kept.
    pub kept_units: usize,
    /// Fraction of its units that was asked to be removed in all.
    pub asked: f64,
}

/// Why nothing could be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// The granularity does not fit a layer.
    #[error(
        "{path}: {source}; exclude the layer, choose another granularity, or leave all such layers dense with skip_unfit = true"
    )]
    Granularity {
        /// The layer.
        path: String,
        /// Why.
        source: GranularityError,
    },
    /// A score is NaN or infinite.
    #[error("{path}: {source}; repair the weights, or exclude the layer")]
    NonFinite {
        /// The layer.
        path: String,
        /// Which.
        source: NonFinite,
    },
    /// The budget cannot be shared out.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// A budget is to be shared, and nothing says how.
    #[error("{path}: no allocator is given, and only N:M needs none: name one, such as \"uniform\"")]
    NoAllocator {
        /// The first layer that needs it.
        path: String,
    },
}

impl ChooseError {
    pub(crate) fn non_finite(path: &str, source: NonFinite) -> Self {
        Self::NonFinite { path: path.to_string(), source }
    }
}
