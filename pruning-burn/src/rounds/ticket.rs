//! Controls for a lottery ticket: [`redraw_masks`] and [`reinitialize`].

use crate::PruneError;
use crate::mask::{attach, masks, update};
use crate::snapshot::apart;
use burn::module::Module;
use pruning_core::mask::random_masks;
use pruning_core::report::Report;

/// Replaces the masks of a model by random masks that keep as many weights of each layer.
///
/// The weights stay. This control shows whether it matters which weights a ticket keeps (Frankle & Carbin 2019, arXiv:1803.03635, section
/// 2; Su et al. 2020, arXiv:2009.11094). Single weights are drawn, as by [`random_masks`], whatever the granularity of the ticket was.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::{prelude::*, rounds::redraw_masks};
/// let mut ticket = LinearConfig::new(20, 10).init(&Device::flex());
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut ticket, None)?;
/// let found = masks(&ticket);
/// assert_eq!(redraw_masks(&mut ticket, 7)?.kept(), 20);
/// assert_ne!(masks(&ticket), found);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// Replaces the weights and running statistics of a ticket by those of `fresh`, and keeps its masks.
///
/// Build `fresh` like the first model, with another seed. This control shows whether a ticket needs the weights that it was found with
/// (Frankle & Carbin 2019, arXiv:1803.03635, section 2).
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::{prelude::*, rounds::reinitialize};
/// let new = || LinearConfig::new(20, 10).init(&Device::flex());
/// let (mut ticket, fresh) = (new(), new());
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut ticket, None)?;
/// let found = masks(&ticket);
/// reinitialize(&mut ticket, &fresh)?;
/// assert_eq!(masks(&ticket), found);
/// undo(&mut ticket)?;
/// assert_eq!(ticket.weight.val().into_data(), fresh.weight.val().into_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The ticket carries no mask, `fresh` carries one, or `fresh` has another architecture. The ticket is unchanged.
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
