//! From the scores of elements to the scores of units: [`Units`], [`Granularity`], [`Reduction`], [`MatrixLayout`].
//!
//! # Matrix views
//!
//! Every parameter is scored as a matrix, rows = output units, columns = fan-in. [`MatrixLayout`] says where that matrix lies in the
//! parameter's memory: `[outer, rows, inner]` for every layer type, so nothing is moved.
//!
//! N:M groups run along the input channels, at each place of the kernel. Sparse tensor cores multiply them this way, and on convolutions
//! it is far better than groups of neighbors in a kernel (`"2:4 taps"`), which compete although they see nearly the same inputs.
//! [`MatrixLayout`] knows
//! type. A layer that the granularity does not fit is an error, or stays dense with `skip_unfit`, and the report gives the reason.

mod error;
mod granularity;
mod layout;
mod order;
mod reduction;
mod units;

pub use error::ScoreError;
pub use granularity::{Along, Axis, Granularity, GranularityError};
pub use layout::MatrixLayout;
pub use order::{NonFinite, Order};
pub(crate) use order::{check_finite, rank_key, rank_key_of_double};
pub use reduction::{ChannelScore, NormOrder, Reduction, ReductionError};
pub use units::{ElementScores, TakeElements, Units};
