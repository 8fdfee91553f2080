//! From scores to masks: [`choose_masks`], the host's part of one pruning.

use crate::budget::allocate::{AllocationError, Allocator, LayerUnits, allocate};
use crate::budget::nm::{NmError, keep_n_of_m};
use crate::budget::{Amount, Rounding, Scores, ranks};
use crate::mask::Bits;
use crate::score::{Along, Granularity, GranularityError, MatrixLayout, NonFinite, Order, Reduction};
use crate::score::{reduce_double, reduce_finite};
use std::borrow::Cow;

/// A parameter to prune.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its path.
    pub path: &'a str,
    /// Type of its layer: `Linear`, `Conv2d`, ...
    pub kind: &'a str,
    /// Its own shape.
    pub shape: &'a [usize],
    /// Its matrix view.
    pub layout: MatrixLayout,
    /// Its place among the layers in the order of the model.
    pub place: usize,
    /// A score for each element, in memory order.
    pub scores: &'a [f32],
    /// How these numbers rank.
    pub order: Order,
    /// What all of them are multiplied by before layers are compared, above 0.
    pub factor: f32,
    /// What is not pruned yet; `None` is all.
    pub alive: Option<&'a Bits>,
    /// What is removed together.
    pub granularity: Granularity,
    /// How element scores become unit scores.
    pub reduction: Reduction,
    /// An amount of its own, apart from the shared budget.
    pub own: Option<Amount>,
    /// Multiply-accumulates that each of its weights takes, if a trace says so.
    pub uses: Option<usize>,
}

/// What holds for all candidates.
#[derive(Clone, Copy, Debug)]
pub struct ChooseRules<'a> {
    /// The shared budget.
    pub amount: Amount,
    /// How fractions become counts.
    pub rounding: Rounding,
    /// Whether a layer may lose all its units.
    pub allow_empty: bool,
    /// How the budget is shared; not asked for N:M.
    pub allocator: Option<&'a dyn Allocator>,
}

/// The mask chosen for a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Elements kept, in memory order.
    pub keep: Bits,
    /// Units in all.
    pub units: usize,
    /// Units kept.
    pub kept_units: usize,
    /// Fraction of the layer that was asked to be removed in all.
    pub asked: f64,
}

/// Why no masks could be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// The granularity does not fit a layer.
    #[error(
        "{path}: {source}; exclude the layer, choose another granularity, or leave all such layers dense with skip_unfit = true"
    )]
    Granularity {
        /// The layer.
        path: String,
        /// Why.
        source: GranularityError,
    },
    /// A score is NaN or infinite.
    #[error("{path}: {source}; repair the weights, or exclude the layer")]
    NonFinite {
        /// The layer.
        path: String,
        /// Which.
        source: NonFinite,
    },
    /// The budget cannot be shared out.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// A budget is to be shared, and nothing says how.
    #[error("{path}: no allocator is given, and only N:M needs none: name one, such as \"uniform\"")]
    NoAllocator {
        /// The first layer that needs it.
        path: String,
    },
}

struct Units<'a> {
    scores: Cow<'a, [f32]>,
    order: Order,
    alive: Option<Cow<'a, Bits>>,
}

/// Chooses the masks of all candidates, in their order.
///
/// N:M candidates are cut group by group; those with an amount of their own by themselves; all others share the budget by
/// the allocator. In each the highest scores stay, and what is not alive stays pruned.
///
/// # Errors
/// A granularity that does not fit, scores that are not finite, a budget out of reach.
///
/// # Panics
/// A candidate has not one score for each element of its layout.
pub fn choose_masks(candidates: &[Candidate<'_>], rules: &ChooseRules<'_>) -> Result<Vec<Chosen>, ChooseError> {
    choose_masks_exact(candidates, &vec![None; candidates.len()], rules)
}

/// The same where some scores are known in double precision: `exact` has, for each candidate, the scores with their factor in them, or nothing
/// where single precision is all there is. Ranking is by the exact scores; [`Candidate::scores`] are those rounded, which allocators see.
///
/// # Errors
/// As [`choose_masks`].
///
/// # Panics
/// As [`choose_masks`], and if `exact` has not an entry for each candidate.
pub fn choose_masks_exact(
    candidates: &[Candidate<'_>],
    exact: &[Option<&[f64]>],
    rules: &ChooseRules<'_>,
) -> Result<Vec<Chosen>, ChooseError> {
    assert_eq!(candidates.len(), exact.len(), "an entry of `exact` for each candidate");
    let mut chosen: Vec<Option<Chosen>> = vec![None; candidates.len()];
    let mut units = Vec::new();
    for (i, c) in candidates.iter().enumerate() {
        assert_eq!(c.scores.len(), c.layout.len(), "{}: one score for each element", c.path);
        c.granularity
            .check(&c.layout)
            .map_err(|source| ChooseError::Granularity { path: c.path.to_string(), source })?;
        match c.granularity {
            Granularity::Nm { n, m, along } => {
                let amount = c.own.unwrap_or(rules.amount);
                // Groups of one layer are compared with nothing else.
                let ranked = exact[i].and_then(|exact| ranks(&[exact], c.order).pop());
                let ranked = ranked.as_deref().map(|scores| Candidate { scores, order: Order::Value, ..*c });
                chosen[i] = Some(choose_nm(ranked.as_ref().unwrap_or(c), amount, (n, m), along)?);
            }
            _ => units.push((i, units_of(c)?)),
        }
    }
    let doubled = doubled(candidates, exact, &units);
    let mut ranked = Vec::with_capacity(units.len());
    for (place, (i, unit)) in units.iter().enumerate() {
        // A reduction of scores times a factor is that factor times the reduction.
        let scores = Scores::scaled(&unit.scores, unit.order, unit.alive.as_deref(), candidates[*i].factor);
        let mut scores = scores.map_err(|source| non_finite(&candidates[*i], source))?;
        if let Some((ranks, shown)) = doubled.get(place) {
            scores = Scores::ranked(ranks, shown, unit.alive.as_deref()).map_err(|e| non_finite(&candidates[*i], e))?;
        }
        ranked.push((*i, scores));
    }
    // Allocators see layers by path, so that what each gets does not depend on the order of a model's fields.
    ranked.sort_by_key(|(i, _)| candidates[*i].path);

    let mut shared = Vec::new();
    for (i, scores) in &ranked {
        let c = &candidates[*i];
        let least = usize::from(!rules.allow_empty).min(scores.alive());
        let amount = c.own.unwrap_or(rules.amount);
        let keep = amount.keep(scores.len(), scores.alive(), rules.rounding);
        if c.own.is_some() {
            let keep = keep.ok_or_else(|| too_many(c.path, amount, scores.alive()))?;
            chosen[*i] = Some(pick(c, scores, keep.max(least), amount.asked(scores.len(), scores.alive())));
        } else {
            let even = keep.unwrap_or(0).max(least);
            // Of blocks at ragged edges, the mean.
            let weights = c.layout.len().div_ceil(scores.len().max(1));
            shared.push((
                *i,
                LayerUnits {
                    path: c.path,
                    kind: c.kind,
                    shape: c.shape,
                    layout: c.layout,
                    place: c.place,
                    scores,
                    least,
                    even,
                    weights,
                    macs: c.uses.map(|uses| weights * uses),
                },
            ));
        }
    }
    if let Some((first, _)) = shared.first() {
        let path = candidates[*first].path;
        let allocator = rules.allocator.ok_or_else(|| ChooseError::NoAllocator { path: path.to_string() })?;
        let layers: Vec<_> = shared.iter().map(|(_, layer)| *layer).collect();
        let counts = allocate(allocator, &layers, rules.amount, rules.rounding)?;
        let (all, alive) = layers.iter().fold((0, 0), |(u, a), l| (u + l.units(), a + l.alive()));
        for ((i, layer), count) in shared.iter().zip(counts) {
            // A count is asked of all layers together.
            let asked = match rules.amount {
                Amount::Count(_) => rules.amount.asked(all, alive),
                amount => amount.asked(layer.units(), layer.alive()),
            };
            chosen[*i] = Some(pick(&candidates[*i], layer.scores, count, asked));
        }
    }
    Ok(chosen.into_iter().flatten().collect())
}

/// The ranks of all units in double precision, and what they score in single precision; nothing if no candidate is known so exactly.
fn doubled(
    candidates: &[Candidate<'_>],
    exact: &[Option<&[f64]>],
    units: &[(usize, Units<'_>)],
) -> Vec<(Vec<f32>, Vec<f32>)> {
    if units.iter().all(|(i, _)| exact[*i].is_none()) {
        return Vec::new();
    }
    let scored = |order: Order, v: f32| if order == Order::Absolute { v.abs() } else { v };
    let shown = units.iter().map(|(i, unit)| {
        let factor = candidates[*i].factor;
        unit.scores.iter().map(|&v| factor * scored(unit.order, v)).collect::<Vec<f32>>()
    });
    let doubles = units.iter().map(|(i, unit)| {
        let c = &candidates[*i];
        match exact[*i] {
            Some(exact) if c.granularity.is_elementwise() && c.order == Order::Absolute => {
                exact.iter().map(|v| v.abs()).collect()
            }
            Some(exact) if c.granularity.is_elementwise() => exact.to_vec(),
            Some(exact) => reduce_double(c.granularity, &c.layout, exact, c.order, c.alive, c.reduction),
            None => unit.scores.iter().map(|&v| f64::from(c.factor) * f64::from(scored(unit.order, v))).collect(),
        }
    });
    let doubles: Vec<Vec<f64>> = doubles.collect();
    let lists: Vec<&[f64]> = doubles.iter().map(Vec::as_slice).collect();
    ranks(&lists, Order::Value).into_iter().zip(shown).collect()
}

fn too_many(path: &str, amount: Amount, alive: usize) -> AllocationError {
    let count = if let Amount::Count(count) = amount { count } else { 0 };
    AllocationError::CountTooLarge { path: path.to_string(), count, alive }
}

fn non_finite(candidate: &Candidate<'_>, source: NonFinite) -> ChooseError {
    ChooseError::NonFinite { path: candidate.path.to_string(), source }
}

fn units_of<'a>(c: &Candidate<'a>) -> Result<Units<'a>, ChooseError> {
    if c.granularity.is_elementwise() {
        return Ok(Units { scores: c.scores.into(), order: c.order, alive: c.alive.map(Cow::Borrowed) });
    }
    let scores = reduce_finite(c.granularity, &c.layout, c.scores, c.order, c.alive, c.reduction)
        .map_err(|source| non_finite(c, source))?;
    let alive = c.alive.map(|alive| Cow::Owned(c.granularity.alive(&c.layout, alive)));
    Ok(Units { scores: scores.into(), order: Order::Value, alive })
}

fn pick(c: &Candidate<'_>, scores: &Scores<'_>, count: usize, asked: f64) -> Chosen {
    let units = scores.keep_highest(count);
    let kept_units = units.count_ones();
    let mut keep = if c.granularity.is_elementwise() { units } else { c.granularity.expand(&c.layout, &units) };
    // A unit can be alive with some of its elements already gone.
    if let (false, Some(alive)) = (c.granularity.is_elementwise(), c.alive) {
        keep.intersect(alive);
    }
    Chosen { keep, units: scores.len(), kept_units, asked }
}

fn choose_nm(c: &Candidate<'_>, amount: Amount, (n, m): (usize, usize), along: Along) -> Result<Chosen, ChooseError> {
    // A schedule on its way to N:M passes through patterns that keep more of each group, or all of it.
    let alive = c.alive.map_or(c.layout.len(), Bits::count_ones);
    let density = match amount {
        Amount::OfTotal(s) => s.density(),
        Amount::OfRemaining(s) => s.density() * alive as f64 / c.layout.len().max(1) as f64,
        Amount::Count(_) => n as f64 / m as f64,
    };
    let dense = amount == Amount::OfTotal(crate::budget::Sparsity::ZERO);
    let kept = if dense { m } else { ((density * m as f64).round_ties_even() as usize).clamp(n, m) };
    let keep = keep_n_of_m(&c.layout, c.scores, c.order, c.alive, (kept, m), along).map_err(|error| match error {
        NmError::Granularity(source) => ChooseError::Granularity { path: c.path.to_string(), source },
        NmError::NonFinite(source) => non_finite(c, source),
    })?;
    let kept_units = keep.count_ones();
    Ok(Chosen { keep, units: c.layout.len(), kept_units, asked: 1.0 - density })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Sparsity;

    #[derive(Debug)]
    struct Even;

    impl Allocator for Even {
        fn scope(&self) -> crate::budget::Scope {
            crate::budget::Scope::Layer
        }

        fn allocate(&self, layers: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
            Ok(layers.iter().map(|l| l.even).collect())
        }
    }

    #[derive(Debug)]
    struct Highest;

    impl Allocator for Highest {
        fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
            let bounds: Vec<_> = layers.iter().map(|l| (l.least, l.alive())).collect();
            let scores: Vec<_> = layers.iter().map(|l| l.scores).collect();
            Ok(crate::budget::share_highest(&scores, &bounds, keep).unwrap())
        }
    }

    fn candidate<'a>(path: &'a str, scores: &'a [f32]) -> Candidate<'a> {
        Candidate {
            path,
            kind: "Linear",
            shape: &[],
            layout: MatrixLayout::row_major(2, scores.len() / 2),
            place: 0,
            scores,
            order: Order::Absolute,
            factor: 1.0,
            alive: None,
            granularity: Granularity::Element,
            reduction: Reduction::norm(1.0).unwrap(),
            own: None,
            uses: None,
        }
    }

    fn rules(amount: Amount) -> ChooseRules<'static> {
        ChooseRules { amount, rounding: Rounding::HalfEven, allow_empty: false, allocator: Some(&Even) }
    }

    fn s(value: f64) -> Sparsity {
        Sparsity::new(value).unwrap()
    }

    #[test]
    fn own_amounts_patterns_and_the_shared_budget_go_side_by_side() {
        let scores = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0];
        let all = [
            candidate("z", &scores),
            Candidate { granularity: Granularity::nm(1, 4).unwrap(), ..candidate("b", &scores) },
            Candidate { own: Some(Amount::OfTotal(s(0.25))), ..candidate("c", &scores) },
            Candidate { granularity: Granularity::CHANNEL, ..candidate("a", &scores) },
        ];
        let chosen = choose_masks(&all, &rules(Amount::OfTotal(s(0.75)))).unwrap();
        let kept: Vec<_> = chosen.iter().map(|c| c.keep.iter_ones().collect::<Vec<_>>()).collect();
        assert_eq!(kept, [vec![6, 7], vec![3, 7], vec![2, 3, 4, 5, 6, 7], vec![4, 5, 6, 7]]);
        assert_eq!(chosen.iter().map(|c| c.kept_units).collect::<Vec<_>>(), [2, 2, 6, 1]);
    }

    #[test]
    fn a_factor_scales_a_layer_among_the_others() {
        let (a, b) = ([1.0, -2.0, 3.0, -4.0], [10.0, -20.0, 30.0, -40.0]);
        for granularity in [Granularity::Element, Granularity::CHANNEL] {
            for (factor, kept) in [(1.0, [1, 3]), (0.125, [2, 2]), (0.01, [3, 1])] {
                let [a, b] = [candidate("a", &a), candidate("b", &b)].map(|c| Candidate { granularity, ..c });
                let rules = ChooseRules { allocator: Some(&Highest), ..rules(Amount::OfTotal(s(0.5))) };
                let chosen = choose_masks(&[a, Candidate { factor, ..b }], &rules).unwrap();
                let units: Vec<_> = chosen.iter().map(|c| c.kept_units).collect();
                let expected = if granularity == Granularity::CHANNEL { [1, 1] } else { kept };
                assert_eq!(units, expected, "{granularity} {factor}");
            }
        }
    }

    #[test]
    fn what_is_pruned_stays_pruned_at_every_granularity() {
        let scores = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0];
        let alive = Bits::from_bools(&[false, true, true, true, true, true, true, false]);
        for granularity in [Granularity::Element, Granularity::CHANNEL, Granularity::nm(2, 4).unwrap()] {
            let c = Candidate { alive: Some(&alive), granularity, ..candidate("a", &scores) };
            let chosen = choose_masks(&[c], &rules(Amount::OfTotal(s(0.25)))).unwrap();
            assert!(chosen[0].keep.iter_ones().all(|i| alive.get(i)), "{granularity}");
        }
    }

    #[test]
    fn exact_scores_rank_by_what_single_precision_cannot_tell() {
        let exact = [1.0, 1.0 + 3e-12, -1.0 - 2e-12, 1.0 + 1e-12, 5.0, 1.0 - 1e-12, 1.0 + 4e-12, 2.0];
        let scores = exact.map(|v| v as f32);
        let half = rules(Amount::OfTotal(s(0.5)));
        let kept = |granularity, exact: Option<&[f64]>| {
            let c = Candidate { granularity, ..candidate("a", &scores) };
            choose_masks_exact(&[c], &[exact], &half).unwrap()[0].keep.iter_ones().collect::<Vec<_>>()
        };
        assert_eq!(kept(Granularity::Element, Some(&exact)), [1, 4, 6, 7]);
        assert_eq!(kept(Granularity::Element, None), [0, 1, 4, 7], "ties go to the lower index");
        assert_eq!(kept(Granularity::nm(2, 4).unwrap(), Some(&exact)), [1, 2, 4, 7]);
        // Columns, by their sums.
        let input = Granularity::Channel { axis: crate::score::Axis::Input };
        assert_eq!(kept(input, Some(&exact)), [0, 3, 4, 7], "5 + 1 and 2 + 1 + 1e-12");
        // Among layers, one of them in single precision.
        let other = [1.0, 1.0, 3.0, 4.0];
        let all = [candidate("b", &scores), candidate("a", &other)];
        let shared = ChooseRules { allocator: Some(&Highest), ..half };
        let chosen = choose_masks_exact(&all, &[Some(&exact), None], &shared).unwrap();
        let kept: Vec<Vec<usize>> = chosen.iter().map(|c| c.keep.iter_ones().collect()).collect();
        assert_eq!(kept, [vec![1, 4, 6, 7], vec![2, 3]]);
        let mut bad = exact;
        bad[3] = f64::NAN;
        let scores = bad.map(|v| v as f32);
        let error = choose_masks_exact(&[candidate("a", &scores)], &[Some(&bad)], &half).unwrap_err().to_string();
        assert!(error.starts_with("a: score NaN at index 3"), "{error}");
    }

    #[test]
    fn a_score_that_is_not_finite_names_layer_and_index() {
        for granularity in [Granularity::Element, Granularity::CHANNEL, Granularity::nm(2, 4).unwrap()] {
            let scores = [1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0, 7.0, 8.0];
            let c = Candidate { granularity, ..candidate("fc1.weight", &scores) };
            let error = choose_masks(&[c], &rules(Amount::OfTotal(s(0.5)))).unwrap_err().to_string();
            assert!(error.starts_with("fc1.weight: score NaN at index 2 is not finite"), "{error}");
        }
    }

    #[test]
    fn a_layer_keeps_one_unit_unless_it_may_be_empty() {
        let c = candidate("a", &[1.0, 2.0]);
        let most = rules(Amount::OfTotal(s(0.99)));
        assert_eq!(choose_masks(&[c], &most).unwrap()[0].kept_units, 1);
        assert_eq!(choose_masks(&[c], &ChooseRules { allow_empty: true, ..most }).unwrap()[0].kept_units, 0);
    }
}
