//! Sharing a budget over layers that are read again: the threshold of all keys, found digit by digit.
//!
//! Each read of a layer counts its units by 16 bits of their keys. The first read counts by the highest bits, which gives the one bucket
//! of keys that holds the threshold; the next one counts by the next bits of the keys in that bucket. So two reads give the threshold of
//! 32-bit keys exactly, and four that of doubles. What is held between reads does not grow with the number of units: one table a layer.

use crate::budget::select::Scores;
use crate::budget::select::source::Reading;
use crate::budget::select::threshold::Shares;
use crate::budget::select::window::Window;
use crate::mask::Bits;
use crate::score::{NonFinite, Order, ScoreError, check_finite, rank_key, rank_key_of_double};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The layers that are read at a time, each of them by a thread.
const READERS: usize = 2;

/// The values of 16 bits.
const BUCKETS: usize = 1 << 16;

/// The scores that are checked and counted while they are in the cache.
const BLOCK: usize = 4096;

/// Returns how many units each layer keeps; `None` if scores cannot be read. The lower bounds alone must not reach the budget.
pub(super) fn share(shares: &Shares<'_>) -> Option<Vec<usize>> {
    match share_in(shares, false)? {
        Found::Counts(counts) => Some(counts),
        // A layer turned out to be in double precision, so all are compared in it.
        Found::Doubles => match share_in(shares, true)? {
            Found::Counts(counts) => Some(counts),
            Found::Doubles => None,
        },
    }
}

enum Found {
    Counts(Vec<usize>),
    Doubles,
}

fn share_in(shares: &Shares<'_>, double: bool) -> Option<Found> {
    let layers = shares.layers;
    // Units above the bucket that holds the threshold, and those inside. At first, all keys are one bucket.
    let mut above = vec![0; layers.len()];
    let mut inside: Vec<usize> = layers.iter().map(|layer| layer.alive()).collect();
    let mut prefix = Prefix::ALL;
    loop {
        let clamped = |l: usize, count: usize| count.clamp(shares.bounds[l].0, shares.bounds[l].1);
        let least: Vec<usize> = (0..layers.len()).map(|l| clamped(l, above[l])).collect();
        let most: Vec<usize> = (0..layers.len()).map(|l| clamped(l, above[l] + inside[l])).collect();
        let open: Vec<usize> = (0..layers.len()).filter(|&l| least[l] < most[l]).collect();
        let ties = prefix.len == if double { 64 } else { 32 };
        if ties || open.len() <= 1 || most.iter().sum::<usize>() == shares.keep {
            return Some(Found::Counts(shares.fill(least, most.into_iter())));
        }
        let read = pass(&open, |l, table| {
            let expected = inside[l];
            layers[l].reading(|reading| tally(layers[l], reading, (double, prefix, expected), table))
        })?;
        if read.iter().any(Option::is_none) {
            return Some(Found::Doubles);
        }
        let mut tallies: Vec<Option<Tally>> = layers.iter().map(|_| None).collect();
        open.iter().zip(read).for_each(|(&l, tally)| tallies[l] = tally);
        // A layer that is not open keeps its number whatever the threshold is.
        let at_least = |l: usize, digit: u32| above[l] + tallies[l].as_ref().map_or(0, |tally| tally.at_least(digit));
        let total = |digit: u32| shares.total((0..layers.len()).map(|l| at_least(l, digit)));
        let digit = Window { low: 0, high: BUCKETS as u32 - 1 }.highest_where(|digit| total(digit) >= shares.keep);
        let next: Vec<usize> = (0..layers.len()).map(|l| at_least(l, digit + 1)).collect();
        inside = (0..layers.len()).map(|l| at_least(l, digit) - next[l]).collect();
        above = next;
        prefix = prefix.then(digit);
    }
}

/// The highest bits that all keys of a bucket share.
#[derive(Clone, Copy)]
struct Prefix {
    bits: u64,
    len: u32,
}

impl Prefix {
    const ALL: Self = Self { bits: 0, len: 0 };

    fn then(self, digit: u32) -> Self {
        let len = self.len + 16;
        Self { bits: self.bits | u64::from(digit) << (64 - len), len }
    }

    /// Returns the next 16 bits of a key, if it is in the bucket.
    #[inline(always)]
    fn digit(self, key: u64) -> Option<usize> {
        let mask = !(u64::MAX.checked_shr(self.len).unwrap_or(0));
        ((key ^ self.bits) & mask == 0).then(|| (key >> (48 - self.len)) as usize % BUCKETS)
    }
}

/// Reads some layers, two at a time, and returns what `each` makes of them, in their order; `None` after an error.
fn pass<T: Send>(layers: &[usize], each: impl Fn(usize, &mut [u32]) -> Option<T> + Sync) -> Option<Vec<T>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let reader = || {
        let (mut table, mut found) = (vec![0; BUCKETS], Vec::new());
        let claim = || (!failed.load(Ordering::Relaxed)).then(|| next.fetch_add(1, Ordering::Relaxed));
        while let Some((at, &layer)) = claim().and_then(|at| Some((at, layers.get(at)?))) {
            match each(layer, &mut table) {
                Some(one) => found.push((at, one)),
                // The layers before this one are being read, so that the first error of all is always found.
                None => failed.store(true, Ordering::Relaxed),
            }
        }
        found
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(READERS).min(layers.len());
    let mut found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(reader)).collect();
        let own = reader();
        others.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).chain(own).collect::<Vec<_>>()
    });
    found.sort_unstable_by_key(|(at, _)| *at);
    (found.len() == layers.len()).then(|| found.into_iter().map(|(_, one)| one).collect())
}

/// How many units of a bucket have at least each of the digits that occur.
struct Tally {
    digits: Vec<u16>,
    at_least: Vec<u32>,
}

impl Tally {
    /// Takes the counts of a table, and leaves zeros. Their sum must be a number of 32 bits.
    fn take(table: &mut [u32]) -> Self {
        let some = table.iter().filter(|count| **count > 0).count();
        let mut tally = Self { digits: Vec::with_capacity(some), at_least: Vec::with_capacity(some) };
        for (digit, count) in table.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            tally.digits.push(digit as u16);
            tally.at_least.push(std::mem::take(count));
        }
        let mut sum = 0;
        for count in tally.at_least.iter_mut().rev() {
            sum += *count;
            *count = sum;
        }
        tally
    }

    fn at_least(&self, digit: u32) -> usize {
        let place = self.digits.partition_point(|&other| u32::from(other) < digit);
        self.at_least.get(place).map_or(0, |&count| count as usize)
    }
}

/// Counts the units of a layer that are alive and in a bucket, of which there are `expected`. Returns `None` if the units are in double
/// precision, and others were counted by their rounded scores.
fn tally(
    layer: &Scores<'_>,
    reading: &Reading<'_>,
    (double, prefix, expected): (bool, Prefix, usize),
    table: &mut [u32],
) -> Result<Option<Tally>, ScoreError> {
    if u32::try_from(layer.len()).is_err() {
        return Err(ScoreError::TooMany { units: layer.len() });
    }
    let Reading { values, order, factor, exact } = reading;
    let (order, factor, alive) = (*order, *factor, layer.alive.as_deref());
    let double_digit = |score: f64| prefix.digit(rank_key_of_double(score));
    let digit = |key: u32| prefix.digit(u64::from(key) << 32);
    match (exact, order) {
        (Some(_), _) if !double => return Ok(None),
        (Some(exact), _) => count(exact, doubles_finite, alive, table, double_digit)?,
        (None, _) if double => {
            let exact = |v: f32| double_digit(f64::from(factor) * f64::from(order.of(v)));
            count(values, check_finite, alive, table, exact)?;
        }
        (None, Order::Absolute) => {
            count(values, check_finite, alive, table, |v: f32| digit(rank_key(v * factor, Order::Absolute)))?;
        }
        (None, Order::Value) => {
            count(values, check_finite, alive, table, |v: f32| digit(rank_key(v * factor, Order::Value)))?;
        }
    }
    let tally = Tally::take(table);
    if tally.at_least(0) == expected { Ok(Some(tally)) } else { Err(ScoreError::Changed) }
}

/// Counts scores by their digits.
fn count<V: Copy>(
    scores: &[V],
    check: impl Fn(&[V]) -> Result<(), NonFinite>,
    alive: Option<&Bits>,
    table: &mut [u32],
    digit: impl Fn(V) -> Option<usize>,
) -> Result<(), NonFinite> {
    let mut add = |score: V| {
        if let Some(digit) = digit(score) {
            table[digit] += 1;
        }
    };
    for (b, block) in scores.chunks(BLOCK).enumerate() {
        let start = b * BLOCK;
        if let Err(error) = check(block) {
            table.fill(0);
            return Err(error.after(start));
        }
        match alive {
            None => block.iter().for_each(|&score| add(score)),
            Some(alive) => {
                (0..block.len()).filter(|i| alive.get(start + i)).for_each(|i| add(block[i]));
            }
        }
    }
    Ok(())
}

fn doubles_finite(scores: &[f64]) -> Result<(), NonFinite> {
    match scores.iter().position(|score| !score.is_finite()) {
        Some(index) => Err(NonFinite { index, value: scores[index] as f32 }),
        None => Ok(()),
    }
}
