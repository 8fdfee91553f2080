//! The race that tells which way is faster on a busy machine, and how certain the result is.

use crate::sparse::median;

/// The largest number of rounds.
const MOST: usize = 1000;
/// The win probabilities that the bettors of a [`Duel`] assume.
const BETS: [f64; 4] = [0.6, 0.75, 0.9, 1.0];
/// The mean gain of the bettors that settles a duel. Of equally fast ways, one in a hundred is wrongly called faster.
const SETTLED: f64 = 100.0;

/// The seconds of one run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lap {
    /// The seconds of the whole run.
    pub(super) whole: f64,
    /// The seconds of each separately compared part.
    pub(super) parts: Vec<f64>,
}

/// Evidence from pairs of runs that one way is faster, for any noise that is the same for both ways.
///
/// Of equally fast ways each wins a pair equally often. A bettor on one of them gains nothing on average, so one whose stake has grown a
/// hundredfold is wrong in at most one of a hundred cases. Ville's inequality says so for any stopping time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Duel {
    wins: i32,
    losses: i32,
    settled: Option<bool>,
}

impl Duel {
    /// Counts a pair of runs. A tie counts for neither way.
    pub(super) fn add(&mut self, ours: f64, theirs: f64) {
        self.wins += i32::from(ours < theirs);
        self.losses += i32::from(ours > theirs);
        let gain = |wins, losses| BETS.iter().map(|p| (2.0 * p).powi(wins) * (2.0 - 2.0 * p).powi(losses)).sum::<f64>();
        let settled = |wins, losses| gain(wins, losses) >= SETTLED * BETS.len() as f64;
        if self.settled.is_none() {
            self.settled = if settled(self.wins, self.losses) {
                Some(true)
            } else {
                settled(self.losses, self.wins).then_some(false)
            };
        }
    }

    /// Returns whether our way is faster, if that is certain.
    pub(super) fn settled(&self) -> Option<bool> {
        self.settled
    }
}

/// The laps of each round, by way. Only the first round may lack some.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    laps: Vec<Vec<Option<Lap>>>,
    /// The seconds of all laps, including those that do not count.
    pub(super) spent: f64,
}

impl Rounds {
    /// Returns the number of rounds after the first, which allocates memory and fills caches.
    pub(super) fn len(&self) -> usize {
        self.laps.len().saturating_sub(1)
    }

    /// Returns the median of `of` over the laps of one way, or over pairs of laps of two ways. The first round counts only if it is alone.
    pub(super) fn median<const N: usize>(&self, ways: [usize; N], of: impl Fn([&Lap; N]) -> f64) -> Option<f64> {
        let laps = &self.laps[usize::from(self.len() > 0)..];
        let found = laps.iter().filter_map(|round| {
            let laps: Vec<&Lap> = ways.iter().filter_map(|&way| round[way].as_ref()).collect();
            Some(of(laps.try_into().ok()?))
        });
        let found: Vec<f64> = found.collect();
        (!found.is_empty()).then(|| median(found.into_iter()))
    }
}

/// Runs `ways` in turn, forward and backward, until `certain` returns true for a round or the budget (seconds) is spent.
///
/// After that no lap begins, except for the first lap of each way below `must`.
pub(super) fn race<E>(
    ways: usize,
    must: usize,
    budget: f64,
    mut lap: impl FnMut(usize) -> Result<Lap, E>,
    mut certain: impl FnMut(&[Option<Lap>]) -> bool,
) -> Result<Rounds, E> {
    let mut rounds = Rounds::default();
    for number in 0..=MOST {
        let before = rounds.spent;
        let mut laps = vec![None; ways];
        for place in 0..ways {
            let way = if number % 2 == 0 { place } else { ways - 1 - place };
            if rounds.spent >= budget && (number > 0 || way >= must) {
                break;
            }
            let done = lap(way)?;
            rounds.spent += done.whole;
            laps[way] = Some(done);
        }
        let whole = laps.iter().all(Option::is_some);
        let last = number > 0 && whole && certain(&laps);
        if number == 0 || whole {
            rounds.laps.push(laps);
        }
        // Another round only begins if the budget suffices to finish it.
        if last || !whole || 2.0 * rounds.spent - before > budget {
            break;
        }
    }
    Ok(rounds)
}
