//! The masks that a recipe chooses for the layers of a model: [`select`].

use crate::amounts::Amounts;
use crate::layers::Layer;
use crate::pruner::alone::choose_alone;
use crate::reports::{Choice, layers_of, report_of, untraced};
use crate::score::CriterionInputs;
use crate::score::needed::needed;
use crate::targets::{Selection, Target, alive};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{Amount, Sparsity};
use pruning_core::mask::Bits;
use pruning_core::report::Report;

/// Scores the targets and chooses their masks. The module is only read.
pub(crate) fn select<M: Module>(
    module: &M,
    pruner: &Pruner,
    all: &[Layer],
    selection: &Selection,
    amounts: &Amounts<'_>,
    inputs: Option<&CriterionInputs>,
) -> Result<(Vec<(usize, Bits)>, Report), PruneError> {
    #[cfg(feature = "trace")]
    if let Some(trace) = pruner.trace() {
        return crate::pruner::channels::select(module, (pruner, trace), all, selection, amounts, inputs, None);
    }
    needed(&pruner.recipe().criterion, inputs, module)?;
    let choices = choose_alone(module, pruner, all, selection, alive(all, selection), amounts, inputs)?;
    let kept = |layer| choices.iter().find(|c| c.layer == layer).map_or(0, |c| c.chosen.keep.count_ones());
    let mut report = report_of(all, selection, layers_of(all, selection.targets.iter(), &choices, kept));
    report.warnings.extend(untraced(all, selection));
    Ok((masks(choices), report))
}

/// The same for one target, by its place among all, at a sparsity of its own.
pub(crate) fn select_one<M: Module>(
    module: &M,
    pruner: &Pruner,
    all: &[Layer],
    mut selection: Selection,
    target: usize,
    sparsity: Sparsity,
    inputs: Option<&CriterionInputs>,
) -> Result<Vec<(usize, Bits)>, PruneError> {
    let amounts = Amounts { shared: Amount::OfTotal(sparsity), own: &|_| Amount::OfTotal(sparsity) };
    #[cfg(feature = "trace")]
    if let Some(trace) = pruner.trace().filter(|_| selection.targets[target].granularity.is_structural()) {
        let only = Some(selection.targets[target].layer);
        let of = (pruner, trace);
        return Ok(crate::pruner::channels::select(module, of, all, &selection, &amounts, inputs, only)?.0);
    }
    selection.targets = vec![Target { own: Some(sparsity), ..selection.targets[target].clone() }];
    let alive = alive(all, &selection);
    Ok(masks(choose_alone(module, pruner, all, &selection, alive, &amounts, inputs)?))
}

/// What each layer keeps, by its place in the model.
fn masks(choices: Vec<Choice>) -> Vec<(usize, Bits)> {
    choices.into_iter().map(|choice| (choice.layer, choice.chosen.keep)).collect()
}
