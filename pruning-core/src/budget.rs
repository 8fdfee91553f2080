//! How much is removed, and how a budget becomes masks: sparsities, [`Allocator`], exact selection, [`choose_masks`].

mod allocate;
mod choose_masks;
mod compare;
mod nm;
mod proportion;
mod select;

pub use crate::sparsity::{Amount, Rounding, Sparsity, SparsityError};
pub use allocate::{AllocationError, Allocator, LayerUnits, Measure, Scope, allocate};
pub use choose_masks::{Candidate, ChooseError, ChooseRules, Chosen, choose_masks, choose_masks_exact};
pub use nm::{NmError, keep_n_of_m};
pub use proportion::{Share, in_proportion};
pub use select::{Scores, ranks, share_highest};
