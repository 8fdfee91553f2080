//! Exact selection of the highest scores: a sample says where the threshold lies, and one pass proves it.
//!
//! A score is mapped to a 32-bit key that orders as the score does. A first pass checks that all scores are finite and takes
//! a sample, which gives a narrow window of keys that should hold the threshold. A second pass splits the scores by that
//! window: a mask of those above it, and a short list of the keys inside, among which the threshold is found. The counts of
//! that pass are exact, so they tell whether the window was right; if it was not, another one is tried. That makes two
//! streaming reads, no sort, no copy of the scores, and a result that does not depend on the sample, whatever the ties.

use crate::Bits;
use crate::bits::{ones, pack};
use pulp::{Arch, NullaryFnOnce};
use std::sync::OnceLock;

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
    // Keys of units that are alive, from all over the layer.
    sample: Vec<u32>,
    // Selection asks for the split that sharing the budget has made before.
    split: OnceLock<Split>,
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
        // A square root of the sample is the error it makes: 2,048 suffice for a small layer, and a large one has more.
        let stride = (values.len() / 2048).clamp(1, 256);
        let mut sample = Vec::with_capacity(values.len() / stride);
        // Blocks that stay in the cache for the sample to be taken.
        let block = 64 * stride;
        for (b, scores) in values.chunks(block).enumerate() {
            check_finite(scores).map_err(|e| NonFinite { index: b * block + e.index, ..e })?;
            for (i, stratum) in scores.chunks_exact(stride).enumerate() {
                // A fixed step would meet the same rows of a matrix again and again.
                let hash = ((b * 64 + i) as u32).wrapping_mul(0x9e37_79b9) >> 16;
                let at = (hash as usize * stride) >> 16;
                if alive.is_none_or(|alive| alive.get(b * block + i * stride + at)) {
                    sample.push(rank_key(stratum[at], order));
                }
            }
        }
        let alive_len = alive.map_or(values.len(), Bits::count_ones);
        Ok(Self { values, order, alive, alive_len, sample, split: OnceLock::new() })
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
        if let Some(split) = self.split.get().filter(|split| split.holds(keep)) {
            return split.highest(keep);
        }
        let alone = Shares { layers: &[self], bounds: &[(0, self.alive_len)], keep };
        alone.split().first().map_or_else(|| Bits::zeros(self.len()), |split| split.highest(keep))
    }

    /// How many units have at least `key`, as the sample suggests.
    fn estimate(&self, key: u32) -> usize {
        (self.scale() * count_at_least(&self.sample, key) as f64) as usize
    }

    /// Units that each key of the sample stands for.
    fn scale(&self) -> f64 {
        self.alive_len as f64 / self.sample.len().max(1) as f64
    }

    /// Splits the units by a window; its keys are listed as long as there is `room`, which shrinks.
    fn split(&self, window: Window, room: &mut usize) -> Split {
        match self.order {
            Order::Absolute => Arch::new().dispatch(SplitBy { scores: self, window, room, key: |v| rank_key(v, Order::Absolute) }),
            Order::Value => Arch::new().dispatch(SplitBy { scores: self, window, room, key: |v| rank_key(v, Order::Value) }),
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

impl<K: Fn(f32) -> u32> NullaryFnOnce for SplitBy<'_, K> {
    type Output = Split;

    // A closure this long would be a function of its own, which is not compiled for the SIMD level of the machine.
    #[inline(always)]
    fn call(self) -> Split {
        let Self { scores, window, room, key } = self;
        let words = scores.len().div_ceil(64);
        let (mut above, mut inside) = (Vec::with_capacity(words), Vec::with_capacity(words));
        let (mut above_len, mut inside_len) = (0, 0);
        let mut keys = Vec::new();
        for (w, chunk) in scores.values.chunks(64).enumerate() {
            let alive = scores.alive.map_or(u64::MAX, |alive| alive.words()[w]);
            let higher = word_of(chunk, |v| key(v) > window.high) & alive;
            let middle = word_of(chunk, |v| key(v) >= window.low) & alive & !higher;
            above.push(higher);
            inside.push(middle);
            above_len += higher.count_ones() as usize;
            let len = middle.count_ones() as usize;
            inside_len += len;
            if window.low < window.high {
                if len <= *room {
                    keys.extend(ones(middle).map(|bit| key(chunk[bit])));
                }
                *room = room.saturating_sub(len);
            }
        }
        let [above, inside] = [above, inside].map(|words| Bits::from_words(words, scores.len()));
        Split { window, above, inside, above_len, inside_len, keys }
    }
}

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
    above: Bits,
    inside: Bits,
    above_len: usize,
    inside_len: usize,
    // Of those inside, in the order of the units; not listed where the window is a single key.
    keys: Vec<u32>,
}

impl Split {
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
    fn highest(&self, keep: usize) -> Bits {
        let threshold = self.window.highest_where(|key| self.at_least(key) >= keep);
        let mut ties = keep.saturating_sub(self.at_least(threshold.saturating_add(1)));
        let mut keys = self.keys.iter();
        let words = self.above.words().iter().zip(self.inside.words()).map(|(&above, &inside)| {
            let (mut higher, mut equal) = (above, inside);
            if self.window.low < self.window.high {
                equal = 0;
                for (bit, &key) in ones(inside).zip(&mut keys) {
                    higher |= u64::from(key > threshold) << bit;
                    equal |= u64::from(key == threshold) << bit;
                }
            }
            let kept = lowest(equal, ties);
            ties -= kept.count_ones() as usize;
            higher | kept
        });
        Bits::from_words(words.collect(), self.above.len())
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

    /// Splits every layer by one window that holds the threshold. Some layer must have room above its lower bound.
    fn split(&self) -> Vec<Split> {
        let (units, alive) = self.layers.iter().fold((0, 0), |(u, a), l| (u + l.len(), a + l.alive()));
        // Few enough keys to search them again and again, and to list them in little memory.
        let room = units / 16 + 1024;
        let (mut range, mut deviations) = (Window::ALL, 3.0);
        let mut window = if alive <= room { range } else { self.guess(deviations, range, None, room) };
        loop {
            let mut left = room;
            let splits: Vec<_> = self.layers.iter().map(|layer| layer.split(window, &mut left)).collect();
            let inside: usize = splits.iter().map(|s| s.inside_len).sum();
            if self.total(splits.iter().map(|s| s.above_len)) >= self.keep {
                range.low = window.high.saturating_add(1);
            } else if self.total(splits.iter().map(|s| s.above_len + s.inside_len)) < self.keep {
                range.high = window.low.saturating_sub(1);
            } else if window.low == window.high || inside <= room {
                return splits;
            } else {
                range = window;
            }
            deviations *= 2.0;
            window = self.guess(deviations, range, Some(window), room);
        }
    }

    /// A window within `range`, which holds the threshold: where the sample says it lies, give or take some deviations.
    ///
    /// A single key if that is the window which was `tried` and too full, or if it would hold too many for the `room`. It is one that many units
    /// share if there is one, and otherwise halves the sample: so the range shrinks with every pass.
    fn guess(&self, deviations: f64, range: Window, tried: Option<Window>, room: usize) -> Window {
        let estimate = |keep: usize| {
            range.highest_where(|key| self.total(self.layers.iter().map(|layer| layer.estimate(key))) >= keep)
        };
        let middle = estimate(self.keep);
        // Each sample is one draw from its layer.
        let variance = self.layers.iter().map(|layer| {
            let (above, all) = (count_at_least(&layer.sample, middle) as f64, layer.sample.len().max(1) as f64);
            layer.scale().powi(2) * above * (1.0 - above / all)
        });
        let coarsest = self.layers.iter().map(|layer| layer.scale()).fold(0.0, f64::max);
        let margin = (deviations * variance.sum::<f64>().sqrt() + coarsest) as usize;
        let window = Window { low: estimate(self.keep + margin), high: estimate(self.keep.saturating_sub(margin)) };
        let inside = |layer: &&Scores<'_>| layer.estimate(window.low) - layer.estimate(window.high.saturating_add(1));
        if window.low == window.high || (tried != Some(window) && self.layers.iter().map(inside).sum::<usize>() <= room) {
            return window;
        }
        let mut keys: Vec<u32> = self.layers.iter().flat_map(|layer| layer.sample.iter().copied()).collect();
        keys.retain(|key| (range.low..=range.high).contains(key));
        let half = keys.len() / 2;
        let key = if keys.is_empty() { range.low + (range.high - range.low) / 2 } else { *keys.select_nth_unstable(half).1 };
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
    let splits = shares.split();
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
        // A layer that has been split before keeps that one.
        let _ = layer.split.set(split);
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

/// One bit for each of up to 64 values.
#[inline(always)]
fn word_of(chunk: &[f32], test: impl Fn(f32) -> bool) -> u64 {
    let mut flags = [0u8; 64];
    match <&[f32; 64]>::try_from(chunk) {
        Ok(full) => {
            for i in 0..64 {
                flags[i] = u8::from(test(full[i]));
            }
        }
        Err(_) => chunk.iter().zip(&mut flags).for_each(|(&v, flag)| *flag = u8::from(test(v))),
    }
    pack(&flags)
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

    #[test]
    fn large_inputs_use_both_tables() {
        let values: Vec<f32> = (0..1u32 << 19).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 - 8e6).collect();
        for order in [Order::Value, Order::Absolute] {
            let kept = Scores::new(&values, order).unwrap().keep_highest(1000).to_bools();
            assert_eq!(kept, by_sorting(&values, order, &vec![true; values.len()], 1000));
        }
    }

    #[test]
    fn non_finite_scores_are_named() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for order in [Order::Value, Order::Absolute] {
                let error = Scores::new(&[1.0, f32::MAX, f32::MIN, bad], order).unwrap_err();
                assert_eq!(error.index, 3, "{bad} by {order:?}");
            }
        }
    }
}
