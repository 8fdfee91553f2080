//! Coupled groups as candidates of the core: units that span several axes of several parameters.

use crate::host::Numbers;
use crate::layers::Layer;
use crate::recipe::Recipe;
use crate::score::CriterionInputs;
use crate::score::element_scores::score;
use crate::shrink::ShrinkError;
use crate::shrink::groups::Solved;
use crate::shrink::owners::Owner;
use crate::targets::{Selection, Target, alive};
use burn::module::Module;
use pruning_core::budget::{Amount, Candidate, Sparsity};
use pruning_core::graph::Group;
use pruning_core::mask::Bits;
use pruning_core::score::{ChannelScore, ElementScores, Granularity, Units};
use std::collections::HashSet;

/// A parameter with a score for each element.
pub(crate) struct Scored {
    /// The index of the layer.
    pub(crate) layer: usize,
    /// The scores in memory order.
    pub(crate) scores: Numbers,
    /// The bits of its mask, if it carries one.
    pub(crate) mask: Option<Bits>,
}

/// Reads the scores and masks of every weight in the groups.
pub(crate) fn scored<M: Module>(
    model: &M,
    recipe: &Recipe,
    solved: &Solved<'_>,
    all: &[Layer],
    selection: &Selection,
    owners: &[Owner],
    inputs: Option<&CriterionInputs>,
) -> Result<Vec<Scored>, ShrinkError> {
    let target = |layer: usize| selection.targets.iter().any(|t| t.layer == layer);
    // Targets that the recipe names, such as scales of norms, are scored alone.
    let named = owners.iter().any(|o| !all[o.layer].by_default);
    let mut wanted: Vec<usize> = Vec::new();
    for owner in owners {
        for m in &solved.groups.groups[owner.group].members {
            let Some(layer) = all.iter().position(|l| l.path == solved.path(m.param)) else { continue };
            let counts = recipe.channel_score == ChannelScore::Group || owner.members.contains(&(m.param, m.axis));
            if counts && (target(layer) || (all[layer].by_default && !named)) && !wanted.contains(&layer) {
                wanted.push(layer);
            }
        }
    }
    wanted.sort_unstable();
    let targets = wanted.iter().map(|&layer| Target { layer, granularity: Granularity::Element, own: None });
    let scoring = Selection { targets: targets.collect(), dense: Vec::new(), skipped: Vec::new() };
    let masks = alive(all, &scoring);
    let scores = score(model, &recipe.criterion, all, &scoring, &masks, inputs, 0)?;
    // Scores of several layers are summed, so each layer is scaled first.
    let scaled = scores.into_iter().map(|(scores, factor)| scores.times(factor));
    let scored = wanted.into_iter().zip(scaled).zip(masks);
    Ok(scored.map(|((layer, scores), mask)| Scored { layer, scores, mask }).collect())
}

/// Returns a candidate for each owner, in the order of the model.
pub(crate) fn candidates<'a>(
    solved: &Solved<'_>,
    (recipe, own): (&Recipe, &dyn Fn(Sparsity) -> Amount),
    all: &'a [Layer],
    scored: &'a [Scored],
    owners: &[Owner],
    min_keep: usize,
) -> Vec<Candidate<'a>> {
    let whole = solved.totals(&HashSet::new());
    let reduction = recipe.reduction.unwrap_or_else(|| recipe.criterion.reduction());
    let candidate = |(place, owner): (usize, &Owner)| {
        let layer = &all[owner.layer];
        let first = solved.groups.groups[owner.group].units.first().map(|unit| unit.label);
        let without = solved.totals(&first.into_iter().collect());
        Candidate::new(&layer.path, layer.layout, units(solved, owner, recipe.channel_score, all, scored))
            .with_layer(&layer.kind, &layer.shape, place)
            .with_ranking(recipe.criterion.order(), reduction)
            .with_own(owner.own.map(own))
            .with_least(min_keep)
            .with_unit_cost((whole.parameters - without.parameters) as usize, (whole.macs - without.macs) as usize)
    };
    owners.iter().enumerate().map(candidate).collect()
}

/// Returns the units of a group, with the scores of all parameters along the axes that count.
fn units<'a>(
    solved: &Solved<'_>,
    owner: &Owner,
    score: ChannelScore,
    all: &'a [Layer],
    scored: &'a [Scored],
) -> Units<'a> {
    let group = &solved.groups.groups[owner.group];
    let mut units = Units::coupled(group.units.len());
    for (m, member) in group.members.iter().enumerate() {
        // A unit is gone if the weights that make it are masked; the weights that read it then contribute nothing.
        let makes = owner.members.contains(&(member.param, member.axis));
        let path = solved.path(member.param);
        let found = scored.iter().find(|s| all[s.layer].path == path);
        let Some(found) = found.filter(|_| makes || score == ChannelScore::Group) else { continue };
        let (path, shape) = (&all[found.layer].path, &all[found.layer].shape);
        let [outer, inner] = [&shape[..member.axis], &shape[member.axis + 1..]].map(|dims| dims.iter().product());
        let elements = ElementScores::new(found.scores.as_slice())
            .with_exact(found.scores.exact())
            .with_alive(found.mask.as_ref());
        let along = units_along(group, m, shape[member.axis]);
        units = units.with_part(path, elements, [outer, shape[member.axis], inner], &along, makes);
    }
    units
}

/// Returns the unit of each position of a member's axis, if it has one.
fn units_along(group: &Group, member: usize, size: usize) -> Vec<Option<usize>> {
    let mut units = vec![None; size];
    for (u, unit) in group.units.iter().enumerate() {
        unit.positions[member].iter().for_each(|&position| units[position] = Some(u));
    }
    units
}
