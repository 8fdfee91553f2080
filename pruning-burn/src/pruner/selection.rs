//! Which layers a recipe prunes, and the masks it chooses for them.

use crate::host;
use crate::host::{Numbers, to_matrix};
use crate::layers::Layer;
use crate::mask::attach::parameters;
use crate::pruner::Recipe;
use crate::score::criterion::scored;
use crate::score::{Criterion, CriterionInputs, LayerView, Needs};
use crate::targets::{Selection, Target};
use crate::walk::{self, Position, Visit};
use crate::{PruneError, Pruner};
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use pruning_core::budget::{Amount, Candidate, ChooseError, ChooseRules, Sparsity, choose_masks_exact};
use pruning_core::mask::Bits;
use pruning_core::plugin::Configured;
use pruning_core::report::{LayerReport, Report, Warning};
use pruning_core::score::{Axis, Granularity};
use std::collections::BTreeMap;

/// How much is pruned now: of the shared budget, and of a layer with a sparsity of its own.
pub(crate) struct Amounts<'a> {
    pub(crate) shared: Amount,
    pub(crate) own: &'a dyn Fn(Sparsity) -> Amount,
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
    let (masks, pruned) = choose_alone(module, pruner, all, selection, alive(all, selection), amounts, inputs)?;
    let mut report = report_of(all, selection, pruned);
    report.warnings.extend(untraced(all, selection));
    Ok((masks, report))
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
    Ok(choose_alone(module, pruner, all, &selection, alive, &amounts, inputs)?.0)
}

/// Output channels are masked in the weights that make them; biases and norms would have to follow.
fn untraced(all: &[Layer], selection: &Selection) -> Option<Warning> {
    let output =
        |g| matches!(g, Granularity::Channel { axis: Axis::Output } | Granularity::Head { axis: Axis::Output, .. });
    let paths: Vec<_> =
        (selection.targets.iter().filter(|t| output(t.granularity))).map(|t| all[t.layer].path.clone()).collect();
    let target = |index: usize| selection.targets.iter().any(|t| t.layer == index);
    let others = all.iter().enumerate().any(|(i, l)| l.shape.len() == 1 && !l.buffer && !target(i));
    (others && !paths.is_empty()).then_some(Warning::Untraced { paths })
}

/// What each of some layers keeps by its place in the model, and what is to be reported of it.
type Choice = (Vec<(usize, Bits)>, Vec<(usize, LayerReport)>);

/// Chooses masks in each target by itself, from what is alive.
pub(crate) fn choose_alone<M: Module>(
    module: &M,
    pruner: &Pruner,
    all: &[Layer],
    selection: &Selection,
    alive: Vec<Option<Bits>>,
    amounts: &Amounts<'_>,
    inputs: Option<&CriterionInputs>,
) -> Result<Choice, PruneError> {
    let recipe = pruner.recipe();
    let scores = score(module, &recipe.criterion, all, selection, &alive, inputs, 0)?;
    let reduction = recipe.reduction.unwrap_or_else(|| recipe.criterion.reduction());
    let order = recipe.criterion.order();
    let uses = pruner.uses();
    let candidates: Vec<_> = (selection.targets.iter().zip(&scores).zip(&alive).enumerate())
        .map(|(place, ((target, (scores, factor)), alive))| Candidate {
            place,
            path: &all[target.layer].path,
            kind: &all[target.layer].kind,
            shape: &all[target.layer].shape,
            layout: all[target.layer].layout,
            scores: scores.as_slice(),
            order,
            factor: *factor,
            alive: alive.as_ref(),
            granularity: target.granularity,
            reduction,
            own: target.own.map(amounts.own),
            uses: uses.get(&all[target.layer].path).copied(),
        })
        .collect();
    let rules = ChooseRules {
        amount: amounts.shared,
        rounding: recipe.rounding,
        allow_empty: recipe.allow_empty,
        allocator: recipe.allocator.as_deref(),
    };
    let exact: Vec<_> = scores.iter().map(|(scores, _)| scores.exact()).collect();
    let chosen = choose_masks_exact(&candidates, &exact, &rules).map_err(|error| blamed(&recipe.criterion, error))?;
    drop(candidates);
    let mut reports = Vec::with_capacity(chosen.len());
    let mut masks = Vec::with_capacity(chosen.len());
    for (target, chosen) in selection.targets.iter().zip(chosen) {
        let layer = &all[target.layer];
        reports.push((
            target.layer,
            LayerReport {
                units: chosen.units,
                kept_units: chosen.kept_units,
                asked: chosen.asked,
                ..layer_report(layer, target.granularity, chosen.keep.count_ones())
            },
        ));
        masks.push((target.layer, chosen.keep));
    }
    Ok((masks, reports))
}

/// An error of ranking, with the criterion whose scores cannot be ranked.
pub(crate) fn blamed(criterion: &Configured<dyn Criterion>, error: ChooseError) -> PruneError {
    match error {
        ChooseError::NonFinite { path, source } => {
            PruneError::Criterion { path, criterion: criterion.name().to_string(), source: source.into() }
        }
        error => error.into(),
    }
}

/// A report of these layers, by their places in the model, and of those that are left dense.
pub(crate) fn report_of(all: &[Layer], selection: &Selection, mut pruned: Vec<(usize, LayerReport)>) -> Report {
    let mut report = Report::default();
    report.parameters = parameters(all);
    report.skipped = selection.skipped.clone();
    pruned.extend(selection.dense.iter().map(|target| {
        let layer = &all[target.layer];
        let units = target.granularity.units(&layer.layout);
        let whole = layer_report(layer, target.granularity, layer.layout.len());
        (target.layer, LayerReport { units, kept_units: units, ..whole })
    }));
    pruned.sort_by_key(|(index, _)| *index);
    report.layers = pruned.into_iter().map(|(_, layer)| layer).collect();
    report
}

/// What the masks on a model keep of the recipe's targets.
pub(crate) fn report_on(all: &[Layer], selection: &Selection) -> Report {
    let pruned = selection.targets.iter().zip(alive(all, selection)).map(|(target, alive)| {
        let (layer, granularity) = (&all[target.layer], target.granularity);
        let units = granularity.units(&layer.layout);
        let kept = alive.as_ref().map_or(layer.layout.len(), Bits::count_ones);
        let kept_units = alive.map_or(units, |alive| granularity.alive(&layer.layout, &alive).count_ones());
        let asked = 1.0 - kept_units as f64 / units.max(1) as f64;
        (target.layer, LayerReport { units, kept_units, asked, ..layer_report(layer, granularity, kept) })
    });
    report_of(all, selection, pruned.collect())
}

/// Of a layer whose elements are its units.
pub(crate) fn layer_report(layer: &Layer, granularity: Granularity, kept: usize) -> LayerReport {
    let weights = layer.layout.len();
    LayerReport {
        path: layer.path.clone(),
        aliases: layer.aliases.clone(),
        kind: layer.kind.clone(),
        shape: layer.shape.clone(),
        granularity: granularity.to_string(),
        weights,
        kept,
        units: weights,
        kept_units: kept,
        asked: 1.0 - kept as f64 / weights.max(1) as f64,
    }
}

/// Checks that all is there that the criterion looks at.
pub(crate) fn needed(recipe: &Recipe, inputs: Option<&CriterionInputs>) -> Result<(), PruneError> {
    let needs = recipe.criterion.needs();
    if needs == Needs::WEIGHT || inputs.is_some_and(|inputs| inputs.holds(needs)) {
        return Ok(());
    }
    Err(PruneError::MissingInputs { criterion: recipe.criterion.name().to_string(), needs })
}

/// What the targets keep so far; nothing for one that carries no mask yet.
pub(crate) fn alive(all: &[Layer], selection: &Selection) -> Vec<Option<Bits>> {
    let mut carrying = Vec::new();
    let mut masks = Vec::new();
    for (place, target) in selection.targets.iter().enumerate() {
        let layer = &all[target.layer];
        if let Some(keep) = layer.keep.as_ref().filter(|keep| keep.dims()[0] == layer.layout.len()) {
            carrying.push(place);
            masks.push(keep.clone());
        }
    }
    let mut alive = vec![None; selection.targets.len()];
    for (place, bits) in carrying.into_iter().zip(host::bits(&masks)) {
        alive[place] = Some(bits);
    }
    alive
}

struct Scoring<'a> {
    criterion: &'a Configured<dyn Criterion>,
    all: &'a [Layer],
    /// Path to layer and place in the result.
    wanted: BTreeMap<&'a str, (usize, usize)>,
    alive: &'a [Option<Bits>],
    inputs: Option<&'a CriterionInputs>,
    update: usize,
    scores: Vec<Option<(Tensor<2>, f64)>>,
    error: Option<PruneError>,
}

impl Scoring<'_> {
    fn score<const D: usize>(
        &self,
        base: Tensor<D>,
        layer: &Layer,
        alive: Option<&Bits>,
    ) -> Result<(Tensor<2>, f64), PruneError> {
        let base = base.without_autodiff();
        let base = match alive {
            None => base,
            Some(bits) => {
                let keep = host::keep_on(bits, &base.device()).reshape(base.shape()).float();
                let dtype = base.dtype();
                base * keep.cast(dtype)
            }
        };
        let weight = to_matrix(base, &layer.layout);
        let failed = |source| PruneError::Criterion {
            path: layer.path.clone(),
            criterion: self.criterion.name().to_string(),
            source,
        };
        let view = LayerView {
            path: &layer.path,
            kind: &layer.kind,
            shape: &layer.shape,
            layout: layer.layout,
            weight,
            inputs: self.inputs,
            needs: self.criterion.needs(),
            update: self.update,
        };
        let (scores, factor) = scored(&**self.criterion, &view).map_err(failed)?;
        let scores = if matches!(scores.dtype(), DType::F32 | DType::F64) { scores } else { scores.cast(DType::F32) };
        Ok((scores, f64::from(factor)))
    }
}

impl Visit for Scoring<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_some() || self.error.is_some() {
            return;
        }
        if let Some(&(layer, place)) = self.wanted.get(at.path().as_str()) {
            match self.score(param.base(), &self.all[layer], self.alive[place].as_ref()) {
                Ok(scores) => self.scores[place] = Some(scores),
                Err(error) => self.error = Some(error),
            }
        }
    }
}

/// Element scores of the targets, in the memory order of their parameters; `update` is 0 in a pruning.
pub(crate) fn score<M: Module>(
    module: &M,
    criterion: &Configured<dyn Criterion>,
    all: &[Layer],
    selection: &Selection,
    alive: &[Option<Bits>],
    inputs: Option<&CriterionInputs>,
    update: usize,
) -> Result<Vec<(Numbers, f32)>, PruneError> {
    let targets = selection.targets.iter().enumerate();
    let mut scoring = Scoring {
        criterion,
        all,
        wanted: targets.map(|(place, t)| (all[t.layer].path.as_str(), (t.layer, place))).collect(),
        alive,
        inputs,
        update,
        scores: selection.targets.iter().map(|_| None).collect(),
        error: None,
    };
    walk::visit(module, &mut scoring);
    match scoring.error {
        Some(error) => Err(error),
        None => {
            let layouts = selection.targets.iter().map(|t| all[t.layer].layout);
            let (scores, factors): (Vec<_>, Vec<_>) = scoring.scores.into_iter().flatten().unzip();
            // Within the range of 32-bit floats: a layer beyond it keeps its own ranking at least.
            let single = |factor: f64| factor.clamp(f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)) as f32;
            let numbers = host::read(scores.into_iter().zip(layouts).collect()).into_iter().zip(factors);
            Ok(numbers.map(|(numbers, factor)| (numbers.scaled(factor), single(factor))).collect())
        }
    }
}
