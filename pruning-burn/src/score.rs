//! Which weights matter least: [`Criterion`], what it looks at ([`CriterionInputs`]), and the units that are scored.

pub(crate) mod criterion;
pub(crate) mod inputs;
pub(crate) mod needs;

pub use criterion::{Criterion, CriterionError, LayerView};
pub use inputs::{CriterionInputs, InputError};
pub use needs::Needs;
pub use pruning_core::score::{
    Along, Axis, ChannelScore, Granularity, GranularityError, MatrixLayout, NonFinite, NormOrder, Order, Reduction,
    ReductionError, reduce,
};
