//! Masks chosen in each target by itself, without a trace: [`choose_alone`].

use crate::amounts::Amounts;
use crate::layers::Layer;
use crate::reports::Choice;
use crate::score::CriterionInputs;
use crate::score::element_scores::{blamed, score};
use crate::targets::{Selection, Target};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{Candidate, choose_masks};
use pruning_core::mask::Bits;
use pruning_core::score::{ElementScores, Units};

/// Chooses masks in each target by itself, from what is alive.
pub(crate) fn choose_alone<M: Module>(
    module: &M,
    pruner: &Pruner,
    all: &[Layer],
    selection: &Selection,
    alive: Vec<Option<Bits>>,
    amounts: &Amounts<'_>,
    inputs: Option<&CriterionInputs>,
) -> Result<Vec<Choice>, PruneError> {
    let recipe = pruner.recipe();
    let scores = score(module, &recipe.criterion, all, selection, &alive, inputs, 0)?;
    let reduction = recipe.reduction.unwrap_or_else(|| recipe.criterion.reduction());
    let uses = pruner.uses();
    let mut candidates = Vec::with_capacity(selection.targets.len());
    for (place, (target, (scores, factor))) in selection.targets.iter().zip(&scores).enumerate() {
        let layer = &all[target.layer];
        let elements =
            ElementScores::new(scores.as_slice()).with_exact(scores.exact()).with_alive(alive[place].as_ref());
        let candidate =
            Candidate::new(&layer.path, layer.layout, Units::of(target.granularity, layer.layout, elements))
                .with_layer(&layer.kind, &layer.shape, place)
                .with_ranking(recipe.criterion.order(), reduction)
                .with_factor(*factor)
                .with_own(target.own.map(amounts.own))
                .with_least(usize::from(!recipe.allow_empty))
                .with_uses(uses.get(&layer.path).copied());
        candidates.push(candidate);
    }
    let chosen = choose_masks(&candidates, &amounts.rules(recipe)).map_err(|error| blamed(&recipe.criterion, error))?;
    let choice = |(target, chosen): (&Target, _)| Choice { layer: target.layer, layers: vec![target.layer], chosen };
    Ok(selection.targets.iter().zip(chosen).map(choice).collect())
}
