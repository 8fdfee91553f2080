//! Amounts, and how a budget becomes masks: sparsities, [`Allocator`], exact selection, [`choose_masks`].
//!
//! # Contract
//!
//! **Allocators** return counts within the bounds of each layer. The counts add up to the asked total exactly (of units; a budget of
//! weights or multiply-accumulates is met to within one unit). [`allocate`] checks this, and a broken contract is an error that names the
//! allocator. Layers come sorted by path, so the order of a model's fields does not matter. A layer keeps at least one unit unless the
//! recipe says `allow_empty`. The number removed is `round_half_even(sparsity * units)`, the rule of torch; `floor` and `ceil` can be
//! chosen. [`Scope`] says where the fraction is rounded: over the model, or in each layer.
//!
//! **Selection** keeps the highest scores. Ties go to the lower index and, across layers, to the earlier path. Pruned units stay pruned.
//! [`Scores`] checks that every score is finite and draws a fixed sample in one read. The sample gives a narrow window of keys around the
//! threshold. One pass writes the mask above the window and lists the keys inside it, whose exact ranks finish the mask. The counts of
//! that pass prove the window; if they do not, another window is tried. So the result never depends on the sample. Doubles are selected
//! by their ranks among all doubles of the pruning, which single precision holds exactly ([`ranks`]); allocators see them rounded.

mod allocate;
mod candidate;
mod choose_masks;
mod chosen;
mod compare_keys;
mod layer_units;
mod nm;
mod proportion;
mod select;

pub use crate::sparsity::{Amount, Rounding, Sparsity, SparsityError};
pub use allocate::{AllocationError, Allocator, Scope, allocate};
pub use candidate::Candidate;
pub use choose_masks::{RankedUnits, choose_masks};
pub use chosen::{ChooseError, ChooseRules, Chosen, Compare, Quota};
pub use layer_units::{LayerUnits, Measure};
pub use nm::{NmError, keep_n_of_m};
pub use proportion::{Share, in_proportion};
pub use select::{Scores, ranks, share_highest};
