//! How the scores of the elements of a unit become the score of the unit: [`Reduction`].

use form::{OrderForm, ReductionForm};
use serde::{Deserialize, Serialize};

mod form;
mod reduce;

/// How the scores of the elements of a unit become the score of the unit.
///
/// In a recipe: `"sum"`, `"mean"`, `"max"`, `"l1"`, `"l2"`, or `{ norm = p }` with any `p >= 0`, `inf` included; `{ norm = 0 }`
/// counts the scores that are not zero.
///
/// ```
/// use pruning_core::score::{ElementScores, Granularity, MatrixLayout, Order, Reduction, Units};
/// let rows = Units::of(Granularity::CHANNEL, MatrixLayout::row_major(2, 2), ElementScores::new(&[3.0, 4.0, 0.0, 6.0]));
/// assert_eq!(rows.reduce(Reduction::norm(2.0)?, Order::Value)?, [5.0, 6.0]);
/// assert_eq!(rows.reduce(Reduction::Sum, Order::Value)?, [7.0, 6.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReductionForm", into = "ReductionForm")]
pub enum Reduction {
    /// The sum of the scores, so that a larger unit weighs more.
    #[default]
    Sum,
    /// The mean of the scores, which compares units of different sizes.
    Mean,
    /// The largest score.
    Max,
    /// The p-norm of the scores; the number of scores that are not zero for `p = 0`.
    Norm(NormOrder),
}

/// Which weights score a channel or head of a traced model, where several layers make or read it.
///
/// ```
/// use pruning_core::score::ChannelScore;
/// assert_eq!(serde_json::from_str::<ChannelScore>("\"own\"")?, ChannelScore::Own);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelScore {
    /// All weights that go with the channel: the filters of every layer that makes it, and the weights of every layer that reads it (Fang
    /// et al. 2023, arXiv:2301.12900, section 3.3).
    #[default]
    Group,
    /// Only the weights of the targets that make the channel (or read it, with `axis = "input"`). For a convolution that no shortcut
    /// joins with others, this is its own filter (Li et al. 2016, arXiv:1608.08710, section 3.1).
    Own,
}

/// The order `p` of a norm, with `0 <= p <= inf`; a recipe gives a number or `inf`. The norm of order 0 is the number of values that are not
/// zero, as in torch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "OrderForm", into = "OrderForm")]
pub struct NormOrder(f64);

impl NormOrder {
    /// The order of the number of values that are not zero.
    pub const ZERO: Self = Self(0.0);
    /// The order of the sum of absolute values.
    pub const L1: Self = Self(1.0);
    /// The order of the Euclidean norm.
    pub const L2: Self = Self(2.0);
    /// The order of the largest absolute value.
    pub const INFINITY: Self = Self(f64::INFINITY);

    /// Creates an order from a number of at least 0.
    ///
    /// # Errors
    /// `p` is NaN or below 0.
    pub fn new(p: f64) -> Result<Self, ReductionError> {
        // Not -0.
        if p >= 0.0 { Ok(Self(p + 0.0)) } else { Err(ReductionError::Order { p }) }
    }

    /// Returns the order as a number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

/// An error for a number or text that is not a reduction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReductionError {
    /// The order of a norm is NaN or below 0.
    #[error("norm order {p} must be at least 0; inf is allowed")]
    Order {
        /// The order that was given.
        p: f64,
    },
    /// The text names no reduction.
    #[error("unknown reduction {text:?}: use \"sum\", \"mean\", \"max\", \"l1\", \"l2\" or {{ norm = p }}")]
    Unknown {
        /// The text that was given.
        text: String,
    },
}

impl Reduction {
    /// Creates the p-norm.
    ///
    /// # Errors
    /// `p` is NaN or below 0.
    pub fn norm(p: f64) -> Result<Self, ReductionError> {
        NormOrder::new(p).map(Self::Norm)
    }
}
