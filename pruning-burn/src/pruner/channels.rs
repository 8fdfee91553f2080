//! Masks for channels and heads in whole coupled groups, for a pruner with a trace.

use crate::amounts::Amounts;
use crate::layers::{Layer, layer_report, places};
use crate::pruner::alone::choose_alone;
use crate::reports::{layers_of, report_of};
use crate::score::CriterionInputs;
use crate::score::needed::needed;
use crate::shrink::Shrinker;
use crate::shrink::mask::{kept_elements, place_of};
use crate::shrink::plan::{Request, makers, owned};
use crate::targets::{Selection, Target, alive};
use crate::trace::{AxisRules, Trace};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::mask::Bits;
use pruning_core::report::{Report, SkipReason, Skipped};
use pruning_core::score::Granularity;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the structural granularities among the targets, each once.
fn structural(selection: &Selection) -> Vec<Granularity> {
    let mut found: Vec<Granularity> = Vec::new();
    for target in selection.targets.iter().filter(|t| t.granularity.is_structural()) {
        if !found.contains(&target.granularity) {
            found.push(target.granularity);
        }
    }
    found
}

/// Returns a selection with only the targets of one granularity.
fn part(selection: &Selection, granularity: impl Fn(Granularity) -> bool) -> Selection {
    let targets = selection.targets.iter().filter(|t| granularity(t.granularity)).cloned().collect();
    Selection { targets, dense: selection.dense.clone(), skipped: selection.skipped.clone() }
}

/// Selects masks for every parameter on which a removed channel or head lies, like [`mask`](crate::shrink::mask()).
///
/// The other targets then select from what is left. `only` restricts the selection to the groups that are counted at one layer.
pub(crate) fn select<M: Module>(
    model: &M,
    (pruner, trace): (&Pruner, &Trace),
    all: &[Layer],
    selection: &Selection,
    amounts: &Amounts<'_>,
    inputs: Option<&CriterionInputs>,
    only: Option<usize>,
) -> Result<(Vec<(usize, Bits)>, Report), PruneError> {
    needed(&pruner.recipe().criterion, inputs, model)?;
    let (mut masks, places) = (Masks::on(all), places(all));
    let (mut choices, mut fixed) = (Vec::new(), Vec::new());
    for granularity in structural(selection) {
        let targets = part(selection, |g| g == granularity);
        let request = Request { trace, all, selection: &targets, granularity, amounts, inputs, only };
        let planned = Shrinker::new(pruner).planned(model, &request)?;
        for (path, cut) in &planned.plan.parameters {
            masks.add(place_of(all, &places, path, cut)?, &kept_elements(cut))?;
        }
        choices.extend(planned.choices);
        fixed.extend(planned.fixed);
    }
    let alone = part(selection, |g| !g.is_structural());
    if only.is_none() && !alone.targets.is_empty() {
        let alive = alone.targets.iter().map(|t| masks.keep.get(&t.layer).cloned()).collect();
        for choice in choose_alone(model, pruner, all, &alone, alive, amounts, inputs)? {
            masks.keep.insert(choice.layer, choice.chosen.keep.clone());
            choices.push(choice);
        }
    }
    let free = selection.targets.iter().filter(|t| !fixed.iter().any(|(layer, _)| *layer == t.layer));
    let kept = |layer: usize| masks.keep.get(&layer).map_or(all[layer].layout.len(), Bits::count_ones);
    let mut report = report_of(all, selection, layers_of(all, free, &choices, kept));
    let listed: BTreeSet<String> = report.layers.iter().map(|l| l.path.clone()).collect();
    for layer in &mut report.layers {
        layer.kept = kept(places[layer.path.as_str()]);
    }
    let followers = masks.cut.iter().filter(|&&i| !listed.contains(&all[i].path));
    report.followers =
        followers.map(|&i| layer_report(&all[i], Granularity::Element, masks.keep[&i].count_ones())).collect();
    let stays =
        |(layer, why): &(usize, String)| Skipped::new(&all[*layer].path, SkipReason::ChannelsStay { why: why.clone() });
    report.skipped.extend(fixed.iter().map(stays));
    // Every target carries a mask, even if it loses nothing.
    for Target { layer, .. } in selection.targets.iter().filter(|_| only.is_none()) {
        masks.keep.entry(*layer).or_insert_with(|| Bits::ones(all[*layer].layout.len()));
    }
    Ok((masks.keep.into_iter().collect(), report))
}

/// The masks by layer index, including those that are attached already.
struct Masks<'a> {
    all: &'a [Layer],
    keep: BTreeMap<usize, Bits>,
    /// The layers that lose weights with a channel.
    cut: BTreeSet<usize>,
}

impl<'a> Masks<'a> {
    fn on(all: &'a [Layer]) -> Self {
        let carrying = all.iter().enumerate().filter(|(_, l)| l.keep.is_some());
        let targets =
            carrying.map(|(layer, _)| Target { layer, granularity: Granularity::Element, own: None }).collect();
        let carrying = Selection { targets, dense: Vec::new(), skipped: Vec::new() };
        let masks = alive(all, &carrying);
        let keep = carrying.targets.iter().zip(masks).filter_map(|(t, bits)| Some((t.layer, bits?))).collect();
        Self { all, keep, cut: BTreeSet::new() }
    }

    fn add(&mut self, layer: usize, keep: &Bits) -> Result<(), PruneError> {
        let Layer { path, buffer, .. } = &self.all[layer];
        // Statistics of a channel do not matter if its scale and shift are zero.
        if *buffer {
            return Ok(());
        }
        if let Some(name) = self.all[layer].foreign() {
            return Err(PruneError::Reparameterized { path: path.clone(), name: name.clone() });
        }
        match self.keep.get_mut(&layer) {
            Some(bits) => bits.intersect(keep),
            None => drop(self.keep.insert(layer, keep.clone())),
        }
        self.cut.insert(layer);
        Ok(())
    }
}

/// A layer at which groups of channels are counted.
pub(crate) struct Counted {
    pub(crate) units: usize,
    /// The number of weights in all targets whose channels are counted there.
    pub(crate) weights: usize,
}

/// Returns the layers at which the channels of structural targets are counted.
pub(crate) fn counted(
    trace: &Trace,
    all: &[Layer],
    selection: &Selection,
) -> Result<BTreeMap<usize, Counted>, PruneError> {
    let mut found: BTreeMap<usize, Counted> = BTreeMap::new();
    for granularity in structural(selection) {
        let targets = part(selection, |g| g == granularity);
        let (solved, _, owners) = owned(trace, &AxisRules::new(), all, &targets, granularity)?;
        let makers = makers(&solved, all, &owners);
        for owner in &owners {
            let here = found.entry(owner.layer).or_insert(Counted { units: 0, weights: 0 });
            here.units += solved.groups.groups[owner.group].units.len();
        }
        for target in &targets.targets {
            let first = owners.iter().zip(&makers).find(|(_, layers)| layers.contains(&target.layer));
            if let Some(here) = first.and_then(|(owner, _)| found.get_mut(&owner.layer)) {
                here.weights += all[target.layer].layout.len();
            }
        }
    }
    Ok(found)
}
