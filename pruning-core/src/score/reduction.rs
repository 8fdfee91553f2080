//! How the scores of the elements of a unit become one score: [`Reduction`].

use form::{OrderForm, ReductionForm};
use serde::{Deserialize, Serialize};

mod form;
mod reduce;

/// How the scores of the elements of a unit become the score of the unit.
///
/// In a recipe: `"sum"`, `"mean"`, `"max"`, `"l1"`, `"l2"`, or `{ norm = p }` with any `p > 0`, `inf` included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReductionForm", into = "ReductionForm")]
pub enum Reduction {
    /// The sum: a larger unit weighs more.
    #[default]
    Sum,
    /// The mean, which compares units of different sizes.
    Mean,
    /// The largest.
    Max,
    /// The p-norm.
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
    /// All that go with it: the filters of every layer that makes the channel, and the weights of every layer that reads it (Fang et
    /// al. 2023, arXiv:2301.12900, section 3.3).
    #[default]
    Group,
    /// The weights of the targets that make it (or read it, with `axis = "input"`), and no others: of a convolution that no shortcut
    /// joins with others its own filter (Li et al. 2016, arXiv:1608.08710, section 3.1).
    Own,
}

/// The order `p` of a norm, `0 < p <= inf`; in a recipe a number or `inf`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "OrderForm", into = "OrderForm")]
pub struct NormOrder(f64);

impl NormOrder {
    /// The sum of absolute values.
    pub const L1: Self = Self(1.0);
    /// The Euclidean norm.
    pub const L2: Self = Self(2.0);
    /// The largest absolute value.
    pub const INFINITY: Self = Self(f64::INFINITY);

    /// Checks the range.
    ///
    /// # Errors
    /// `p` is NaN or not above 0.
    pub fn new(p: f64) -> Result<Self, ReductionError> {
        if p > 0.0 { Ok(Self(p)) } else { Err(ReductionError::Order { p }) }
    }

    /// The order.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

/// A number or text that makes no reduction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReductionError {
    /// No order of a norm.
    #[error("norm order {p} must be above 0; inf is allowed")]
    Order {
        /// The order.
        p: f64,
    },
    /// Unknown text.
    #[error("unknown reduction {text:?}: use \"sum\", \"mean\", \"max\", \"l1\", \"l2\" or {{ norm = p }}")]
    Unknown {
        /// The text.
        text: String,
    },
}

impl Reduction {
    /// The p-norm.
    ///
    /// # Errors
    /// `p` is NaN or not above 0.
    pub fn norm(p: f64) -> Result<Self, ReductionError> {
        NormOrder::new(p).map(Self::Norm)
    }
}
