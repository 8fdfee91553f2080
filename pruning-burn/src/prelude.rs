//! The names that most programs need: `use pruning_burn::prelude::*`.

pub use crate::mask::{finish, masks, undo};
pub use crate::plugin::Plugins;
pub use crate::score::CriterionInputs;
pub use crate::store::{load, save};
pub use crate::{Pruner, Session};
pub use pruning_core::budget::Sparsity;
