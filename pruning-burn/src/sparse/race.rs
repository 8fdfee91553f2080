//! Which way is faster, on a machine that does other things too: runs in turn, and how certain it is what they show.

use crate::sparse::median;

/// Rounds after which nothing new is learned.
const MOST: usize = 1000;
/// How sure of their next win the bettors of a [`Duel`] are.
const BETS: [f64; 4] = [0.6, 0.75, 0.9, 1.0];
/// Their mean gain that settles a duel: of equal ways, one in a hundred is called faster, however often it is looked at.
const SETTLED: f64 = 100.0;

/// Seconds of one run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lap {
    /// All of it.
    pub(super) whole: f64,
    /// Of each part that is compared by itself.
    pub(super) parts: Vec<f64>,
}

/// Evidence from pairs of runs for one way being the faster one, whatever the noise is like, if it is the same for both.
///
/// Of equal ways each wins a pair as often as the other. Bettors on one of them then gain nothing in the long run, so that one who has
/// become a hundred times as rich is wrong in one of a hundred cases (Ville's inequality: at any time, not at one that was fixed
/// beforehand).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Duel {
    wins: i32,
    losses: i32,
    settled: Option<bool>,
}

impl Duel {
    /// Counts a pair, of which the first is ours. What is equal says nothing.
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

    /// Whether our way is the faster one, if that is certain.
    pub(super) fn settled(&self) -> Option<bool> {
        self.settled
    }
}

/// Laps of each round, by way; only the first round may lack some.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    laps: Vec<Vec<Option<Lap>>>,
    /// Seconds of all laps, also of those that do not count.
    pub(super) spent: f64,
}

impl Rounds {
    /// How many there are, without the first one, in which memory is taken and caches are filled.
    pub(super) fn len(&self) -> usize {
        self.laps.len().saturating_sub(1)
    }

    /// The middle of what `of` finds in the laps of a way, or in those of two ways of a round. The first round counts where it is the
    /// only one.
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

/// Runs `ways` in turn, there and back, until `certain` says so of a round, or so many seconds are spent: no lap begins after that, but
/// for the first one of the ways below `must`.
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
        // Another round is worth its time if it can be finished.
        if last || !whole || 2.0 * rounds.spent - before > budget {
            break;
        }
    }
    Ok(rounds)
}
