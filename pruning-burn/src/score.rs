//! Scores, which say how much each weight matters: the [`Criterion`] plugin, its [inputs](CriterionInputs), and the units that are scored.
//!
//! # Contract
//!
//! **Criteria.** [`Criterion::score`] returns one finite score for each weight; higher scores are kept. [`Criterion::order`] lets a
//! criterion return a tensor with its sign (magnitude returns the weights unchanged). [`Criterion::factor`] lets it return a tensor that is
//! only scaled by layer (`l2_relative`): the factor is applied while ranking, which saves a tensor of the same size.
//! [`Criterion::reduction`] turns element scores into unit scores, unless the recipe sets another reduction.
//!
//! **Needs and inputs.** A criterion declares what it looks at besides the weights, and a layer gives it nothing else. [`CriterionInputs`]
//! are collected beforehand, by path, on copies of the model (`valid().train()`, since a plain clone shares running statistics), in which
//! a tied parameter stays one leaf. If an input is missing or has another shape than its parameter, the pruning fails before any work.
//!
//! **Hessian products.** Burn has no second derivatives, so `H g` is a difference of gradients along `g`. In single precision a step that
//! is short enough to cross no kink of a ReLU is too short to leave digits. So the copy is `f64`, and the user's loss follows its type.
//! For each batch the differences are taken on both sides of the weights, with shorter steps until two of them agree: a crossed kink,
//! rounding and randomness each make them differ. An uncertainty of more than a thousandth is an error, as are a loss that stays in `f32`
//! and a device without doubles.

pub(crate) mod criterion;
pub(crate) mod element_scores;
pub(crate) mod inputs;
pub(crate) mod needed;
pub(crate) mod needs;
pub(crate) mod statistics;
pub(crate) mod weights;

pub use criterion::{Criterion, CriterionError, LayerView};
pub use inputs::{CriterionInputs, InputError};
pub use needs::{Need, NeedShape, Needs};
pub use pruning_core::score::{
    Along, Axis, ChannelScore, Granularity, GranularityError, MatrixLayout, NonFinite, NormOrder, Order, Reduction,
    ReductionError,
};
