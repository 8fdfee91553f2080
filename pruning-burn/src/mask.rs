//! Masks on a module: attach them, look at them, fold them in, take them off.
//!
//! # Contract
//!
//! Attaching puts a Burn `Reparameterization` on the parameter: the effective weight is `base * mask`. The base stays dense, which makes
//! [`undo`] exact. The mask is a bool parameter `<path>.prune.keep` of one byte a weight, so records, moves and forks carry it; beside it
//! [`PruningMask`] keeps the product form, of the weight's own type, from step to step. That form is found by the id of the mask, so **a
//! mask that changes gets a new id**. A mask of one boolean keeps all ([`undo`] sets it before Burn folds it in). A product is used
//! because `mask_fill` costs ten times as much on Flex; since it leaves minus zero, [`finish`] writes plain zeros.
//!
//! Zero times NaN is NaN, so `put`, which every mask passes, refuses to remove a weight that is not finite; where weights come from
//! elsewhere (a file, a snapshot), `sound` checks the same. Burn allows one reparameterization for each parameter: a parameter that
//! carries LoRA is refused, and a model with LoRA elsewhere is not finished or undone, since Burn would fold that in too.
//!
//! Operations take `&mut M`, build the result aside, and assign at the end, so a call that fails leaves the model as it was. User closures
//! and plugins are called so that a panic is an error with its message.

pub(crate) mod attach;
pub(crate) mod pruning_mask;
pub mod soft_threshold;

pub use attach::{attach, finish, masks, report, undo, update};
pub use pruning_core::mask::{Bits, Mask, MaskError, MaskSet, random_masks};
pub use pruning_mask::PruningMask;
