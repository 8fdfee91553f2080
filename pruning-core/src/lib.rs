//! Host arithmetic of pruning: no tensors, no I/O.
//!
//! Every pruning method answers four questions, and here each is a type of its own:
//!
//! | question | answer |
//! |---|---|
//! | What is removed together? | [`Granularity`]: element, N:M, block, channel |
//! | Which matter least? | scores, from a criterion (a plugin of `pruning-burn`); [`Reduction`] takes them to units |
//! | How is the budget shared out? | [`Allocator`], a plugin |
//! | When, and how far each time? | [`Schedule`], with a [`Curve`], a plugin |
//!
//! A [`Recipe`] is all of it as data, with its plugins found in a [`Plugins`] registry. [`choose`] is one pruning: it takes
//! the scores of each layer and gives the masks, exactly as many as asked, the same on every machine. A [`Mask`] is a
//! bitset in the memory order of its parameter, true where the weight is kept.
//!
//! ```
//! use pruning_core::{Order, Scores, Sparsity, Rounding};
//! let weights = [0.5, -0.1, 0.9, 0.2];
//! let remove = Rounding::HalfEven.count(Sparsity::new(0.5)?.value(), weights.len());
//! let mask = Scores::new(&weights, Order::Absolute)?.keep_highest(weights.len() - remove);
//! assert_eq!(mask.to_bools(), [true, false, true, false]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allocate;
mod bits;
mod caught;
mod choose;
mod compare;
#[cfg(feature = "conformance")]
pub mod conformance;
mod control;
mod curve;
mod fields;
mod granularity;
pub mod graph;
mod grow;
mod initialize;
mod layout;
mod mask;
mod nm;
mod plugin;
mod proportion;
mod recipe;
mod reduction;
mod registry;
mod report;
mod schedule;
mod select;
pub mod shown;
pub mod sparse;
mod sparsity;
mod target;

pub use allocate::{AllocationError, Allocator, LayerUnits, Measure, Scope, allocate};
pub use bits::Bits;
#[doc(hidden)]
pub use caught::{caught, panic_message};
pub use choose::{Candidate, ChooseError, Chosen, Rules, choose, choose_exact};
pub use control::random_masks;
pub use curve::{Curve, CurveError};
pub use fields::Problem;
pub use granularity::{Along, Axis, Granularity, GranularityError};
pub use grow::{Anneal, Grow, Update, swap};
pub use initialize::Initialization;
#[doc(hidden)]
pub use inventory;
pub use layout::MatrixLayout;
pub use mask::{Mask, MaskError, MaskSet};
pub use nm::{NmError, keep_n_of_m};
#[doc(hidden)]
pub use plugin::check_name;
pub use plugin::{Plugin, PluginKind, Register};
pub use proportion::{Share, in_proportion};
pub use recipe::{Budget, Override, Recipe, RecipeError};
pub use reduction::{ChannelScore, NormOrder, Reduction, ReductionError, reduce};
#[doc(hidden)]
pub use registry::Linked;
pub use registry::{Configured, Entry, Origin, Plugins, RegistryError, named};
pub use report::{LayerReport, NOT_DEFAULT, Report, Skipped, Warning};
pub use schedule::{Event, Rounds, Schedule};
pub use select::{NonFinite, Order, Scores, ranks, share_highest};
pub use sparsity::{Amount, Rounding, Sparsity, SparsityError};
pub use target::{Match, Pattern, PatternIndex, Targets};
