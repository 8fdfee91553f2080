//! The number of units that each group loses: the core's choice, rounded for the hardware or solved for a target cost.

use crate::shrink::ShrinkError;
use crate::shrink::groups::Solved;
use crate::shrink::owners::Owner;
use pruning_core::budget::{AllocationError, Amount, ChooseError, ChooseRules, Chosen, RankedUnits, Sparsity};
use std::collections::HashSet;

/// A target for the cost of the smaller model, as a fraction of the dense model's.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum CostTarget {
    /// The fraction of parameters to keep.
    Parameters(f64),
    /// The fraction of multiply-accumulates to keep.
    Macs(f64),
}

/// The groups of a trace and the rules for choosing units from them.
pub(crate) struct Chooser<'a> {
    pub(crate) solved: &'a Solved<'a>,
    /// The group of each candidate.
    pub(crate) owners: &'a [Owner],
    pub(crate) ranked: RankedUnits<'a>,
    pub(crate) rules: ChooseRules<'a>,
    pub(crate) multiple: usize,
    pub(crate) min_keep: usize,
    /// The name of the criterion.
    pub(crate) criterion: &'a str,
}

/// The result of a choice: the removed labels, and the kept units of each group.
pub(crate) struct Removed {
    pub(crate) labels: HashSet<u32>,
    pub(crate) chosen: Vec<Chosen>,
}

impl Chooser<'_> {
    /// Bisects the sparsity until the cost is as close to the target as whole units allow.
    pub(crate) fn solve(&self, target: CostTarget) -> Result<Removed, ShrinkError> {
        let (what, asked) = match target {
            CostTarget::Parameters(f) => ("parameters", f),
            CostTarget::Macs(f) => ("MACs", f),
        };
        if !(asked > 0.0 && asked <= 1.0) {
            return Err(ShrinkError::Fraction { value: asked });
        }
        let before = self.solved.totals(&HashSet::new());
        let fraction = |removed: &Removed| {
            let after = self.solved.totals(&removed.labels);
            match target {
                CostTarget::Parameters(_) => after.parameters as f64 / before.parameters.max(1) as f64,
                CostTarget::Macs(_) => after.macs as f64 / before.macs.max(1) as f64,
            }
        };
        let (mut low, mut high) = (0.0, 1.0);
        let mut best = self.run_at(Amount::OfTotal(Sparsity::ZERO))?;
        let mut reachable = fraction(&best);
        let mut found = reachable <= asked;
        for _ in 0..40 {
            if found && low == 0.0 && high == 1.0 {
                break;
            }
            let middle: f64 = 0.5 * (low + high);
            let Ok(sparsity) = Sparsity::new(middle) else { break };
            let next = match self.run_at(Amount::OfTotal(sparsity)) {
                Ok(next) => next,
                // The groups must keep more than this sparsity allows.
                Err(ShrinkError::Allocation(AllocationError::Unreachable { .. })) => {
                    high = middle;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let cost = fraction(&next);
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

    /// Chooses units by the amount in the rules.
    pub(crate) fn run(&self) -> Result<Removed, ShrinkError> {
        self.run_at(self.rules.amount)
    }

    fn run_at(&self, amount: Amount) -> Result<Removed, ShrinkError> {
        let refused = |error| refused(self.criterion, error);
        let mut quotas = self.ranked.quotas(&self.rules.with_amount(amount)).map_err(refused)?;
        for (i, quota) in quotas.iter_mut().enumerate() {
            quota.keep = self.rounded(i, quota.keep)?;
        }
        let chosen = self.ranked.keep(&quotas, &self.rules).map_err(refused)?;
        let mut labels = HashSet::new();
        for (owner, chosen) in self.owners.iter().zip(&chosen) {
            let units = self.solved.groups.groups[owner.group].units.iter().enumerate();
            labels.extend(units.filter(|(u, _)| !chosen.keep.get(*u)).map(|(_, unit)| unit.label));
        }
        Ok(Removed { labels, chosen })
    }

    /// Returns the nearest allowed multiple. A group that keeps all units still does.
    fn rounded(&self, candidate: usize, count: usize) -> Result<usize, ShrinkError> {
        let (multiple, units, owner) = (self.multiple, self.ranked.alive(candidate), &self.owners[candidate]);
        if multiple == 1 || count == units || self.solved.groups.groups[owner.group].split {
            return Ok(count);
        }
        let least = self.min_keep.div_ceil(multiple).saturating_mul(multiple);
        let most = units / multiple * multiple;
        if least > most {
            let path = owner.path.clone();
            return Err(ShrinkError::RoundTo { path, multiple, least: self.min_keep, units });
        }
        let nearest = (count + multiple / 2) / multiple * multiple;
        Ok(nearest.clamp(least, most))
    }
}

/// Converts an error of the core's choice.
pub(crate) fn refused(criterion: &str, error: ChooseError) -> ShrinkError {
    match error {
        ChooseError::NonFinite { path, source } => {
            ShrinkError::NonFinite { path, criterion: criterion.to_string(), source }
        }
        // A group cannot lose all its channels, whatever the recipe allows.
        ChooseError::Allocation(AllocationError::Unreachable { keep, least, most, .. }) => {
            AllocationError::Unreachable { keep, least, most, allow_empty_helps: false }.into()
        }
        ChooseError::Allocation(error) => error.into(),
        error => crate::PruneError::Choose(error).into(),
    }
}
