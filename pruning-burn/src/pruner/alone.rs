//! Masks chosen in each target by itself, without a trace: [`choose_alone`].

use crate::amounts::Amounts;
use crate::host::Numbers;
use crate::layers::Layer;
use crate::recipe::Recipe;
use crate::reports::Choice;
use crate::score::CriterionInputs;
use crate::score::element_scores::{blamed, score};
use crate::targets::{Selection, Target};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{Candidate, choose_masks};
use pruning_core::mask::Bits;
use pruning_core::score::{ElementScores, Units};
use std::collections::BTreeMap;

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
    let uses = pruner.uses();
    let candidate = |place: usize| {
        let (target, (scores, factor)): (&Target, &(Numbers, f32)) = (&selection.targets[place], &scores[place]);
        let elements = elements(scores).with_alive(alive[place].as_ref());
        let units = Units::of(target.granularity, all[target.layer].layout, elements);
        candidate(recipe, (all, selection, place), amounts, &uses, units).with_factor(*factor)
    };
    let candidates: Vec<_> = (0..selection.targets.len()).map(candidate).collect();
    let chosen = choose_masks(&candidates, &amounts.rules(recipe)).map_err(|error| blamed(&recipe.criterion, error))?;
    let choice = |(target, chosen): (&Target, _)| Choice { layer: target.layer, layers: vec![target.layer], chosen };
    Ok(selection.targets.iter().zip(chosen).map(choice).collect())
}

/// The scores of the elements of a target.
pub(crate) fn elements(numbers: &Numbers) -> ElementScores<'_> {
    ElementScores::new(numbers.as_slice()).with_exact(numbers.exact())
}

/// The target at a place as what competes, with its units.
pub(crate) fn candidate<'a>(
    recipe: &Recipe,
    (all, selection, place): (&'a [Layer], &Selection, usize),
    amounts: &Amounts<'_>,
    uses: &BTreeMap<String, usize>,
    units: Units<'a>,
) -> Candidate<'a> {
    let target = &selection.targets[place];
    let layer = &all[target.layer];
    Candidate::new(&layer.path, layer.layout, units)
        .with_layer(&layer.kind, &layer.shape, place)
        .with_ranking(recipe.criterion.order(), recipe.reduction.unwrap_or_else(|| recipe.criterion.reduction()))
        .with_own(target.own.map(amounts.own))
        .with_least(usize::from(!recipe.allow_empty))
        .with_uses(uses.get(&layer.path).copied())
}
