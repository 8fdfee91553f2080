//! Masks on a module: [attach], [read](masks) and [replace](update) them, [fold them in](finish), [take them off](undo).
//!
//! # Contract
//!
//! Attaching puts a Burn `Reparameterization` on the parameter: the effective weight is `base * mask`. The base stays dense, which makes
//! [`undo`] exact. The mask is a bool parameter `<path>.prune.keep` of one byte a weight, so records, moves and forks carry it; beside it
//! [`PruningMask`] caches the mask as numbers of the weight's own type from step to step. The cache is found by the id of the mask, so
//! **a mask that changes gets a new id**. A mask of one boolean keeps all weights ([`undo`] sets it before Burn folds it in). A product is
//! used because `mask_fill` costs ten times as much on Flex; since a product can leave minus zero, [`finish`] writes plain zeros.
//!
//! A reconstruction changes the base as well. The weights from before it are kept in the mask, as integers that no optimizer trains and
//! that records carry as `<path>.prune.before`; [`undo`] puts them back.
//!
//! Zero times NaN is NaN, so `put`, the one function that sets masks, refuses to remove a weight that is not finite; after weights were
//! read from a file or a snapshot, `sound` makes the same check. Burn allows one reparameterization for each parameter: a parameter that
//! carries LoRA is refused, and a model with LoRA on other parameters cannot be finished or undone, since Burn would fold that in too.
//!
//! Operations take `&mut M`, build the result separately, and assign it at the end, so a call that fails leaves the model unchanged. A
//! panic in a user's closure or plugin is caught and becomes an error with its message.

pub(crate) mod attach;
pub(crate) mod before;
pub(crate) mod pruning_mask;
pub(crate) mod rebuild;
pub mod soft_threshold;

pub use attach::{attach, finish, masks, report, undo, update};
pub use pruning_core::mask::{Bits, Mask, MaskError, MaskSet, random_masks};
pub use pruning_mask::PruningMask;
