//! From scores to masks: [`choose_masks`], the host's part of one pruning.

use crate::budget::allocate::{AllocationError, allocate};
use crate::budget::candidate::Candidate;
use crate::budget::chosen::{ChooseError, ChooseRules, Chosen, Compare, Quota};
use crate::budget::nm::{NmError, keep_n_of_m};
use crate::budget::select::Reading;
use crate::budget::{Amount, LayerUnits, Scores, ranks};
use crate::mask::Bits;
use crate::score::{Along, ElementScores, Granularity, MatrixLayout, Order, ScoreError};
use std::borrow::Cow;
use std::sync::OnceLock;

/// Chooses the elements of all candidates that stay, and returns them in the order of the candidates.
///
/// N:M candidates are cut group by group, and candidates with an amount of their own are pruned by themselves. All others share the
/// budget by the allocator. In each candidate the highest scores stay, and pruned units stay pruned.
///
/// ```
/// use pruning_core::budget::{Amount, Candidate, ChooseRules, Sparsity, choose_masks};
/// use pruning_core::score::{ElementScores, Granularity, MatrixLayout, Units};
/// // 2:4 needs no allocator: each group of four keeps its two highest scores.
/// let scores = [0.1, 0.9, 0.3, 0.7, 0.8, 0.2, 0.6, 0.4];
/// let layout = MatrixLayout::row_major(2, 4);
/// let units = Units::of(Granularity::nm(2, 4)?, layout, ElementScores::new(&scores));
/// let rules = ChooseRules::new(Amount::OfTotal(Sparsity::new(0.5)?));
/// let chosen = choose_masks(&[Candidate::new("fc1.weight", layout, units)], &rules)?;
/// assert_eq!(chosen[0].keep.to_bools(), [false, true, false, true, true, false, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The granularity does not fit a layer, a score is not finite, or the budget is out of reach.
pub fn choose_masks(candidates: &[Candidate<'_>], rules: &ChooseRules<'_>) -> Result<Vec<Chosen>, ChooseError> {
    let ranked = RankedUnits::new(candidates)?;
    ranked.keep(&ranked.quotas(rules)?, rules)
}

/// The units of all candidates with their ranks, from which [`choose_masks`] chooses: first how many each keeps, then which.
///
/// A caller that asks for several budgets, or changes the counts, takes both steps itself and ranks once.
#[derive(Debug)]
pub struct RankedUnits<'a> {
    candidates: &'a [Candidate<'a>],
    ranked: Vec<Ranked<'a>>,
    /// Whether the units that share a budget are compared in double precision; of those in memory.
    double: bool,
}

#[derive(Debug)]
enum Ranked<'a> {
    /// Groups of one layer, which are compared with nothing else.
    Nm {
        layout: &'a MatrixLayout,
        pattern: (usize, usize, Along),
        elements: ElementScores<'a>,
        ranks: Option<Vec<f32>>,
    },
    Units(Box<Scores<'a>>),
}

impl<'a> RankedUnits<'a> {
    /// Scores and ranks the units. If a candidate that shares the budget has exact scores, all that share it are compared in double
    /// precision.
    ///
    /// Units whose scores are read again ([`Units::read_again`](crate::score::Units::read_again)) are neither read nor ranked here.
    ///
    /// # Errors
    /// The granularity does not fit a layer, or a score is not finite.
    pub fn new(candidates: &'a [Candidate<'a>]) -> Result<Self, ChooseError> {
        Self::compared(candidates, false)
    }

    /// The same, with a shared budget in double precision if `double` says so.
    fn compared(candidates: &'a [Candidate<'a>], double: bool) -> Result<Self, ChooseError> {
        for c in candidates {
            if let Some((granularity, layout, _)) = c.units.in_matrix() {
                let misfit = |source| ChooseError::Granularity { path: c.path.to_string(), source };
                granularity.check(layout).map_err(misfit)?;
            }
        }
        let compared = candidates.iter().filter(|c| pattern(c).is_none());
        if candidates.iter().any(|c| c.units.is_read_again()) {
            let ranked = candidates.iter().map(|c| nm(c).unwrap_or_else(|| Ranked::Units(Box::new(read_again(c)))));
            return Ok(Self { candidates, ranked: ranked.collect(), double });
        }
        let double = double || compared.clone().any(|c| c.own.is_none() && c.units.is_exact());
        // Units that share no budget are compared with nothing else.
        let in_double = |c: &Candidate<'_>| c.units.is_exact() || double && c.own.is_none();
        let scored = compared.clone().map(UnitScores::of).collect::<Result<Vec<_>, _>>()?;
        let exact = compared.clone().zip(&scored).filter(|(c, _)| in_double(c)).map(|(c, scored)| scored.exact(c));
        let exact: Vec<_> = exact.collect();
        let mut ranked = ranks(&exact.iter().map(Vec::as_slice).collect::<Vec<_>>(), Order::Value).into_iter();
        let scores = compared.zip(scored).map(|(c, scored)| {
            let ranks = if in_double(c) { ranked.next() } else { None };
            let scores = match ranks {
                Some(ranks) => {
                    let shown = scored.values.iter().map(|&v| c.factor * scored.order.of(v)).collect();
                    Scores::ranked(ranks, shown, scored.alive)
                }
                // A reduction of scores times a factor is that factor times the reduction.
                None => Scores::scaled(scored.values, scored.order, scored.alive, c.factor),
            };
            scores.map_err(|e| ChooseError::non_finite(c.path, e))
        });
        let scores: Vec<Scores<'a>> = scores.collect::<Result<_, _>>()?;
        let mut scores = scores.into_iter();
        let ranked = candidates
            .iter()
            .filter_map(|c| nm(c).or_else(|| scores.next().map(|scores| Ranked::Units(Box::new(scores)))));
        Ok(Self { candidates, ranked: ranked.collect(), double })
    }

    /// Returns the number of units of a candidate that are not pruned yet.
    #[must_use]
    pub fn alive(&self, candidate: usize) -> usize {
        match &self.ranked[candidate] {
            Ranked::Nm { layout, elements, .. } => elements.alive.map_or(layout.len(), Bits::count_ones),
            Ranked::Units(scores) => scores.alive(),
        }
    }

    /// Returns whether units that share a budget are compared in double precision; of units that are read again, whether a read up to now
    /// gave it.
    #[must_use]
    pub fn is_double(&self) -> bool {
        let were_double = |(c, ranked): (&Candidate<'_>, &Ranked<'_>)| {
            c.own.is_none() && matches!(ranked, Ranked::Units(scores) if scores.were_double())
        };
        self.double || self.candidates.iter().zip(&self.ranked).any(were_double)
    }

    /// Returns how much each candidate keeps.
    ///
    /// An N:M candidate keeps what its pattern says, a candidate with an amount of its own what that says, and all others share the
    /// budget by the allocator.
    ///
    /// # Errors
    /// The budget is out of reach, or the allocator breaks its contract.
    pub fn quotas(&self, rules: &ChooseRules<'_>) -> Result<Vec<Quota>, ChooseError> {
        let mut quotas = vec![Quota { keep: 0, asked: 0.0 }; self.candidates.len()];
        let mut shared = Vec::new();
        for (i, (c, ranked)) in self.candidates.iter().zip(&self.ranked).enumerate() {
            let amount = c.own.unwrap_or(rules.amount);
            let scores = match ranked {
                Ranked::Nm { pattern, layout, .. } => {
                    quotas[i] = quota_of_pattern(amount, *pattern, layout.len(), self.alive(i));
                    continue;
                }
                Ranked::Units(scores) => scores,
            };
            let least = c.least.min(scores.alive());
            let keep = amount.keep(scores.len(), scores.alive(), rules.rounding);
            if c.own.is_some() {
                let keep = keep.ok_or_else(|| too_many(c.path, amount, scores.alive()))?.max(least);
                quotas[i] = Quota { keep, asked: amount.asked(scores.len(), scores.alive()) };
                continue;
            }
            let layer = LayerUnits {
                path: c.path,
                kind: c.kind,
                shape: c.shape,
                layout: c.layout,
                place: c.place,
                scores,
                least,
                even: keep.unwrap_or(0).max(least),
                weights: c.weights,
                macs: c.macs,
            };
            shared.push((i, layer));
        }
        // Allocators see layers by path, so that what each gets does not depend on the order of a model's fields.
        shared.sort_by_key(|(_, layer)| layer.path);
        if let Some((_, first)) = shared.first() {
            let path = || first.path.to_string();
            let allocator = rules.allocator.ok_or_else(|| ChooseError::NoAllocator { path: path() })?;
            let layers: Vec<_> = shared.iter().map(|(_, layer)| *layer).collect();
            let counts = allocate(allocator, &layers, rules.amount, rules.rounding);
            let counts = counts.map_err(|error| match error {
                AllocationError::Scores { path, source } => ChooseError::of_scores(&path, source),
                error => error.into(),
            })?;
            let (all, alive) = layers.iter().fold((0, 0), |(u, a), l| (u + l.units(), a + l.alive()));
            for ((i, layer), keep) in shared.iter().zip(counts) {
                // A count is asked of all layers together.
                let asked = match rules.amount {
                    Amount::Count(_) => rules.amount.asked(all, alive),
                    amount => amount.asked(layer.units(), layer.alive()),
                };
                quotas[*i] = Quota { keep, asked };
            }
        }
        Ok(quotas)
    }

    /// Keeps the highest scores of each candidate, or of each of its rows.
    ///
    /// # Errors
    /// A score of an N:M candidate is not finite, or the units of a candidate have no rows to compete in. Of units that are read again, all
    /// errors of their scores.
    ///
    /// # Panics
    /// The number of quotas differs from the number of candidates.
    pub fn keep(&self, quotas: &[Quota], rules: &ChooseRules<'_>) -> Result<Vec<Chosen>, ChooseError> {
        assert_eq!(quotas.len(), self.candidates.len(), "a quota for each candidate");
        let each = self.candidates.iter().zip(&self.ranked).zip(quotas);
        each.map(|((c, ranked), quota)| match ranked {
            _ if rules.compare == Compare::Row && !has_rows(c) => Err(no_rows(c)),
            _ if c.units.is_read_again() => c.keep(*quota, rules, self.is_double()),
            Ranked::Units(scores) => Ok(chosen(c, scores, quota, rules.compare)),
            Ranked::Nm { layout, pattern: (_, m, along), elements, ranks } => {
                let (scores, order) = ranks.as_deref().map_or((elements.values, c.order), |r| (r, Order::Value));
                let keep = keep_n_of_m(layout, scores, order, elements.alive, (quota.keep, *m), *along);
                let keep = keep.map_err(|error| match error {
                    NmError::Granularity(source) => ChooseError::Granularity { path: c.path.to_string(), source },
                    NmError::NonFinite(source) => ChooseError::non_finite(c.path, source),
                })?;
                Ok(Chosen { units: keep.len(), kept_units: keep.count_ones(), keep, asked: quota.asked })
            }
        })
        .collect()
    }
}

impl Candidate<'_> {
    /// Keeps the highest scores of this candidate alone, as [`RankedUnits::keep`] does; `double` is what [`RankedUnits::is_double`] says.
    ///
    /// A caller that chose the quotas of many candidates can so choose their units one after the other, with the scores of one candidate
    /// in memory.
    ///
    /// # Errors
    /// Those of [`RankedUnits::new`] and [`RankedUnits::keep`].
    pub fn keep(&self, quota: Quota, rules: &ChooseRules<'_>, double: bool) -> Result<Chosen, ChooseError> {
        let chosen = self.units.read(self.factor, |units, factor| {
            let held = [Candidate { units, factor, ..self.clone() }];
            RankedUnits::compared(&held, double)?.keep(&[quota], rules)
        });
        let mut chosen = chosen.map_err(|error| ChooseError::of_scores(self.path, error))??;
        Ok(chosen.swap_remove(0))
    }
}

/// The scores of units that are read again, or of one that is in memory among those.
fn read_again<'a>(c: &'a Candidate<'a>) -> Scores<'a> {
    // Channels and heads are few, so that one read is enough.
    let few = c.units.in_matrix().is_some_and(|(granularity, ..)| granularity.is_structural());
    let held: OnceLock<Reading<'static>> = OnceLock::new();
    Scores::of_source(c.units.len(), c.units.alive().map(Cow::Owned), move |take| {
        if let Some(held) = held.get() {
            take(held);
            return Ok(());
        }
        c.units.read(c.factor, |units, factor| {
            let now = Candidate { units, factor, ..c.clone() };
            let scored = UnitScores::of(&now).map_err(|error| match error {
                ChooseError::NonFinite { source, .. } => ScoreError::NonFinite(source),
                error => ScoreError::unread(error),
            })?;
            let exact = now.units.is_exact().then(|| scored.exact(&now));
            let reading = Reading { values: scored.values, order: scored.order, factor, exact };
            take(&reading);
            if few {
                // Another reader may have been faster.
                let _ = held.set(reading.into_owned());
            }
            Ok(())
        })?
    })
}

/// Unit scores in single precision, before the factor.
struct UnitScores<'a> {
    values: Cow<'a, [f32]>,
    order: Order,
    alive: Option<Cow<'a, Bits>>,
}

impl<'a> UnitScores<'a> {
    fn of(c: &Candidate<'a>) -> Result<Self, ChooseError> {
        if let Some(elements) = elementwise(c) {
            let alive = elements.alive.map(Cow::Borrowed);
            return Ok(Self { values: Cow::Borrowed(elements.values), order: c.order, alive });
        }
        let scores = c.units.reduced(c.reduction, c.order);
        let values = scores.map_err(|(path, source)| ChooseError::non_finite(path.unwrap_or(c.path), source))?;
        Ok(Self { values: Cow::Owned(values), order: Order::Value, alive: c.units.alive().map(Cow::Owned) })
    }

    /// In double precision, with the factor.
    fn exact(&self, c: &Candidate<'_>) -> Vec<f64> {
        match elementwise(c).map(|elements| elements.exact) {
            _ if !c.units.is_exact() => {
                self.values.iter().map(|&v| f64::from(c.factor) * f64::from(self.order.of(v))).collect()
            }
            Some(Some(exact)) if c.order == Order::Absolute => exact.iter().map(|v| v.abs()).collect(),
            Some(Some(exact)) => exact.to_vec(),
            _ => c.units.reduced_exactly(c.reduction, c.order),
        }
    }
}

/// The scores of a candidate whose units are single elements.
fn elementwise<'a>(c: &Candidate<'a>) -> Option<ElementScores<'a>> {
    c.units.in_matrix().filter(|(granularity, ..)| granularity.is_elementwise()).map(|(.., elements)| elements)
}

/// The pattern of a candidate that is cut group by group.
fn pattern(c: &Candidate<'_>) -> Option<(usize, usize, Along)> {
    match c.units.in_matrix()? {
        (Granularity::Nm { n, m, along }, ..) => Some((n, m, along)),
        _ => None,
    }
}

fn nm<'a>(c: &'a Candidate<'a>) -> Option<Ranked<'a>> {
    let (pattern, (_, layout, elements)) = (pattern(c)?, c.units.in_matrix()?);
    let ranks = elements.exact.and_then(|exact| ranks(&[exact], c.order).pop());
    Some(Ranked::Nm { layout, pattern, elements, ranks })
}

fn quota_of_pattern(amount: Amount, (n, m, _): (usize, usize, Along), elements: usize, alive: usize) -> Quota {
    let density = match amount {
        Amount::OfTotal(s) => s.density(),
        Amount::OfRemaining(s) => s.density() * alive as f64 / elements.max(1) as f64,
        Amount::Count(_) => n as f64 / m as f64,
    };
    // A schedule on its way to N:M passes through patterns that keep more of each group, or all of it.
    let dense = amount == Amount::OfTotal(crate::budget::Sparsity::ZERO);
    let keep = if dense { m } else { ((density * m as f64).round_ties_even() as usize).clamp(n, m) };
    Quota { keep, asked: 1.0 - density }
}

fn chosen(c: &Candidate<'_>, scores: &Scores<'_>, quota: &Quota, compare: Compare) -> Chosen {
    let units = match (compare, c.units.in_matrix()) {
        (Compare::Row, Some((_, layout, _))) => scores.keep_highest_of_rows(layout, quota.keep),
        _ => scores.keep_highest(quota.keep),
    };
    let kept_units = units.count_ones();
    let keep = match c.units.in_matrix() {
        Some((granularity, layout, elements)) if !granularity.is_elementwise() => {
            let mut keep = granularity.expand(layout, &units);
            // A unit can be alive with some of its elements already gone.
            elements.alive.into_iter().for_each(|alive| keep.intersect(alive));
            keep
        }
        _ => units,
    };
    Chosen { keep, units: scores.len(), kept_units, asked: quota.asked }
}

/// Whether single weights are the units of a candidate, which compete in the rows of their matrix.
fn has_rows(c: &Candidate<'_>) -> bool {
    matches!(c.units.in_matrix(), Some((Granularity::Element, ..)))
}

fn no_rows(c: &Candidate<'_>) -> ChooseError {
    let granularity = c.units.in_matrix().map_or_else(|| "a coupled group".to_string(), |(g, ..)| g.to_string());
    ChooseError::NoRows { path: c.path.to_string(), granularity }
}

fn too_many(path: &str, amount: Amount, alive: usize) -> AllocationError {
    let count = if let Amount::Count(count) = amount { count } else { 0 };
    AllocationError::CountTooLarge { path: path.to_string(), count, alive }
}

#[cfg(test)]
mod rows_tests;
#[cfg(test)]
mod tests;
