//! The controls of a lottery ticket: [`redraw_masks`] and [`reinitialize`].

use crate::PruneError;
use crate::mask::{attach, masks, update};
use crate::snapshot::apart;
use burn::module::Module;
use pruning_core::mask::random_masks;
use pruning_core::report::Report;

/// Gives a masked model random masks that keep as many weights of each layer, and leaves its weights alone: whether it matters which
/// weights a ticket keeps (Frankle & Carbin 2019, arXiv:1803.03635, section 2; Su et al. 2020, arXiv:2009.11094).
///
/// Single weights are drawn, as by [`random_masks`], whatever the granularity of the ticket was.
///
/// # Errors
/// No mask is attached.
pub fn redraw_masks<M: Module>(ticket: &mut M, seed: u64) -> Result<Report, PruneError> {
    let found = masks(ticket);
    if found.is_empty() {
        return Err(PruneError::NotAttached { path: "model".to_string() });
    }
    update(ticket, &random_masks(&found, seed))
}

/// Puts the masks of a ticket on the weights and running statistics of `fresh`, which is built as the first model was, with another seed:
/// whether a ticket needs the weights it was found with (Frankle & Carbin 2019, section 2).
///
/// # Errors
/// No mask is attached to the ticket, or one is to `fresh`, or that is another architecture. The ticket is what it was.
pub fn reinitialize<M: Module>(ticket: &mut M, fresh: &M) -> Result<Report, PruneError> {
    let found = masks(ticket);
    if found.is_empty() {
        return Err(PruneError::NotAttached { path: "model".to_string() });
    }
    let mut fresh = apart(fresh);
    let report = attach(&mut fresh, &found)?;
    *ticket = fresh;
    Ok(report)
}
