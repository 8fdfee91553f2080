//! The masks that a recipe chooses for the layers of a model: [`select`].

use crate::layers::Layer;
use crate::pruner::Recipe;
use crate::pruner::element_scores::{blamed, needed, score};
use crate::pruner::reports::{Choice, layers_of, report_of, untraced};
use crate::score::CriterionInputs;
use crate::targets::{Selection, Target, alive};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{Amount, Candidate, ChooseRules, Sparsity, choose_masks};
use pruning_core::mask::Bits;
use pruning_core::report::Report;
use pruning_core::score::{ElementScores, Units};

/// How much is pruned now: of the shared budget, and of a layer with a sparsity of its own.
pub(crate) struct Amounts<'a> {
    pub(crate) shared: Amount,
    pub(crate) own: &'a dyn Fn(Sparsity) -> Amount,
}

impl Amounts<'_> {
    pub(crate) fn rules<'a>(&self, recipe: &'a Recipe) -> ChooseRules<'a> {
        let rules = ChooseRules::new(self.shared).with_rounding(recipe.rounding);
        rules.with_allocator(recipe.allocator.as_deref())
    }
}

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
        return crate::shrink::channels::select(module, (pruner, trace), all, selection, amounts, inputs, None);
    }
    needed(pruner.recipe(), inputs)?;
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
        return Ok(crate::shrink::channels::select(module, of, all, &selection, &amounts, inputs, only)?.0);
    }
    selection.targets = vec![Target { own: Some(sparsity), ..selection.targets[target].clone() }];
    let alive = alive(all, &selection);
    Ok(masks(choose_alone(module, pruner, all, &selection, alive, &amounts, inputs)?))
}

/// What each layer keeps, by its place in the model.
fn masks(choices: Vec<Choice>) -> Vec<(usize, Bits)> {
    choices.into_iter().map(|choice| (choice.layer, choice.chosen.keep)).collect()
}

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
