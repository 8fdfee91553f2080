//! How many units of each group stay, and which.

use crate::layers::Layer;
use crate::shrink::groups::Solved;
use crate::shrink::{CostTarget, ShrinkError, Shrinker};
use pruning_core::budget::{AllocationError, Amount, LayerUnits, Scores, Sparsity, allocate};
use pruning_core::graph::Group;
use pruning_core::mask::Bits;
use pruning_core::score::Order;
use std::collections::HashSet;

/// Groups to choose from, scored.
pub(crate) struct Candidate<'a> {
    pub(crate) group: &'a Group,
    /// Index of the layer it is named after, and its place among the candidates in the order of the model.
    pub(crate) layer: usize,
    pub(crate) scores: Vec<f32>,
    pub(crate) alive: Option<Bits>,
    pub(crate) own: Option<Sparsity>,
    /// Parameters and multiply-accumulates that one unit takes with it, if it goes alone.
    pub(crate) weights: usize,
    pub(crate) macs: usize,
}

pub(crate) struct Chooser<'a> {
    pub(crate) shrinker: &'a Shrinker,
    pub(crate) solved: &'a Solved<'a>,
    pub(crate) all: &'a [Layer],
    pub(crate) candidates: &'a [Candidate<'a>],
    pub(crate) multiple: usize,
    /// How much goes of a group with a sparsity of its own.
    pub(crate) own: &'a dyn Fn(Sparsity) -> Amount,
}

impl Chooser<'_> {
    /// Bisects the sparsity until the cost is as close to the target as whole units allow.
    pub(crate) fn solve(&self, target: CostTarget) -> Result<(HashSet<u32>, Vec<usize>), ShrinkError> {
        let (what, asked) = match target {
            CostTarget::Parameters(f) => ("parameters", f),
            CostTarget::Macs(f) => ("MACs", f),
        };
        if !(asked > 0.0 && asked <= 1.0) {
            return Err(ShrinkError::Fraction { value: asked });
        }
        let before = self.solved.totals(&HashSet::new());
        let fraction = |removed: &HashSet<u32>| {
            let after = self.solved.totals(removed);
            match target {
                CostTarget::Parameters(_) => after.parameters as f64 / before.parameters.max(1) as f64,
                CostTarget::Macs(_) => after.macs as f64 / before.macs.max(1) as f64,
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
            let next = match self.run(Amount::OfTotal(sparsity)) {
                Ok(next) => next,
                // More than the floors of the groups allow.
                Err(ShrinkError::Allocation(AllocationError::Unreachable { .. })) => {
                    high = middle;
                    continue;
                }
                Err(error) => return Err(error),
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

    pub(crate) fn run(&self, amount: Amount) -> Result<(HashSet<u32>, Vec<usize>), ShrinkError> {
        let recipe = self.shrinker.pruner.recipe();
        let mut ranked = Vec::with_capacity(self.candidates.len());
        for (i, c) in self.candidates.iter().enumerate() {
            let scores = Scores::of_alive(&c.scores, Order::Value, c.alive.as_ref()).map_err(|source| {
                let path = self.all[c.layer].path.clone();
                crate::pruner::selection::blamed(
                    &recipe.criterion,
                    pruning_core::budget::ChooseError::NonFinite { path, source },
                )
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
            let own = c.own.map(self.own);
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
                crate::PruneError::Choose(pruning_core::budget::ChooseError::NoAllocator { path })
            })?;
            let layers: Vec<_> = shared.iter().map(|(_, l)| *l).collect();
            let kept = allocate(&**allocator, &layers, amount, recipe.rounding).map_err(|error| match error {
                // A group without channels is no group: the recipe cannot allow it.
                AllocationError::Unreachable { keep, least, most, .. } => {
                    AllocationError::Unreachable { keep, least, most, allow_empty_helps: false }
                }
                other => other,
            })?;
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
        let least = self.shrinker.min_keep.div_ceil(multiple).saturating_mul(multiple);
        let most = units / multiple * multiple;
        if least > most {
            let path = self.name(candidate).to_string();
            return Err(ShrinkError::RoundTo { path, multiple, least: self.shrinker.min_keep, units });
        }
        let nearest = (count + multiple / 2) / multiple * multiple;
        Ok(nearest.clamp(least, most))
    }
}
