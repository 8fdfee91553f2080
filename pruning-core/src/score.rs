//! From the scores of elements to the scores of units: [`Granularity`], [`Reduction`], [`MatrixLayout`].

mod granularity;
mod layout;
mod order;
mod reduction;

pub use granularity::{Along, Axis, Granularity, GranularityError};
pub use layout::MatrixLayout;
pub use order::{NonFinite, Order};
pub(crate) use order::{check_finite, rank_key};
pub use reduction::{ChannelScore, NormOrder, Reduction, ReductionError, reduce};
pub(crate) use reduction::{reduce_double, reduce_finite};
