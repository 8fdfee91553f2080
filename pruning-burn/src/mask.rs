//! Masks on a module: attach them, look at them, fold them in, take them off.

pub(crate) mod attach;
pub(crate) mod pruning_mask;
pub mod soft_threshold;

pub use attach::{attach, finish, masks, report, undo, update};
pub use pruning_core::mask::{Bits, Mask, MaskError, MaskSet, random_masks};
pub use pruning_mask::PruningMask;
