//! The groups that a recipe selects: those whose units are the channels of its targets.

use crate::layer_types;
use crate::layers::{Layer, layer_path, names};
use crate::recipe::Recipe;
use crate::shrink::ShrinkError;
use crate::shrink::groups::Solved;
use crate::targets::{Selection, Target as Pruned};
use crate::trace::Trace;
use pruning_core::budget::Sparsity;
use pruning_core::graph::Member;
use pruning_core::score::Axis;
use std::collections::HashSet;

/// A group together with the targets whose outputs (or inputs) are its units.
pub(crate) struct Owner {
    pub(crate) group: usize,
    pub(crate) layer: usize,
    /// The path of the layer.
    pub(crate) path: String,
    pub(crate) members: Vec<(usize, usize)>,
    pub(crate) own: Option<Sparsity>,
}

/// The channels of a head by the recipe; `None` leaves them to the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadSize(pub(crate) Option<usize>);

impl Solved<'_> {
    /// Returns the axis of a weight that holds its output or input channels.
    ///
    /// The layer determines it, or for a user's own parameter its product, such as experts in one `[experts, in, out]`.
    pub(crate) fn channel_axis(&self, layer: &Layer, axis: Axis) -> usize {
        let param = || self.analysis.trace.params.iter().position(|p| p.paths.contains(&layer.path));
        let of_product = || self.analysis.channels.get(&param()?).copied();
        let [input, output] = match layer.shape.len() {
            0 | 1 => [0, 0],
            _ => layer_types::of(&layer.kind).channel_axes().or_else(of_product).unwrap_or([1, 0]),
        };
        if axis == Axis::Output { output } else { input }
    }
}

pub(crate) fn owners(
    solved: &Solved<'_>,
    all: &[Layer],
    selection: &Selection,
    axis: Axis,
    head: Option<HeadSize>,
) -> Result<Vec<Owner>, ShrinkError> {
    let target = |path: &str| selection.targets.iter().find(|t| all[t.layer].path == path);
    let dense = |path: &str| selection.dense.iter().any(|t| all[t.layer].path == path);
    let left_out =
        |path: &str| dense(path) || selection.skipped.iter().any(|s| s.path == path && s.reason.is_exclusion());
    let heads = solved.heads();
    let mut owners = Vec::new();
    for (g, group) in solved.groups.groups.iter().enumerate() {
        let of_attention = heads.get(&group.units[0].label);
        if head.is_some() && of_attention.is_none() {
            continue;
        }
        let mut members = Vec::new();
        let mut first: Option<&Pruned> = None;
        let mut own: Option<Sparsity> = None;
        let mut excluded = false;
        for m in &group.members {
            let path = solved.path(m.param);
            let Some(layer) = all.iter().position(|l| l.path == path) else { continue };
            let makes = solved.channel_axis(&all[layer], axis) == m.axis;
            excluded |= makes && left_out(path);
            if let Some(t) = target(path).filter(|_| makes) {
                members.push((m.param, m.axis));
                first = first.or(Some(t));
                // Layers that share channels lose as few as the layer with the lowest sparsity.
                own = own.into_iter().chain(t.own).min_by(|a, b| a.value().total_cmp(&b.value()));
            }
        }
        let Some(t) = first.filter(|_| !excluded) else { continue };
        if let (Some(HeadSize(Some(expected))), Some(&Some(found))) = (head, of_attention)
            && found != expected
        {
            return Err(ShrinkError::HeadSize { path: all[t.layer].path.clone(), expected, found });
        }
        let path = all[t.layer].path.clone();
        owners.push(Owner { group: g, layer: t.layer, path, members, own });
    }
    if owners.is_empty() {
        let meant = |path: &str| selection.targets.iter().any(|t| layer_path(&all[t.layer].path) == layer_path(path));
        let pinned = solved.groups.pinned.iter().find(|p| {
            let layer = target(solved.path(p.member.param)).map(|t| &all[t.layer]);
            layer.is_some_and(|l| solved.channel_axis(l, axis) == p.member.axis)
        });
        let why = match (head, solved.heads_stay(meant), pinned) {
            (Some(_), Some((path, why)), _) => format!("{path}: {why}"),
            (Some(_), None, _) => "the targets make no heads of an attention".to_string(),
            (None, _, Some(p)) => format!("{}: {}", solved.path(p.member.param), p.why),
            (None, _, None) => "the forward uses none of the targets".to_string(),
        };
        return Err(ShrinkError::NothingToRemove { why });
    }
    // The owners are in the order of the model.
    owners.sort_by_key(|o| o.layer);
    Ok(owners)
}

/// Returns an error if no target of a pattern can lose a channel, since the pattern would silently do nothing.
pub(crate) fn check_named(
    recipe: &Recipe,
    solved: &Solved<'_>,
    all: &[Layer],
    selection: &Selection,
    owners: &[Owner],
    (axis, heads): (Axis, bool),
) -> Result<(), ShrinkError> {
    let owned: HashSet<&str> = owners.iter().flat_map(|o| o.members.iter().map(|m| solved.path(m.0))).collect();
    let patterns = recipe.targets.include.iter().chain(recipe.overrides.iter().map(|o| &o.target));
    for pattern in patterns.filter(|p| p.as_str() != "*") {
        let matching = |t: &&Pruned| names(&all[t.layer]).any(|n| pattern.matches(n).is_some());
        let found: Vec<_> = selection.targets.iter().filter(matching).map(|t| &all[t.layer]).collect();
        let Some(first) = found.first().filter(|_| !found.iter().any(|l| owned.contains(l.path.as_str()))) else {
            continue;
        };
        if heads && let Some((path, why)) = solved.heads_stay(|path| pattern.matches(path).is_some()) {
            return Err(ShrinkError::Fixed { path: path.to_string(), why });
        }
        return Err(ShrinkError::Fixed { path: first.path.clone(), why: why_fixed(solved, first, axis) });
    }
    Ok(())
}

/// Returns why the channels of a target stay.
pub(crate) fn why_fixed(solved: &Solved<'_>, layer: &Layer, axis: Axis) -> String {
    let wanted = solved.channel_axis(layer, axis);
    let here = |member: Member| solved.path(member.param) == layer.path && member.axis == wanted;
    if let Some(pinned) = solved.groups.pinned.iter().find(|p| here(p.member)) {
        return pinned.why.clone();
    }
    match solved.groups.groups.iter().any(|g| g.members.iter().any(|m| here(*m))) {
        true => "another layer that makes the same channels is left out, or they are not split into heads".to_string(),
        false => "the forward does not use them, or there is only one".to_string(),
    }
}

/// Returns an error unless the trace belongs to this model.
pub(crate) fn fits(trace: &Trace, all: &[Layer]) -> Result<(), ShrinkError> {
    for traced in trace.params.iter().filter(|p| p.float) {
        let found = all.iter().find(|l| names(l).any(|n| n == traced.path())).map(|l| l.shape.clone());
        if found.as_ref() != Some(&traced.shape) {
            return Err(ShrinkError::OtherModel {
                path: traced.path().to_string(),
                expected: traced.shape.clone(),
                found: found.unwrap_or_default(),
            });
        }
    }
    Ok(())
}
