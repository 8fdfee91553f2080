//! A model under chosen masks, with the weights that stay reconstructed where the recipe says so: [`masked`].

use crate::layers::Layer;
use crate::mask::attach::put;
use crate::mask::rebuild::rebuild;
use crate::reconstruct::{Problem, solve};
use crate::score::CriterionInputs;
use crate::targets::Selection;
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::mask::Bits;
use pruning_core::report::Report;
use pruning_core::score::Granularity;

/// Puts masks on a model. A reconstruction of the recipe gives the weights that stay new values, and may choose its own masks.
pub(crate) fn masked<M: Module>(
    model: &M,
    pruner: &Pruner,
    (all, selection): (&[Layer], &Selection),
    masks: Vec<(usize, Bits)>,
    report: &mut Report,
    inputs: Option<&CriterionInputs>,
) -> Result<M, PruneError> {
    let reconstruction = pruner.recipe().reconstruct.as_ref();
    if reconstruction.is_none() {
        return put(model, all, masks);
    }
    let target = |layer: usize| selection.targets.iter().find(|target| target.layer == layer);
    let granularity = |layer: usize| target(layer).map_or(Granularity::Element, |target| target.granularity);
    let solved = solve(model, &Problem { reconstruction, all, masks: &masks, granularity: &granularity, inputs })?;
    let mut own = solved.masks;
    let masks = masks.into_iter().map(|(layer, keep)| (layer, own.remove(&layer).unwrap_or(keep))).collect();
    report.warnings.extend(solved.warnings);
    rebuild(model, all, masks, &solved.values)
}
