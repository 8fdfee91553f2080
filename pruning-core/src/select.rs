//! Exact selection of the highest scores: a sample says where the threshold lies, and one pass proves it.
//!
//! A score is mapped to a 32-bit key that orders as the score does. A first pass checks that all scores are finite and takes
//! a sample, which gives a narrow window of keys that should hold the threshold. A second pass splits the scores by that
//! window: a mask of those above it, and a short list of the keys inside, among which the threshold is found. The counts of
//! that pass are exact, so they tell whether the window was right; if it was not, another one is tried. That makes two
//! streaming reads, no sort, no copy of the scores, and a result that does not depend on the sample, whatever the ties.

use crate::Bits;
use crate::bits::{Compare, Pass, ones, run};
use pulp::Arch;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the numbers of a score slice rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By value.
    #[default]
    Value,
    /// By absolute value: ranks weights by magnitude with no tensor of magnitudes in between.
    Absolute,
}

/// A score that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("score {value} at index {index} is not finite")]
pub struct NonFinite {
    /// Index into the slice.
    pub index: usize,
    /// The score.
    pub value: f32,
}

impl NonFinite {
    /// The same, found in a slice that starts with index `start` of another one.
    pub(crate) fn after(self, start: usize) -> Self {
        Self { index: start + self.index, ..self }
    }
}

/// Scores of the units of one layer, ready to be ranked; higher scores are kept, and equal ones by lower index first.
///
/// ```
/// use pruning_core::{Order, Scores};
/// let scores = Scores::new(&[-3.0, 1.0, 2.0, -1.0], Order::Absolute)?;
/// assert_eq!(scores.keep_highest(2).to_bools(), [true, false, true, false]);
/// assert_eq!(scores.keep_highest(3).to_bools(), [true, true, true, false]); // the tie goes to index 1
/// # Ok::<(), pruning_core::NonFinite>(())
/// ```
#[derive(Debug)]
pub struct Scores<'a> {
    values: &'a [f32],
    order: Order,
    alive: Option<&'a Bits>,
    alive_len: usize,
    // Keys of some units that are alive, from all over the layer.
    sample: Vec<u32>,
    // What sharing the budget has found, for the selection that follows.
    split: Mutex<Option<Split>>,
}

impl<'a> Scores<'a> {
    /// Checks that all scores are finite (one read).
    ///
    /// # Errors
    /// The first NaN or infinite score.
    pub fn new(values: &'a [f32], order: Order) -> Result<Self, NonFinite> {
        Self::of_alive(values, order, None)
    }

    /// The same for the units of `alive` alone: the others rank nowhere and are never kept.
    ///
    /// # Errors
    /// The first NaN or infinite score, of a unit that is alive or not.
    ///
    /// # Panics
    /// `alive` is not as long as `values`.
    pub fn of_alive(values: &'a [f32], order: Order, alive: Option<&'a Bits>) -> Result<Self, NonFinite> {
        assert!(alive.is_none_or(|alive| alive.len() == values.len()), "one bit for each score");
        // The error falls with the square root of the sample: a small layer has 2,048 of them at least, a large one
        // more.
        let stride = (values.len() / 2048).clamp(1, 256);
        let mut sample = Vec::with_capacity(values.len() / stride);
        // Blocks that are still in the cache when the sample is taken from them.
        let block = 32 * stride;
        for (b, scores) in values.chunks(block).enumerate() {
            check_finite(scores).map_err(|e| e.after(b * block))?;
            for (i, stratum) in scores.chunks_exact(stride).enumerate() {
                // A fixed step would meet the same rows of a matrix again and again.
                let hash = ((b * 32 + i) as u32).wrapping_mul(0x9e37_79b9) >> 16;
                let at = (hash as usize * stride) >> 16;
                if alive.is_none_or(|alive| alive.get(b * block + i * stride + at)) {
                    sample.push(rank_key(stratum[at], order));
                }
            }
        }
        let alive_len = alive.map_or(values.len(), Bits::count_ones);
        Ok(Self { values, order, alive, alive_len, sample, split: Mutex::new(None) })
    }

    /// Units in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no unit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Units that are not pruned yet.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive_len
    }

    /// The score of a unit as it ranks.
    #[must_use]
    pub fn score(&self, unit: usize) -> f32 {
        match self.order {
            Order::Value => self.values[unit],
            Order::Absolute => self.values[unit].abs(),
        }
    }

    /// The mask of the `keep` highest scores; all that are alive if there are not more.
    #[must_use]
    pub fn keep_highest(&self, keep: usize) -> Bits {
        if keep >= self.alive_len {
            return self.alive.cloned().unwrap_or_else(|| Bits::ones(self.len()));
        }
        if keep == 0 {
            return Bits::zeros(self.len());
        }
        let alone = Shares { layers: &[self], bounds: &[(0, self.alive_len)], keep };
        let split = self.shared().take().filter(|split| split.holds(keep)).or_else(|| alone.split(alone.room()).pop());
        split.map_or_else(|| Bits::zeros(self.len()), |split| split.into_highest(keep))
    }

    fn shared(&self) -> MutexGuard<'_, Option<Split>> {
        self.split.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many units have at least `key`, as the sample suggests.
    fn estimate(&self, key: u32) -> usize {
        (self.scale() * count_at_least(&self.sample, key) as f64) as usize
    }

    /// How many units are inside a window, as the sample suggests.
    fn estimate_inside(&self, window: Window) -> usize {
        self.estimate(window.low) - self.estimate(window.high.saturating_add(1))
    }

    /// Units that each key of the sample stands for.
    fn scale(&self) -> f64 {
        self.alive_len as f64 / self.sample.len().max(1) as f64
    }

    /// Splits the units by a window; its keys are listed as long as there is `room`, which shrinks.
    fn split(&self, window: Window, room: &mut usize) -> Split {
        match self.order {
            Order::Absolute => run(SplitBy { scores: self, window, room, key: |v| rank_key(v, Order::Absolute) }),
            Order::Value => run(SplitBy { scores: self, window, room, key: |v| rank_key(v, Order::Value) }),
        }
    }
}

/// One pass over the scores of a layer.
struct SplitBy<'a, K> {
    scores: &'a Scores<'a>,
    window: Window,
    room: &'a mut usize,
    key: K,
}

impl<K: Fn(f32) -> u32> Pass for SplitBy<'_, K> {
    type Output = Split;

    #[inline(always)]
    fn run(self, compare: impl Compare) -> Split {
        let Self { scores, window, room, key } = self;
        let expected = scores.estimate_inside(window);
        let mut split = Split::of(window, scores.len(), (expected + expected / 8).min(*room) + 16);
        let mut last = [0.0; BLOCK];
        for (b, block) in scores.values.chunks(BLOCK).enumerate() {
            let full = block.try_into().unwrap_or_else(|_| {
                last[..block.len()].copy_from_slice(block);
                &last
            });
            // Two loops, so that the first is nothing but vector instructions.
            let (mut above, mut inside) = ([0; WORDS], [0; WORDS]);
            for (w, chunk) in full.as_chunks::<64>().0.iter().enumerate() {
                let mut keys = [0; 64];
                keys.iter_mut().zip(chunk).for_each(|(k, &v)| *k = key(v));
                above[w] = window.high.checked_add(1).map_or(0, |least| compare.at_least_key(&keys, least));
                inside[w] = compare.at_least_key(&keys, window.low) & !above[w];
            }
            let words = block.len().div_ceil(64);
            for w in 0..words {
                let valid = u64::MAX >> (64 - (block.len() - 64 * w).min(64));
                let alive = scores.alive.map_or(valid, |alive| alive.words()[b * WORDS + w]);
                above[w] &= alive;
                inside[w] &= alive;
            }
            split.push(b * BLOCK, &above[..words], &inside[..words], room, |at| key(full[at % BLOCK]));
        }
        split
    }
}

/// Scores that are compared in one go, and the words that their bits make.
const BLOCK: usize = 64 * WORDS;
const WORDS: usize = 16;

/// Keys from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    low: u32,
    high: u32,
}

impl Window {
    const ALL: Self = Self { low: 0, high: u32::MAX };

    /// The highest key of the window for which `test` holds, as it then does for all below; the lowest if it holds for none.
    fn highest_where(self, test: impl Fn(u32) -> bool) -> u32 {
        let Self { mut low, mut high } = self;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if test(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }
}

/// The units of a layer that lie above a window and inside it.
#[derive(Debug)]
struct Split {
    window: Window,
    len: usize,
    above: Vec<u64>,
    above_len: usize,
    inside_len: usize,
    // Those inside, ascending, with their keys; where the window is a single key, a bit for each of them instead.
    units: Vec<u32>,
    keys: Vec<u32>,
    equal: Vec<u64>,
}

impl Split {
    /// Nothing yet, with memory for `len` units, of which about `inside` are inside.
    fn of(window: Window, len: usize, inside: usize) -> Self {
        let words = len.div_ceil(64);
        let (equal, listed) = if window.low == window.high { (words, 0) } else { (0, inside) };
        Self {
            window,
            len,
            above: Vec::with_capacity(words),
            above_len: 0,
            inside_len: 0,
            units: Vec::with_capacity(listed),
            keys: Vec::with_capacity(listed),
            equal: Vec::with_capacity(equal),
        }
    }

    /// Adds the block of units that starts with `first`; those inside are listed as long as there is room.
    #[inline(always)]
    fn push(&mut self, first: usize, above: &[u64], inside: &[u64], room: &mut usize, key: impl Fn(usize) -> u32) {
        let count = |words: &[u64]| words.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        let len = count(inside);
        self.above.extend_from_slice(above);
        self.above_len += count(above);
        self.inside_len += len;
        if self.window.low == self.window.high {
            self.equal.extend_from_slice(inside);
            return;
        }
        if len > *room {
            *room = 0;
            return;
        }
        *room -= len;
        let start = self.units.len();
        self.units.resize(start + len + 2, 0);
        self.keys.resize(start + len + 2, 0);
        let (units, keys) = (&mut self.units[start..], &mut self.keys[start..]);
        let mut next = 0;
        for (w, &word) in inside.iter().enumerate() {
            let mut rest = word;
            let mut list = |slot: usize| {
                let at = 64 * w + rest.trailing_zeros() as usize % 64;
                (units[slot], keys[slot]) = ((first + at) as u32, key(at));
                rest &= rest.wrapping_sub(1);
            };
            // Few words hold more than two, and without a branch on how many, none is mispredicted. What was too much
            // is overwritten.
            list(next);
            list(next + 1);
            let end = next + word.count_ones() as usize;
            (next + 2..end).for_each(list);
            next = end;
        }
        self.units.truncate(start + len);
        self.keys.truncate(start + len);
    }

    /// Units with at least `key`, which must not be below the window.
    fn at_least(&self, key: u32) -> usize {
        let inside = match key {
            _ if key > self.window.high => 0,
            _ if key == self.window.low => self.inside_len,
            _ => count_at_least(&self.keys, key),
        };
        self.above_len + inside
    }

    /// Whether the threshold of `keep` units is inside.
    fn holds(&self, keep: usize) -> bool {
        (self.above_len..=self.above_len + self.inside_len).contains(&keep)
    }

    /// The mask of the `keep` highest; the split must hold that threshold.
    fn into_highest(self, keep: usize) -> Bits {
        let threshold = self.window.highest_where(|key| self.at_least(key) >= keep);
        let mut ties = keep.saturating_sub(self.at_least(threshold.saturating_add(1)));
        let mut words = self.above;
        for (&unit, &key) in self.units.iter().zip(&self.keys) {
            let tie = key == threshold && ties > 0;
            ties -= usize::from(tie);
            words[unit as usize / 64] |= u64::from(tie || key > threshold) << (unit % 64);
        }
        for (word, &equal) in words.iter_mut().zip(&self.equal) {
            let kept = lowest(equal, ties);
            ties -= kept.count_ones() as usize;
            *word |= kept;
        }
        Bits::from_words(words, self.len)
    }
}

/// A budget of `keep` units over layers, each of which keeps a number within its bounds.
struct Shares<'a> {
    layers: &'a [&'a Scores<'a>],
    bounds: &'a [(usize, usize)],
    keep: usize,
}

impl Shares<'_> {
    /// Units that stay in all, where so many of each layer are above a threshold.
    fn total(&self, counts: impl Iterator<Item = usize>) -> usize {
        counts.zip(self.bounds).map(|(count, &(lo, hi))| count.clamp(lo, hi)).sum()
    }

    /// The most keys to list: few enough to search them again and again, and to hold them in little memory.
    fn room(&self) -> usize {
        // Where a list could not number the units, there is none: a window is narrowed down to a single key.
        let numbered = self.layers.iter().all(|layer| u32::try_from(layer.len()).is_ok());
        if numbered { self.layers.iter().map(|layer| layer.len()).sum::<usize>() / 16 + 1024 } else { 0 }
    }

    /// Splits every layer by one window that holds the threshold; the lower bounds alone must not reach the budget.
    fn split(&self, room: usize) -> Vec<Split> {
        let alive: usize = self.layers.iter().map(|layer| layer.alive()).sum();
        let mut range = Window::ALL;
        // More deviations make longer lists, fewer miss more often, which costs a pass: here about once in eighty
        // times.
        let mut window =
            if alive <= room { range } else { self.guess(2.5, range, room).unwrap_or_else(|| self.halve(range)) };
        let mut halve = true;
        loop {
            let mut left = room;
            let splits: Vec<_> = self.layers.iter().map(|layer| layer.split(window, &mut left)).collect();
            let inside: usize = splits.iter().map(|split| split.inside_len).sum();
            if self.total(splits.iter().map(|split| split.above_len)) >= self.keep {
                range.low = window.high.saturating_add(1);
            } else if self.total(splits.iter().map(|split| split.above_len + split.inside_len)) < self.keep {
                range.high = window.low.saturating_sub(1);
            } else if window.low == window.high || inside <= room {
                return splits;
            } else {
                range = window;
            }
            // A sample may mislead: every second time the range is halved, so that the passes come to an end.
            halve = !halve;
            let guess = if halve { None } else { self.guess(5.0, range, room) };
            window = guess.filter(|guess| *guess != window).unwrap_or_else(|| self.halve(range));
        }
    }

    /// Where in the range the sample says that the threshold lies, give or take some standard deviations; `None` if
    /// more keys than there is room for would be inside.
    fn guess(&self, deviations: f64, range: Window, room: usize) -> Option<Window> {
        let estimate = |keep: usize| {
            range.highest_where(|key| self.total(self.layers.iter().map(|layer| layer.estimate(key))) >= keep)
        };
        let middle = estimate(self.keep);
        // How many of a layer's sample are above is a binomial number.
        let variance = self.layers.iter().map(|layer| {
            let (above, all) = (count_at_least(&layer.sample, middle) as f64, layer.sample.len().max(1) as f64);
            layer.scale().powi(2) * above * (1.0 - above / all)
        });
        let coarsest = self.layers.iter().map(|layer| layer.scale()).fold(0.0, f64::max);
        let margin = (deviations * variance.sum::<f64>().sqrt() + coarsest) as usize;
        let window = Window { low: estimate(self.keep + margin), high: estimate(self.keep.saturating_sub(margin)) };
        let inside: usize = self.layers.iter().map(|layer| layer.estimate_inside(window)).sum();
        (window.low == window.high || inside <= room).then_some(window)
    }

    /// A single key with about half of the range on each side; one that many units share, if there is one.
    fn halve(&self, range: Window) -> Window {
        let mut keys: Vec<u32> = self.layers.iter().flat_map(|layer| layer.sample.iter().copied()).collect();
        keys.retain(|key| (range.low..=range.high).contains(key));
        let half = keys.len() / 2;
        let middle = range.low + (range.high - range.low) / 2;
        let key = if keys.is_empty() { middle } else { *keys.select_nth_unstable(half).1 };
        Window { low: key, high: key }
    }
}

/// Shares `keep` units over layers so that the highest scores of the whole model stay, within bounds for each layer.
///
/// Returns how many each layer keeps: layer `l` keeps its scores above one threshold common to all, but at least
/// `bounds[l].0` and at most `bounds[l].1` units. Equal scores at the threshold go to earlier layers. The counts add up to `keep`
/// exactly; `None` if the bounds do not allow that total.
///
/// # Panics
/// There are not as many bounds as layers.
#[must_use]
pub fn share_highest(layers: &[&Scores<'_>], bounds: &[(usize, usize)], keep: usize) -> Option<Vec<usize>> {
    assert_eq!(layers.len(), bounds.len(), "bounds for each layer");
    let bounds: Vec<_> = layers.iter().zip(bounds).map(|(l, &(lo, hi))| (lo, hi.min(l.alive()))).collect();
    if bounds.iter().any(|(lo, hi)| lo > hi) {
        return None;
    }
    let (least, most) = bounds.iter().fold((0, 0), |(least, most), (lo, hi)| (least + lo, most + hi));
    if keep <= least || keep > most {
        return (keep == least).then(|| bounds.iter().map(|b| b.0).collect());
    }
    let shares = Shares { layers, bounds: &bounds, keep };
    let splits = shares.split(shares.room());
    let window = splits.first()?.window;
    let at_least = |key: u32| splits.iter().map(move |split| split.at_least(key));
    let threshold = window.highest_where(|key| shares.total(at_least(key)) >= keep);
    let clamped = |key: u32| at_least(key).zip(&bounds).map(|(count, &(lo, hi))| count.clamp(lo, hi));
    let mut counts: Vec<usize> = clamped(threshold.saturating_add(1)).collect();
    let mut missing = keep - counts.iter().sum::<usize>();
    for (count, reach) in counts.iter_mut().zip(clamped(threshold)) {
        let extra = missing.min(reach - *count);
        *count += extra;
        missing -= extra;
    }
    debug_assert_eq!(missing, 0);
    for (layer, split) in layers.iter().zip(splits) {
        *layer.shared() = Some(split);
    }
    Some(counts)
}

/// Orders as the score does; -0 and 0 are equal.
#[inline(always)]
pub(crate) fn rank_key(value: f32, order: Order) -> u32 {
    match order {
        Order::Absolute => value.to_bits() << 1,
        Order::Value => {
            let bits = (value + 0.0).to_bits();
            // Negative numbers order backwards by their bits, and come before the positive ones.
            bits ^ ((bits as i32 >> 31) as u32 | 0x8000_0000)
        }
    }
}

/// That no score is NaN or infinite.
pub(crate) fn check_finite(scores: &[f32]) -> Result<(), NonFinite> {
    // The largest exponent of a block tells, with no branch for each score; the search happens only on failure.
    let finite = Arch::new().dispatch(|| {
        scores.chunks(1024).all(|chunk| chunk.iter().fold(0, |max, v| max.max(v.to_bits() & 0x7fff_ffff)) < 0x7f80_0000)
    });
    if finite {
        return Ok(());
    }
    match scores.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(NonFinite { index, value: scores[index] }),
        None => Ok(()),
    }
}

fn count_at_least(keys: &[u32], key: u32) -> usize {
    Arch::new().dispatch(|| {
        // Short enough for a count in 32 bits, which is as wide as what is counted.
        keys.chunks(1 << 16).map(|keys| keys.iter().map(|&k| u32::from(k >= key)).sum::<u32>() as usize).sum()
    })
}

/// The `n` lowest set bits of a word; all if there are not more.
fn lowest(word: u64, n: usize) -> u64 {
    if n >= word.count_ones() as usize { word } else { ones(word).take(n).fold(0, |kept, bit| kept | 1 << bit) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: sort by score descending, then index ascending.
    fn by_sorting(values: &[f32], order: Order, alive: &[bool], keep: usize) -> Vec<bool> {
        let rank = |v: f32| if order == Order::Absolute { v.abs() } else { v };
        let mut indices: Vec<_> = (0..values.len()).filter(|&i| alive[i]).collect();
        indices.sort_by(|&a, &b| rank(values[b]).partial_cmp(&rank(values[a])).unwrap().then(a.cmp(&b)));
        let mut mask = vec![false; values.len()];
        indices.iter().take(keep).for_each(|&i| mask[i] = true);
        mask
    }

    fn scores() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![
            (-4i8..4).prop_map(f32::from),
            -1.0f32..1.0,
            Just(0.0),
            Just(-0.0),
            Just(f32::MAX),
            Just(f32::MIN_POSITIVE / 4.0)
        ];
        proptest::collection::vec(value, 1..400)
    }

    proptest! {
        #[test]
        fn keeps_what_sorting_keeps(
            values in scores(), part in 0.0f64..=1.0, seed: u64, absolute: bool, masked: bool
        ) {
            let order = if absolute { Order::Absolute } else { Order::Value };
            let alive: Vec<bool> =
                (0..values.len()).map(|i| !masked || (seed.rotate_left(i as u32) ^ i as u64) & 1 == 0).collect();
            let bits = Bits::from_bools(&alive);
            let scores = Scores::of_alive(&values, order, Some(&bits)).unwrap();
            let keep = (part * scores.alive() as f64) as usize;
            prop_assert_eq!(scores.keep_highest(keep).to_bools(), by_sorting(&values, order, &alive, keep));
            if !masked {
                let plain = Scores::new(&values, order).unwrap();
                prop_assert_eq!(plain.keep_highest(keep), scores.keep_highest(keep));
            }
        }

        #[test]
        fn sharing_keeps_what_sorting_the_whole_model_keeps(
            a in scores(), b in scores(), c in scores(), part in 0.0f64..=1.0
        ) {
            let all: Vec<f32> = [a.clone(), b.clone(), c.clone()].concat();
            let keep = (part * all.len() as f64) as usize;
            let expected = by_sorting(&all, Order::Value, &vec![true; all.len()], keep);
            let layers = [&a, &b, &c].map(|v| Scores::new(v, Order::Value).unwrap());
            let refs: Vec<_> = layers.iter().collect();
            let bounds: Vec<_> = layers.iter().map(|l| (0, l.len())).collect();
            let counts = share_highest(&refs, &bounds, keep).unwrap();
            let masks: Vec<bool> =
                layers.iter().zip(&counts).flat_map(|(l, &n)| l.keep_highest(n).to_bools()).collect();
            prop_assert_eq!(masks, expected);
        }

        #[test]
        fn sharing_meets_bounds_and_total(
            a in scores(), b in scores(), c in scores(), part in 0.0f64..=1.0, lo in 0.0f64..0.6, hi in 0.6f64..=1.0
        ) {
            let layers = [&a, &b, &c].map(|v| Scores::new(v, Order::Value).unwrap());
            let refs: Vec<_> = layers.iter().collect();
            let bounds: Vec<_> = layers
                .iter()
                .map(|l| ((lo * l.len() as f64) as usize, (hi * l.len() as f64) as usize))
                .collect();
            let (low, high) = bounds.iter().fold((0, 0), |(x, y), b| (x + b.0, y + b.1));
            let keep = low + (part * (high - low) as f64) as usize;
            let counts = share_highest(&refs, &bounds, keep).unwrap();
            prop_assert_eq!(counts.iter().sum::<usize>(), keep);
            for (count, (lo, hi)) in counts.iter().zip(&bounds) {
                prop_assert!(lo <= count && count <= hi);
            }
            // Exchange argument: what a layer above its floor keeps beats what a layer below its cap drops.
            let worst_kept = refs.iter().zip(&counts).zip(&bounds).filter(|((_, n), b)| **n > b.0)
                .map(|((l, &n), _)| sorted(l)[n - 1]).fold(f32::INFINITY, f32::min);
            let best_dropped = refs.iter().zip(&counts).zip(&bounds).filter(|((_, n), b)| **n < b.1)
                .map(|((l, &n), _)| sorted(l)[n]).fold(f32::NEG_INFINITY, f32::max);
            prop_assert!(worst_kept >= best_dropped);
            prop_assert!(share_highest(&refs, &bounds, high + 1).is_none());
        }
    }

    fn sorted(scores: &Scores<'_>) -> Vec<f32> {
        let mut values: Vec<_> = (0..scores.len()).map(|i| scores.score(i)).collect();
        values.sort_by(|a, b| b.partial_cmp(a).unwrap());
        values
    }

    #[test]
    fn ties_keep_the_lower_index() {
        let scores = Scores::new(&[1.0; 130], Order::Value).unwrap();
        let kept: Vec<_> = scores.keep_highest(70).iter_ones().collect();
        assert_eq!(kept, (0..70).collect::<Vec<_>>());
    }

    /// Scores that are too many to list, of kinds that a window can stumble over.
    fn large() -> Vec<(&'static str, Vec<f32>)> {
        let noise =
            |i: u32| i.wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519) as f32 / 2e9 - 1.0;
        let of = |f: &dyn Fn(f32) -> f32| (0..60_001).map(|i| f(noise(i))).collect();
        let mut sorted: Vec<f32> = of(&|v| v);
        sorted.sort_by(f32::total_cmp);
        vec![
            ("spread", of(&|v| v)),
            ("heavy tails", of(&|v| v.powi(9))),
            ("mostly zero", of(&|v| if v > 0.8 { v } else { 0.0 })),
            ("three values", of(&|v| (v * 1.4).round())),
            ("thirty values", of(&|v| (v * 15.0).round())),
            ("one value", of(&|_| -2.5)),
            ("close together", of(&|v| 1.0 + v * 1e-5)),
            ("sorted", sorted),
        ]
    }

    #[test]
    fn large_layers_keep_what_sorting_keeps() {
        for (name, values) in large() {
            let alive: Vec<bool> = (0..values.len()).map(|i| i % 3 > 0 || i > 50_000).collect();
            let bits = Bits::from_bools(&alive);
            for order in [Order::Value, Order::Absolute] {
                let scores = Scores::of_alive(&values, order, Some(&bits)).unwrap();
                for part in [0.0, 0.1, 0.333, 0.5, 0.9, 0.9999] {
                    let keep = 1 + (part * scores.alive() as f64) as usize;
                    let expected = by_sorting(&values, order, &alive, keep);
                    assert_eq!(scores.keep_highest(keep).to_bools(), expected, "{name} by {order:?}, {keep} kept");
                }
            }
        }
    }

    #[test]
    fn a_misleading_sample_changes_no_mask() {
        let all = rank_key(f32::MAX, Order::Value);
        for (name, values) in large() {
            let expected = by_sorting(&values, Order::Value, &vec![true; values.len()], 6000);
            for sample in [vec![], vec![0; 9], vec![all; 9], vec![0, all], (0..999).map(|i| i << 22).collect()] {
                let mut scores = Scores::new(&values, Order::Value).unwrap();
                scores.sample = sample;
                assert_eq!(scores.keep_highest(6000).to_bools(), expected, "{name}, sample {:?}", scores.sample);
            }
        }
    }

    #[test]
    fn without_room_for_a_list_the_mask_is_the_same() {
        for (name, values) in large() {
            let scores = Scores::new(&values, Order::Value).unwrap();
            let shares = Shares { layers: &[&scores], bounds: &[(0, values.len())], keep: 6000 };
            let split = shares.split(0).pop().unwrap();
            assert!(split.keys.is_empty(), "{name}");
            assert_eq!(split.into_highest(6000), scores.keep_highest(6000), "{name}");
        }
    }

    #[test]
    fn large_layers_share_as_one() {
        let layers = large();
        let all: Vec<f32> = layers.iter().flat_map(|(_, values)| values.iter().copied()).collect();
        let scores: Vec<_> = layers.iter().map(|(_, values)| Scores::new(values, Order::Absolute).unwrap()).collect();
        let refs: Vec<_> = scores.iter().collect();
        let bounds: Vec<_> = scores.iter().map(|layer| (0, layer.len())).collect();
        for keep in [1, 100_000, 240_004, 400_000] {
            let counts = share_highest(&refs, &bounds, keep).unwrap();
            let masks: Vec<bool> = refs.iter().zip(&counts).flat_map(|(l, &n)| l.keep_highest(n).to_bools()).collect();
            assert_eq!(masks, by_sorting(&all, Order::Absolute, &vec![true; all.len()], keep), "{keep} kept");
        }
    }

    #[test]
    fn non_finite_scores_are_named() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for order in [Order::Value, Order::Absolute] {
                let error = Scores::new(&[1.0, f32::MAX, f32::MIN, bad], order).unwrap_err();
                assert_eq!(error.index, 3, "{bad} by {order:?}");
                let mut values = vec![1.0; 100_000];
                (values[54_321], values[54_322], values[99_999]) = (bad, f32::NAN, f32::INFINITY);
                let error = Scores::new(&values, order).unwrap_err();
                assert_eq!(error.index, 54_321, "{bad} by {order:?}");
            }
        }
    }
}
