//! The decision which products of a pass become sparse, from runs of the whole pass.

use crate::sparse::race::{Duel, Lap, race};
use crate::sparse::report::Verdict;

/// The largest fraction of the dense time that a sparse product may take.
const GAIN: f64 = 0.97;

/// The chosen candidate of each product; `None` for dense.
pub(super) type Chosen = Vec<Option<usize>>;

/// The seconds of a product, dense and by its candidates; infinite if the budget left no time for a candidate.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) dense: f64,
    pub(super) candidates: Vec<f64>,
    /// Whether it is certain that the product that runs is the faster one.
    pub(super) certain: bool,
}

impl Times {
    pub(super) fn best(&self) -> Option<usize> {
        (0..self.candidates.len()).min_by(|&a, &b| self.candidates[a].total_cmp(&self.candidates[b]))
    }
}

/// A decision which products run sparse, with its measurements.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// The faster choice for each product.
    pub(super) chosen: Chosen,
    /// The times of each product that has candidates.
    pub(super) times: Vec<Option<Times>>,
    /// The comparison of the chosen pass with the dense one; `None` if all products are dense.
    pub(super) verdict: Option<Verdict>,
    /// The number of pairs of runs behind the decision.
    pub(super) rounds: usize,
    /// The seconds of the dense pass; those of the chosen one follow.
    pub(super) dense_seconds: f64,
    pub(super) seconds: f64,
}

/// Chooses among the candidates of each product by runs, each of which measures the whole pass and each product.
///
/// Half of the budget (seconds) is for products, and the rest for the pass as a whole. A settled question is not measured further.
/// However small the budget is, there is a dense run, a run with the first candidates, and a run of the chosen pass. Beyond these, only
/// the run under way can exceed the budget.
pub(super) fn decide<E>(
    candidates: &[usize],
    budget: f64,
    mut run: impl FnMut(&[Option<usize>]) -> Result<Lap, E>,
) -> Result<Decision, E> {
    let dense: Chosen = vec![None; candidates.len()];
    // In variant `v` every product is its candidate `v`, or its last one.
    let nth = |v: usize| candidates.iter().map(|&count| count.checked_sub(1).map(|last| v.min(last))).collect();
    let most = candidates.iter().copied().max().unwrap_or(0);
    let ways: Vec<Chosen> = std::iter::once(dense.clone()).chain((0..most).map(nth)).collect();
    // Candidate `c` of a product is variant `c`, which is way `c + 1`.
    let faster = |ours: &Lap, dense: &Lap, product: usize| (ours.parts[product], GAIN * dense.parts[product]);
    let mut duels: Vec<Vec<Duel>> = candidates.iter().map(|&count| vec![Duel::default(); count]).collect();
    let half = 0.5 * budget;
    let rounds = race(
        ways.len(),
        2,
        half,
        |way| run(&ways[way]),
        |laps| {
            let mut certain = true;
            for (product, duels) in duels.iter_mut().enumerate() {
                for (c, duel) in duels.iter_mut().enumerate() {
                    if let (Some(dense), Some(ours)) = (&laps[0], &laps[c + 1]) {
                        let (ours, dense) = faster(ours, dense, product);
                        duel.add(ours, dense);
                    }
                    certain &= duel.settled().is_some();
                }
            }
            certain
        },
    )?;

    let mut chosen = dense.clone();
    let mut times = Vec::new();
    for (product, &count) in candidates.iter().enumerate() {
        if count == 0 {
            times.push(None);
            continue;
        }
        let of = |way: usize| rounds.median([way], |[lap]| lap.parts[product]).unwrap_or(f64::INFINITY);
        // Ratios within pairs, since slow changes of the machine affect both runs alike.
        let ratio = |c: usize| {
            rounds
                .median([c + 1, 0], |[ours, dense]| ours.parts[product] / dense.parts[product])
                .unwrap_or(f64::INFINITY)
        };
        let best = (0..count).min_by(|&a, &b| ratio(a).total_cmp(&ratio(b))).filter(|&best| ratio(best) <= GAIN);
        chosen[product] = best;
        let certain = match best {
            Some(best) => duels[product][best].settled() == Some(true),
            None => duels[product].iter().all(|duel| duel.settled() == Some(false)),
        };
        times.push(Some(Times { dense: of(0), candidates: (0..count).map(|c| of(c + 1)).collect(), certain }));
    }
    let dense_seconds = rounds.median([0], |[lap]| lap.whole).unwrap_or(f64::INFINITY);
    if chosen == dense {
        let (verdict, rounds) = (None, rounds.len());
        return Ok(Decision { chosen, times, verdict, rounds, dense_seconds, seconds: dense_seconds });
    }

    let ways = [&chosen, &dense];
    let mut duel = Duel::default();
    let rounds = race(
        2,
        1,
        budget - rounds.spent,
        |way| run(ways[way]),
        |laps| {
            if let [Some(ours), Some(dense)] = laps {
                duel.add(ours.whole, dense.whole);
            }
            duel.settled().is_some()
        },
    )?;
    let verdict = match duel.settled() {
        Some(true) => Verdict::Faster,
        Some(false) => Verdict::Slower,
        None => Verdict::Uncertain,
    };
    let seconds = |way: usize| rounds.median([way], |[lap]| lap.whole);
    Ok(Decision {
        dense_seconds: seconds(1).unwrap_or(dense_seconds),
        seconds: seconds(0).unwrap_or(f64::INFINITY),
        rounds: rounds.len(),
        verdict: Some(verdict),
        chosen,
        times,
    })
}

#[cfg(test)]
mod tests;
