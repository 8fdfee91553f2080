//! Host arithmetic of pruning, without tensors and I/O.
//!
//! Every pruning method answers four questions. Each answer is a type of its own here:
//!
//! | question | answer |
//! |---|---|
//! | What is removed together? | [`Granularity`](score::Granularity): element, N:M, block, channel, head |
//! | Which weights matter least? | scores of a criterion (a plugin of `pruning-burn`), and an [`Allocator`](budget::Allocator) that shares the budget out over the layers |
//! | When, and how much at a time? | [`Schedule`](schedule::Schedule), with a [`Curve`](schedule::Curve) |
//! | From which weights does training go on? | [`Initialization`](schedule::Initialization) |
//!
//! A [`Recipe`](recipe::Recipe) holds all answers as data, with its plugins found in a [`Plugins`](plugin::Plugins) registry.
//! What the weights that stay become is a [`Reconstruction`](reconstruct::Reconstruction), another plugin.
//! [`choose_masks`](budget::choose_masks) performs one pruning: it takes the scores of each layer and returns the masks, with exactly as
//! many units as asked, the same on every machine. A [`Mask`](mask::Mask) is a bitset in the memory order of its parameter, true where
//! the weight is kept.
//!
//! ```
//! use pruning_core::score::Order;
//! use pruning_core::budget::{Rounding, Scores, Sparsity};
//! let weights = [0.5, -0.1, 0.9, 0.2];
//! let remove = Rounding::HalfEven.count(Sparsity::new(0.5)?.value(), weights.len());
//! let mask = Scores::new(&weights, Order::Absolute)?.keep_highest(weights.len() - remove);
//! assert_eq!(mask.to_bools(), [true, false, true, false]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod budget;
mod caught;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod graph;
pub mod mask;
pub mod plugin;
pub mod recipe;
pub mod reconstruct;
pub mod report;
pub mod schedule;
pub mod score;
pub mod shown;
mod sparsity;

#[doc(hidden)]
pub use caught::{caught, panic_message};
#[doc(hidden)]
pub use inventory;
