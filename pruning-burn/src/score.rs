//! Which weights matter least: [`Criterion`], what it looks at ([`CriterionInputs`]), and the units that are scored.
//!
//! # Contract
//!
//! **Criteria.** [`Criterion::score`] returns one score for each weight, higher = keep, finite. [`Criterion::order`] lets a criterion hand
//! over a tensor with its sign (magnitude hands over the weights as they are), [`Criterion::factor`] one that only has to be scaled by
//! layer (`l2_relative`): ranking multiplies on the way, which saves a tensor as large. [`Criterion::reduction`] is how unit scores come
//! from element scores unless the recipe says otherwise.
//!
//! **Needs and inputs.** A criterion declares what it looks at besides the weights; a layer hands out nothing else. [`CriterionInputs`]
//! are collected beforehand, by path, on copies of the model (`valid().train()`, since a plain clone shares running statistics), in which
//! a tied parameter stays one leaf. A pruning without an input that is needed fails before any work, and so does one with an input for
//! another shape.
//!
//! **Hessian products.** Burn has no second derivatives, so `H g` is a difference of gradients along `g`. In single precision no step is
//! short enough to cross no kink of a ReLU and long enough to leave digits, so the copy is `f64`, and the user's loss follows its type.
//! Batch by batch the gradient is differentiated on both sides of the weights, with shorter steps until two differences agree: a kink that
//! was crossed, rounding and chance each keep them apart. What is uncertain by more than a thousandth is an error, as are a loss that
//! stays in `f32` and a device without doubles.

pub(crate) mod criterion;
pub(crate) mod element_scores;
pub(crate) mod inputs;
pub(crate) mod needed;
pub(crate) mod needs;

pub use criterion::{Criterion, CriterionError, LayerView};
pub use inputs::{CriterionInputs, InputError};
pub use needs::{Need, NeedShape, Needs};
pub use pruning_core::score::{
    Along, Axis, ChannelScore, Granularity, GranularityError, MatrixLayout, NonFinite, NormOrder, Order, Reduction,
    ReductionError,
};
