//! From a recipe and a trace to a plan: [`Shrinker`].

use super::ShrinkError;
use super::groups::Solved;
use super::score::{Scored, alive_units, unit_scores};
use crate::layers::{Layer, layers, names};
use crate::select::{Selection, Target as Pruned, alive, needed, score};
use crate::trace::{Rules, Trace};
use crate::{Inputs, Pruner, Recipe};
use burn::module::Module;
use burn::tensor::Device;
use pruning_core::graph::{Cut, Dim, Factor, Group, GroupCut, ShrinkPlan, Totals};
use pruning_core::{Amount, Axis, Bits, Budget, Granularity, LayerUnits, Order, Scores, Sparsity, allocate};
use std::collections::{BTreeMap, HashSet};

/// What the plan should bring down, and to which fraction of what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Parameters.
    Parameters(f64),
    /// Multiply-accumulates.
    Macs(f64),
}

/// Multiples to which counts of channels are rounded, for the sake of the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoundTo {
    /// Multiples of this.
    Multiple(usize),
    /// What suits a device: 8 on a CPU, one vector register of 32-bit floats; 16 on a GPU, one tile of a matrix unit.
    Device,
}

/// Makes plans by a recipe of granularity `channel` or `head`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Shrinker {
    pruner: Pruner,
    target: Option<Target>,
    round_to: Option<RoundTo>,
    min_keep: usize,
    rules: Rules,
}

/// Groups to choose from, scored.
struct Candidate<'a> {
    group: &'a Group,
    /// Index of the layer it is named after, and its place among the candidates in the order of the model.
    layer: usize,
    scores: Vec<f32>,
    alive: Option<Bits>,
    own: Option<Sparsity>,
    /// Parameters and multiply-accumulates that one unit takes with it, if it goes alone.
    weights: usize,
    macs: usize,
}

impl Shrinker {
    /// By the recipe of a pruner: criterion, reduction, allocator, sparsity, granularity, targets and overrides.
    pub fn new(pruner: &Pruner) -> Self {
        Self { pruner: pruner.clone(), target: None, round_to: None, min_keep: 1, rules: Rules::new() }
    }

    /// Removes as much as it takes to reach a fraction of parameters or MACs, instead of the recipe's sparsity.
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Keeps multiples of channels. Heads are multiples of their size already.
    pub fn round_to(mut self, round_to: RoundTo) -> Self {
        self.round_to = Some(round_to);
        self
    }

    /// Least units that each group keeps; at least 1.
    pub fn min_keep(mut self, units: usize) -> Self {
        self.min_keep = units.max(1);
        self
    }

    /// Rules for operations that have none.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Plans for a model, by weights alone.
    ///
    /// # Errors
    /// The recipe does not fit, or a target cannot be reached.
    pub fn plan<M: Module>(&self, model: &M, trace: &Trace) -> Result<ShrinkPlan, ShrinkError> {
        self.plan_by(model, trace, None)
    }

    /// The same for a criterion that looks at more than the weights.
    ///
    /// # Errors
    /// As [`plan`](Self::plan); an input that the criterion needs is missing.
    pub fn plan_with<M: Module>(&self, model: &M, trace: &Trace, inputs: &Inputs) -> Result<ShrinkPlan, ShrinkError> {
        self.plan_by(model, trace, Some(inputs))
    }

    fn plan_by<M: Module>(&self, model: &M, trace: &Trace, inputs: Option<&Inputs>) -> Result<ShrinkPlan, ShrinkError> {
        let recipe = self.pruner.recipe();
        let (prefer, axis, head) = match recipe.granularity {
            Granularity::Channel { axis } => (Factor::Inner, axis, None),
            Granularity::Head { size, axis } => (Factor::Outer, axis, Some(size)),
            other => return Err(ShrinkError::Granularity { granularity: other.to_string() }),
        };
        let all = layers(model);
        let selection = Selection::new(recipe, &all)?;
        needed(recipe, inputs)?;
        let solved = Solved::new(trace, &self.rules, prefer)?;
        fits(trace, &all)?;
        let owners = owners(&solved, &all, &selection, axis, head)?;
        check_named(recipe, &solved, &all, &selection, &owners, axis)?;
        let candidates = self.candidates(model, &solved, &all, &selection, owners, inputs)?;
        let multiple = self.multiple(&model.devices());
        let (removed, counts) = self.choose(&solved, &all, &candidates, multiple)?;
        plan_of(&solved, &all, &candidates, &counts, &removed)
    }

    fn multiple(&self, devices: &[Device]) -> usize {
        match self.round_to {
            None => 1,
            Some(RoundTo::Multiple(multiple)) => multiple.max(1),
            Some(RoundTo::Device) => {
                let name = devices.first().map(|d| format!("{d:?}").to_lowercase()).unwrap_or_default();
                if ["flex", "ndarray", "cpu"].iter().any(|cpu| name.contains(cpu)) { 8 } else { 16 }
            }
        }
    }

    fn candidates<'a, M: Module>(
        &self,
        model: &M,
        solved: &'a Solved<'_>,
        all: &[Layer],
        selection: &Selection,
        owners: Vec<Owner>,
        inputs: Option<&Inputs>,
    ) -> Result<Vec<Candidate<'a>>, ShrinkError> {
        let recipe = self.pruner.recipe();
        let scored = scored(model, recipe, solved, all, selection, &owners, inputs)?;
        let reduction = recipe.reduction.unwrap_or_else(|| recipe.criterion.reduction());
        let masks = alive(all, selection);
        let masked: Vec<_> = (selection.targets.iter().zip(&masks))
            .filter_map(|(t, bits)| Some((all[t.layer].path.as_str(), all[t.layer].shape.as_slice(), bits.as_ref()?)))
            .collect();
        let candidates = owners.into_iter().map(|owner| {
            let group = &solved.groups.groups[owner.group];
            let scores = unit_scores(solved, group, all, &scored, (reduction, recipe.criterion.order()));
            // A unit is gone when the weights that make it are; what they feed is zero with them, masked or not.
            let here: Vec<_> = (group.members.iter().enumerate())
                .filter(|(_, m)| owner.members.contains(&(m.param, m.axis)))
                .filter_map(|(i, m)| {
                    let (_, shape, bits) = masked.iter().find(|(path, ..)| *path == solved.path(m.param))?;
                    Some((i, *shape, *bits))
                })
                .collect();
            let all_masked = here.len() == owner.members.len();
            let alive = if all_masked { alive_units(group, &here) } else { None };
            let one: HashSet<u32> = group.units.first().map(|u| u.label).into_iter().collect();
            let (whole, without) = (solved.totals(&HashSet::new()), solved.totals(&one));
            let weights = (whole.parameters - without.parameters) as usize;
            let macs = (whole.macs - without.macs) as usize;
            Candidate { group, layer: owner.layer, scores, alive, own: owner.own, weights, macs }
        });
        Ok(candidates.collect())
    }

    /// Sets that go, and how many units each candidate keeps.
    fn choose(
        &self,
        solved: &Solved<'_>,
        all: &[Layer],
        candidates: &[Candidate<'_>],
        multiple: usize,
    ) -> Result<(HashSet<u32>, Vec<usize>), ShrinkError> {
        let chooser = Chooser { shrinker: self, solved, all, candidates, multiple };
        let Some(target) = self.target else {
            return chooser.run(match self.pruner.recipe().budget {
                Budget::Sparsity(sparsity) => Amount::OfTotal(sparsity),
                Budget::Count(count) => Amount::Count(count),
            });
        };
        chooser.solve(target)
    }
}

struct Chooser<'a> {
    shrinker: &'a Shrinker,
    solved: &'a Solved<'a>,
    all: &'a [Layer],
    candidates: &'a [Candidate<'a>],
    multiple: usize,
}

impl Chooser<'_> {
    /// Bisects the sparsity until the cost is as close to the target as whole units allow.
    fn solve(&self, target: Target) -> Result<(HashSet<u32>, Vec<usize>), ShrinkError> {
        let (what, asked) = match target {
            Target::Parameters(f) => ("parameters", f),
            Target::Macs(f) => ("MACs", f),
        };
        if !(asked > 0.0 && asked <= 1.0) {
            return Err(ShrinkError::Fraction { value: asked });
        }
        let before = self.solved.totals(&HashSet::new());
        let fraction = |removed: &HashSet<u32>| {
            let after = self.solved.totals(removed);
            match target {
                Target::Parameters(_) => after.parameters as f64 / before.parameters.max(1) as f64,
                Target::Macs(_) => after.macs as f64 / before.macs.max(1) as f64,
            }
        };
        let (mut low, mut high) = (0.0, 1.0);
        let mut best = self.run(Amount::OfTotal(Sparsity::ZERO))?;
        let mut reachable = fraction(&best.0);
        let mut found = reachable <= asked;
        for _ in 0..40 {
            if found && low == 0.0 && high == 1.0 {
                break;
            }
            let middle: f64 = 0.5 * (low + high);
            let Ok(sparsity) = Sparsity::new(middle) else { break };
            let Ok(next) = self.run(Amount::OfTotal(sparsity)) else {
                // More than the floors of the groups allow.
                high = middle;
                continue;
            };
            let cost = fraction(&next.0);
            if cost <= asked {
                high = middle;
            } else {
                low = middle;
            }
            found |= cost <= asked;
            if (cost - asked).abs() < (reachable - asked).abs() {
                (best, reachable) = (next, cost);
            }
        }
        if found { Ok(best) } else { Err(ShrinkError::Unreachable { what, asked, reachable }) }
    }

    fn run(&self, amount: Amount) -> Result<(HashSet<u32>, Vec<usize>), ShrinkError> {
        let recipe = self.shrinker.pruner.recipe();
        let mut ranked = Vec::with_capacity(self.candidates.len());
        for (i, c) in self.candidates.iter().enumerate() {
            let scores = Scores::of_alive(&c.scores, Order::Value, c.alive.as_ref()).map_err(|source| {
                let path = self.all[c.layer].path.clone();
                crate::PruneError::Choose(pruning_core::ChooseError::NonFinite { path, source })
            })?;
            ranked.push((i, scores));
        }
        ranked.sort_by(|(a, _), (b, _)| self.name(*a).cmp(self.name(*b)));
        let mut counts = vec![0; self.candidates.len()];
        let mut shared = Vec::new();
        for (i, scores) in &ranked {
            let (i, c) = (*i, &self.candidates[*i]);
            let layer = &self.all[c.layer];
            let least = self.shrinker.min_keep.min(scores.alive());
            let own = c.own.map(Amount::OfTotal);
            let even =
                own.unwrap_or(amount).keep(scores.len(), scores.alive(), recipe.rounding).unwrap_or(0).max(least);
            if own.is_some() {
                counts[i] = even;
                continue;
            }
            shared.push((
                i,
                LayerUnits {
                    path: &layer.path,
                    kind: &layer.kind,
                    shape: &layer.shape,
                    layout: layer.layout,
                    place: i,
                    scores,
                    least,
                    even,
                    weights: c.weights,
                    macs: Some(c.macs),
                },
            ));
        }
        if !shared.is_empty() {
            let allocator = recipe.allocator.as_ref().ok_or_else(|| {
                let path = shared[0].1.path.to_string();
                crate::PruneError::Choose(pruning_core::ChooseError::NoAllocator { path })
            })?;
            let layers: Vec<_> = shared.iter().map(|(_, l)| *l).collect();
            let kept = allocate(&**allocator, &layers, amount, recipe.rounding)?;
            shared.iter().zip(kept).for_each(|((i, _), count)| counts[*i] = count);
        }
        let mut removed = HashSet::new();
        for (i, scores) in &ranked {
            counts[*i] = self.rounded(*i, counts[*i], scores)?;
            let keep = scores.keep_highest(counts[*i]);
            let units = self.candidates[*i].group.units.iter().enumerate();
            removed.extend(units.filter(|(u, _)| !keep.get(*u)).map(|(_, unit)| unit.label));
        }
        Ok((removed, counts))
    }

    fn name(&self, candidate: usize) -> &str {
        &self.all[self.candidates[candidate].layer].path
    }

    /// The nearest multiple that is allowed; all units stay all units.
    fn rounded(&self, candidate: usize, count: usize, scores: &Scores<'_>) -> Result<usize, ShrinkError> {
        let (multiple, units) = (self.multiple, scores.alive());
        if multiple == 1 || count == units || self.candidates[candidate].group.split {
            return Ok(count);
        }
        let least = self.shrinker.min_keep.max(1).div_ceil(multiple) * multiple;
        let most = units / multiple * multiple;
        if least > most {
            let path = self.name(candidate).to_string();
            return Err(ShrinkError::RoundTo { path, multiple, least: self.shrinker.min_keep, units });
        }
        let nearest = (count + multiple / 2) / multiple * multiple;
        Ok(nearest.clamp(least, most))
    }
}

/// A group, and the targets whose outputs (or inputs) its units are.
struct Owner {
    group: usize,
    layer: usize,
    members: Vec<(usize, usize)>,
    own: Option<Sparsity>,
}

/// The axis of a weight that its output or input channels are.
fn channel_axis(layer: &Layer, axis: Axis) -> usize {
    let transposed = layer.kind.starts_with("ConvTranspose") || ["Linear", "Embedding"].contains(&layer.kind.as_str());
    let output = usize::from(transposed && layer.shape.len() > 1);
    if axis == Axis::Output || layer.shape.len() < 2 { output } else { 1 - output }
}

fn owners(
    solved: &Solved<'_>,
    all: &[Layer],
    selection: &Selection,
    axis: Axis,
    head: Option<usize>,
) -> Result<Vec<Owner>, ShrinkError> {
    let target = |path: &str| selection.targets.iter().find(|t| all[t.layer].path == path);
    let left_out = |path: &str| selection.skipped.iter().any(|s| s.path == path && s.why.starts_with("excluded"));
    let mut owners = Vec::new();
    for (g, group) in solved.groups.groups.iter().enumerate() {
        if head.is_some() && !group.split {
            continue;
        }
        let mut members = Vec::new();
        let mut first: Option<&Pruned> = None;
        let mut excluded = false;
        for m in &group.members {
            let path = solved.path(m.param);
            let Some(layer) = all.iter().position(|l| l.path == path) else { continue };
            let makes = channel_axis(&all[layer], axis) == m.axis;
            excluded |= makes && left_out(path);
            if let Some(t) = target(path).filter(|_| makes) {
                members.push((m.param, m.axis));
                first = first.or(Some(t));
            }
        }
        let Some(t) = first.filter(|_| !excluded) else { continue };
        if let Some(expected) = head {
            let at = group.members.iter().position(|m| members.contains(&(m.param, m.axis))).unwrap_or(0);
            let found = group.units[0].positions[at].len();
            if found != expected {
                return Err(ShrinkError::HeadSize { path: all[t.layer].path.clone(), expected, found });
            }
        }
        owners.push(Owner { group: g, layer: t.layer, members, own: t.own });
    }
    if owners.is_empty() {
        let why = solved.groups.pinned.iter().find(|p| {
            let layer = target(solved.path(p.member.param)).map(|t| &all[t.layer]);
            layer.is_some_and(|l| channel_axis(l, axis) == p.member.axis)
        });
        let why = match why {
            Some(p) => format!("{}: {}", solved.path(p.member.param), p.why),
            None if head.is_some() => "no axis is split into heads".to_string(),
            None => "the forward uses none of the targets".to_string(),
        };
        return Err(ShrinkError::NothingToRemove { why });
    }
    // By the order of the model.
    owners.sort_by_key(|o| o.layer);
    Ok(owners)
}

/// A pattern that selects targets, none of which can lose a channel, is an error: it would do nothing without a word.
fn check_named(
    recipe: &Recipe,
    solved: &Solved<'_>,
    all: &[Layer],
    selection: &Selection,
    owners: &[Owner],
    axis: Axis,
) -> Result<(), ShrinkError> {
    let owned: HashSet<&str> = owners.iter().flat_map(|o| o.members.iter().map(|m| solved.path(m.0))).collect();
    let patterns = recipe.targets.include.iter().chain(recipe.overrides.iter().map(|o| &o.target));
    for pattern in patterns.filter(|p| p.as_str() != "*") {
        let matching = |t: &&Pruned| names(&all[t.layer]).any(|n| pattern.matches(n).is_some());
        let found: Vec<_> = selection.targets.iter().filter(matching).map(|t| &all[t.layer]).collect();
        let Some(first) = found.first().filter(|_| !found.iter().any(|l| owned.contains(l.path.as_str()))) else {
            continue;
        };
        let wanted = channel_axis(first, axis);
        let pinned =
            solved.groups.pinned.iter().find(|p| solved.path(p.member.param) == first.path && p.member.axis == wanted);
        let why = pinned.map_or("no group of channels is made by it alone".to_string(), |p| p.why.clone());
        return Err(ShrinkError::Fixed { path: first.path.clone(), why });
    }
    Ok(())
}

/// Scores of every weight in the groups, read once.
fn scored<M: Module>(
    model: &M,
    recipe: &Recipe,
    solved: &Solved<'_>,
    all: &[Layer],
    selection: &Selection,
    owners: &[Owner],
    inputs: Option<&Inputs>,
) -> Result<Scored, ShrinkError> {
    let target = |layer: usize| selection.targets.iter().any(|t| t.layer == layer);
    // A criterion for scales of norms, which were named, has nothing to say of weights.
    let named = owners.iter().any(|o| !all[o.layer].by_default);
    let mut wanted: Vec<usize> = Vec::new();
    for owner in owners {
        for m in &solved.groups.groups[owner.group].members {
            let Some(layer) = all.iter().position(|l| l.path == solved.path(m.param)) else { continue };
            if (target(layer) || (all[layer].by_default && !named)) && !wanted.contains(&layer) {
                wanted.push(layer);
            }
        }
    }
    wanted.sort_unstable();
    let targets = wanted.iter().map(|&layer| Pruned { layer, granularity: Granularity::Element, own: None });
    let scoring = Selection { targets: targets.collect(), skipped: Vec::new() };
    let masks = alive(all, &scoring);
    let scores = score(model, &recipe.criterion, all, &scoring, &masks, inputs)?;
    // Units of several layers add up, so each is brought to its scale first.
    Ok(wanted.into_iter().zip(scores.into_iter().map(|(scores, factor)| scores.times(factor))).collect())
}

/// The trace must be of this model.
fn fits(trace: &Trace, all: &[Layer]) -> Result<(), ShrinkError> {
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

fn plan_of(
    solved: &Solved<'_>,
    all: &[Layer],
    candidates: &[Candidate<'_>],
    counts: &[usize],
    removed: &HashSet<u32>,
) -> Result<ShrinkPlan, ShrinkError> {
    let trace = solved.analysis.trace;
    let mut parameters = BTreeMap::new();
    for (param, traced) in trace.params.iter().enumerate() {
        let Some(index) = solved.analysis.index[param] else { continue };
        let mut keep = BTreeMap::new();
        for (axis, dim) in solved.analysis.graph.dims(index).iter().enumerate() {
            let Dim::Free { labels, .. } = dim else { continue };
            let gone = |l: &u32| removed.contains(&solved.groups.set_of(*l));
            if labels.iter().any(gone) {
                keep.insert(axis, (0..labels.len()).filter(|&p| !gone(&labels[p])).collect());
            }
        }
        if !keep.is_empty() {
            let aliases = traced.paths[1..].to_vec();
            parameters.insert(traced.path().to_string(), Cut { shape: traced.shape.clone(), aliases, keep });
        }
    }
    let groups = candidates.iter().zip(counts).map(|(c, &kept)| {
        let path = all[c.layer].path.clone();
        let own = c.group.members.iter().position(|m| solved.path(m.param) == path).unwrap_or(0);
        let others = c.group.members.iter().map(|m| solved.axis(m.param, m.axis).to_string());
        GroupCut {
            path,
            axes: others.collect(),
            units: c.group.units.len(),
            kept,
            size: c.group.units[0].positions[own].len(),
        }
    });
    let groups = groups.collect();
    let (before, after): (Totals, Totals) = (solved.totals(&HashSet::new()), solved.totals(removed));
    Ok(ShrinkPlan::new(parameters, solved.fields(removed), groups, before, after, solved.products(removed))?)
}
