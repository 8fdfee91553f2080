//! Exact selection of the highest scores, by two histograms instead of a sort.
//!
//! A score is mapped to a 32-bit key that orders as the score does. One pass counts the upper halves of the keys, a
//! second one the lower halves within the bucket that holds the threshold, a third one writes the mask: three streaming
//! reads, no copy of the scores, no index tensor, and counts that are exact whatever the ties.

use crate::Bits;
use crate::bits::ones;
use pulp::Arch;
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

const BUCKETS: usize = 1 << 16;
type Histogram = Box<[u32]>;

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
    upper: Histogram,
    // The lower halves within one bucket: selection asks for the bucket that sharing the budget asked for before.
    lower: OnceLock<(usize, Histogram)>,
}

impl<'a> Scores<'a> {
    /// Counts the scores (one read) and checks that all are finite.
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
        let all = upper_histogram(values, order);
        check_finite(values, order, &all)?;
        let (upper, alive_len) = match alive {
            None => (all, values.len()),
            Some(alive) => {
                let mut upper = all;
                upper.fill(0);
                for i in alive.iter_ones() {
                    upper[(rank_key(values[i], order) >> 16) as usize] += 1;
                }
                (upper, alive.count_ones())
            }
        };
        Ok(Self { values, order, alive, alive_len, upper, lower: OnceLock::new() })
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
        let (bucket, above) = descend(&self.upper, keep);
        let (low, above_low) = descend(&self.lower(bucket), keep - above);
        self.emit((bucket << 16 | low) as u32, keep - above - above_low)
    }

    /// Counts of the lower halves within `bucket`; kept for the first bucket that is asked for.
    fn lower(&self, bucket: usize) -> std::borrow::Cow<'_, [u32]> {
        let (cached, counts) = self.lower.get_or_init(|| (bucket, self.lower_histogram(bucket)));
        if *cached == bucket { counts[..].into() } else { self.lower_histogram(bucket).into_vec().into() }
    }

    fn lower_histogram(&self, bucket: usize) -> Histogram {
        let mut counts = vec![0u32; BUCKETS].into_boxed_slice();
        if self.upper[bucket] == 0 {
            return counts;
        }
        self.for_each_word(
            |chunk, order| word_of(chunk, |v| rank_key(v, order) >> 16 == bucket as u32),
            |start, word| {
                for bit in ones(word) {
                    counts[(rank_key(self.values[start + bit], self.order) & 0xffff) as usize] += 1;
                }
            },
        );
        counts
    }

    /// Keeps every key above `threshold`, and the first `ties` that equal it.
    fn emit(&self, threshold: u32, mut ties: usize) -> Bits {
        let mut words = Vec::with_capacity(self.len().div_ceil(64));
        self.for_each_word(
            |chunk, order| word_of(chunk, |v| rank_key(v, order) >= threshold),
            |start, mut word| {
                // Which of them only tie matters until the last one that is kept, and after that none is.
                let equal = if word == 0 { 0 } else { self.equal_in(start, word, threshold) };
                for bit in ones(equal) {
                    if ties == 0 {
                        word &= !(1 << bit);
                    } else {
                        ties -= 1;
                    }
                }
                words.push(word);
            },
        );
        Bits::from_words(words, self.len())
    }

    fn equal_in(&self, start: usize, word: u64, threshold: u32) -> u64 {
        let end = (start + 64).min(self.len());
        let order = self.order;
        word & word_of(&self.values[start..end], |v| rank_key(v, order) == threshold)
    }

    /// Walks the scores 64 at a time: `test` makes a word of bits, `f` gets it without the units that are not alive.
    fn for_each_word(&self, test: impl Fn(&[f32], Order) -> u64 + Copy, mut f: impl FnMut(usize, u64)) {
        Arch::new().dispatch(|| {
            for (w, chunk) in self.values.chunks(64).enumerate() {
                let alive = self.alive.map_or(u64::MAX, |alive| alive.words()[w]);
                f(w * 64, test(chunk, self.order) & alive);
            }
        });
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
    let total = |counts: &mut dyn Iterator<Item = usize>| {
        counts.zip(&bounds).map(|(count, &(lo, hi))| count.clamp(lo, hi)).sum::<usize>()
    };
    if keep < total(&mut bounds.iter().map(|b| b.0)) || keep > total(&mut bounds.iter().map(|b| b.1)) {
        return None;
    }
    // The clamped total grows as the threshold falls. First find the bucket of upper halves where it reaches `keep`.
    let mut above = vec![0usize; layers.len()];
    let bucket = (0..BUCKETS).rev().find(|&bucket| {
        let here = above.iter().zip(layers).map(|(a, l)| a + l.upper[bucket] as usize);
        if total(&mut here.clone()) >= keep {
            return true;
        }
        above = here.collect();
        false
    });
    let Some(bucket) = bucket else {
        return Some(above.iter().zip(&bounds).map(|(a, &(lo, hi))| (*a).clamp(lo, hi)).collect());
    };
    // Then the key in it. Layers held at a bound either way need no second look.
    let lower: Vec<_> = layers
        .iter()
        .zip(&bounds)
        .zip(&above)
        .map(|((l, &(lo, hi)), &a)| (a < hi && a + l.upper[bucket] as usize > lo).then(|| l.lower(bucket)))
        .collect();
    let at =
        |low: usize| move |counts: &Option<std::borrow::Cow<'_, [u32]>>| counts.as_ref().map_or(0, |c| c[low] as usize);
    let mut low = BUCKETS;
    loop {
        low -= 1;
        let here = above.iter().zip(&lower).map(|(a, c)| a + at(low)(c));
        if low == 0 || total(&mut here.clone()) >= keep {
            break;
        }
        above = here.collect();
    }
    let mut counts: Vec<usize> = above.iter().zip(&bounds).map(|(a, &(lo, hi))| (*a).clamp(lo, hi)).collect();
    let mut missing = keep - counts.iter().sum::<usize>();
    for (l, count) in counts.iter_mut().enumerate() {
        let reach = (above[l] + at(low)(&lower[l])).clamp(bounds[l].0, bounds[l].1);
        let extra = missing.min(reach - *count);
        *count += extra;
        missing -= extra;
    }
    debug_assert_eq!(missing, 0);
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

fn upper_histogram(values: &[f32], order: Order) -> Histogram {
    // Two tables in turn: the same bucket twice in a row would wait for the first increment to be stored.
    let mut even = vec![0u32; BUCKETS].into_boxed_slice();
    let mut odd = if values.len() > 1 << 18 { even.clone() } else { Box::default() };
    if odd.is_empty() {
        values.iter().for_each(|&v| even[(rank_key(v, order) >> 16) as usize] += 1);
        return even;
    }
    let (pairs, rest) = values.as_chunks::<4>();
    for &[a, b, c, d] in pairs {
        even[(rank_key(a, order) >> 16) as usize] += 1;
        odd[(rank_key(b, order) >> 16) as usize] += 1;
        even[(rank_key(c, order) >> 16) as usize] += 1;
        odd[(rank_key(d, order) >> 16) as usize] += 1;
    }
    rest.iter().for_each(|&v| even[(rank_key(v, order) >> 16) as usize] += 1);
    even.iter_mut().zip(&odd).for_each(|(a, b)| *a += b);
    even
}

/// Infinities and NaN fill the buckets at the ends, so the histogram tells whether a look for one is due.
fn check_finite(values: &[f32], order: Order, upper: &[u32]) -> Result<(), NonFinite> {
    let suspect = match order {
        Order::Absolute => upper[0xff00..].iter().any(|&n| n > 0),
        Order::Value => upper[..0x0080].iter().chain(&upper[0xff80..]).any(|&n| n > 0),
    };
    match values.iter().position(|v| suspect && !v.is_finite()) {
        Some(index) => Err(NonFinite { index, value: values[index] }),
        None => Ok(()),
    }
}

/// The highest bucket down to which at least `keep` are counted, and how many lie above it.
fn descend(counts: &[u32], keep: usize) -> (usize, usize) {
    let mut above = 0;
    for (bucket, &count) in counts.iter().enumerate().rev() {
        if above + count as usize >= keep {
            return (bucket, above);
        }
        above += count as usize;
    }
    (0, above)
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

/// Gathers the lowest bit of each byte.
#[inline(always)]
pub(crate) fn pack(flags: &[u8; 64]) -> u64 {
    let mut word = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // The product moves bit 8 j to bit 56 + j, for all j at once and without carries.
        word |= (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
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
