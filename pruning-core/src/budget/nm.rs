//! N:M masks: of every `m` weights of an output unit, along its input channels or the taps of its kernels, the `n` with the highest
//! scores stay.

use crate::budget::compare_keys::{CompareKeys, Pass, run};
use crate::mask::Bits;
use crate::mask::ones;
use crate::score::{Along, Granularity, GranularityError, MatrixLayout, Order};
use crate::score::{NonFinite, check_finite, rank_key};

/// An error for an N:M mask that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NmError {
    /// The pattern does not fit the layer.
    #[error(transparent)]
    Granularity(#[from] GranularityError),
    /// A score is not finite.
    #[error(transparent)]
    NonFinite(#[from] NonFinite),
}

/// Keeps the `n` highest of every `m` scores of an output unit, [`Along`] its input channels or its taps. Ties go to the lower column.
///
/// `scores` are in the memory order of `layout`. Elements that are not in `alive` are never kept, even if a group then keeps fewer than
/// `n`.
///
/// ```
/// use pruning_core::budget::keep_n_of_m;
/// use pruning_core::score::{Along, MatrixLayout, Order};
/// let scores = [0.1, -0.9, 0.3, 0.7, -0.8, 0.2, 0.6, 0.4];
/// let mask = keep_n_of_m(&MatrixLayout::row_major(2, 4), &scores, Order::Absolute, None, (1, 4), Along::Inputs)?;
/// assert_eq!(mask.iter_ones().collect::<Vec<_>>(), [1, 4]);
/// # Ok::<(), pruning_core::budget::NmError>(())
/// ```
///
/// # Errors
/// `m` does not divide the fan-in, `n:m` is not a pattern, or a score is not finite.
pub fn keep_n_of_m(
    layout: &MatrixLayout,
    scores: &[f32],
    order: Order,
    alive: Option<&Bits>,
    (n, m): (usize, usize),
    along: Along,
) -> Result<Bits, NmError> {
    // Every number from 1 to m may be kept here: a gradual schedule passes through them.
    if n == m {
        check_finite(scores)?;
        return Ok(alive.cloned().unwrap_or_else(|| Bits::ones(scores.len())));
    }
    Granularity::Nm { n, m, along }.check(layout)?;
    // From a member of a group to the next one, in columns.
    let step = if along == Along::Inputs { layout.kernel() } else { 1 };
    let groups = Groups { scores, order, alive, n, m };
    let mut keep = match line(layout, step, m) {
        _ if scores.is_empty() => Bits::zeros(0),
        Some(1) => run(Consecutive(groups))?,
        Some(line) => run(Across { groups, line })?,
        None => {
            check_finite(scores)?;
            groups.one_by_one(layout, step)
        }
    };
    if let Some(alive) = alive {
        keep.intersect(alive);
    }
    Ok(keep)
}

/// Returns the length of memory lines such that every `m` of them, one after the other, make a group at each of their places. Returns
/// `None` where groups go across several runs of memory.
fn line(layout: &MatrixLayout, step: usize, m: usize) -> Option<usize> {
    if layout.inner() == step {
        Some(layout.rows() * step)
    } else {
        (layout.inner() / step).is_multiple_of(m).then_some(step)
    }
}

/// The scores that are cut, and the pattern.
#[derive(Clone, Copy)]
struct Groups<'a> {
    scores: &'a [f32],
    order: Order,
    alive: Option<&'a Bits>,
    n: usize,
    m: usize,
}

impl Groups<'_> {
    /// Loads up to 64 scores from `start` on, and which of them are alive.
    #[inline(always)]
    fn load(&self, start: usize, len: usize) -> ([f32; 64], u64) {
        let scores = &self.scores[start..start + len];
        let padded = || {
            let mut padded = [0.0; 64];
            padded[..len].copy_from_slice(scores);
            padded
        };
        (scores.try_into().unwrap_or_else(|_| padded()), self.alive.map_or(u64::MAX, |alive| alive.word_at(start)))
    }

    /// Maps scores to keys; dead ones come last. Raises `largest` to their magnitudes, as bits: a score that is not finite shows there,
    /// without a read of its own.
    #[inline(always)]
    fn keys(&self, (scores, living): ([f32; 64], u64), largest: &mut u32, keys: &mut [u32; 64]) {
        *largest = scores.iter().fold(*largest, |max, v| max.max(v.to_bits() & 0x7fff_ffff));
        match self.order {
            Order::Absolute => keys.iter_mut().zip(&scores).for_each(|(k, &v)| *k = rank_key(v, Order::Absolute)),
            Order::Value => keys.iter_mut().zip(&scores).for_each(|(k, &v)| *k = rank_key(v, Order::Value)),
        }
        if self.alive.is_some() {
            for (i, key) in keys.iter_mut().enumerate() {
                // A NaN, which is an error in the end, may have the highest key.
                *key = if living >> i & 1 == 1 { key.saturating_add(1) } else { 0 };
            }
        }
    }

    /// Cuts any layout, one group after the other.
    fn one_by_one(&self, layout: &MatrixLayout, step: usize) -> Bits {
        let Self { scores, order, alive, n, m } = *self;
        let mut keep = Bits::zeros(scores.len());
        let mut keys = [0u64; 64];
        for group in 0..layout.cols() / m {
            let first = group / step * step * m + group % step;
            for row in 0..layout.rows() {
                let flat = |j: usize| layout.flat(row, first + j * step);
                for (j, key) in keys[..m].iter_mut().enumerate() {
                    let at = flat(j);
                    let living = alive.is_none_or(|alive| alive.get(at));
                    *key = if living { 1 + u64::from(rank_key(scores[at], order)) } else { 0 };
                }
                let mut chosen = 0u64;
                for _ in 0..n {
                    let open = !chosen & (u64::MAX >> (64 - m));
                    if let Some(best) = ones(open).reduce(|best, j| if keys[j] > keys[best] { j } else { best }) {
                        chosen |= 1 << best;
                    }
                }
                ones(chosen).for_each(|j| keep.set(flat(j), true));
            }
        }
        keep
    }
}

/// For 64 units at once, how many of their group each one beats: a binary number in words, lowest digit first.
type Wins = [u64; 6];

/// Returns the number of digits that a group of `m` needs.
#[inline(always)]
fn digits(m: usize) -> usize {
    (usize::BITS - (m - 1).leading_zeros()) as usize
}

/// Adds a win to each unit of a word.
#[inline(always)]
fn add(wins: &mut [u64], word: u64) {
    wins.iter_mut().fold(word, |carry, digit| {
        let next = *digit & carry;
        *digit ^= carry;
        next
    });
}

/// Returns the units with at least `least` wins.
#[inline(always)]
fn at_least(wins: &[u64], least: usize) -> u64 {
    let digits = wins.iter().enumerate();
    digits.fold(u64::MAX, |reach, (i, digit)| if least >> i & 1 == 1 { digit & reach } else { digit | reach })
}

/// Groups that go across lines of memory, as in a Linear, or along the input channels of a convolution: 64 of them at once. Longer lines
/// are cut, and shorter ones are put side by side.
struct Across<'a> {
    groups: Groups<'a>,
    line: usize,
}

impl Pass for Across<'_> {
    type Output = Result<Bits, NonFinite>;

    #[inline(always)]
    fn run(self, compare: impl CompareKeys) -> Result<Bits, NonFinite> {
        // The compiler unrolls the loops over a group whose size it knows.
        if self.groups.m == 4 { self.cut(4, compare) } else { self.cut(self.groups.m, compare) }
    }
}

impl Across<'_> {
    #[inline(always)]
    fn cut(&self, m: usize, compare: impl CompareKeys) -> Result<Bits, NonFinite> {
        let Groups { scores, n, .. } = self.groups;
        let (line, digits) = (self.line, digits(m));
        // Lines that are met together, and how far the next ones are.
        let (beside, far) = ((64 / line).max(1), m * line);
        let mut keep = Bits::zeros(scores.len());
        let (mut keys, mut wins) = ([[0u32; 64]; 64], [Wins::default(); 64]);
        for (b, block) in scores.chunks(beside * far).enumerate() {
            let (first, beside) = (b * beside * far, block.len() / far);
            let mut largest = 0;
            for start in (0..line).step_by(64) {
                let len = (line - start).min(64);
                for (j, keys) in keys[..m].iter_mut().enumerate() {
                    let lanes = self.lanes(first + j * line + start, len, beside, far);
                    self.groups.keys(lanes, &mut largest, keys);
                }
                wins[..m].fill(Wins::default());
                for j in 1..m {
                    for i in 0..j {
                        // An earlier unit beats a later one that equals it.
                        let earlier = compare.at_least(&keys[i], &keys[j]);
                        add(&mut wins[i][..digits], earlier);
                        add(&mut wins[j][..digits], !earlier);
                    }
                }
                for (j, wins) in wins[..m].iter().enumerate() {
                    let kept = at_least(&wins[..digits], m - n);
                    for k in 0..beside {
                        let word = kept >> (k * line) & (u64::MAX >> (64 - len));
                        keep.insert(first + k * far + j * line + start, word);
                    }
                }
            }
            if largest >= f32::INFINITY.to_bits() {
                check_finite(block).map_err(|e| e.after(first))?;
            }
        }
        Ok(keep)
    }

    /// Loads the same member of groups that are `far` apart, line beside line.
    #[inline(always)]
    fn lanes(&self, start: usize, len: usize, beside: usize, far: usize) -> ([f32; 64], u64) {
        if beside == 1 {
            return self.groups.load(start, len);
        }
        let (mut scores, mut living) = ([0.0; 64], 0);
        for k in 0..beside {
            let at = start + k * far;
            scores[k * len..][..len].copy_from_slice(&self.groups.scores[at..at + len]);
            let word = self.groups.alive.map_or(0, |alive| alive.word_at(at));
            living |= (word & (u64::MAX >> (64 - len))) << (k * len);
        }
        (scores, living)
    }
}

/// Groups that lie one after the other, as the taps of a convolution: a unit meets the one `d` places on, for every `d`.
struct Consecutive<'a>(Groups<'a>);

impl Pass for Consecutive<'_> {
    type Output = Result<Bits, NonFinite>;

    #[inline(always)]
    fn run(self, compare: impl CompareKeys) -> Result<Bits, NonFinite> {
        match self.0.m {
            4 => self.cut(4, compare),
            8 => self.cut(8, compare),
            m => self.cut(m, compare),
        }
    }
}

impl Consecutive<'_> {
    #[inline(always)]
    fn cut(&self, m: usize, compare: impl CompareKeys) -> Result<Bits, NonFinite> {
        let Groups { scores, n, .. } = self.0;
        let digits = digits(m);
        // As many whole groups as 64 units hold; what is left over belongs to no group, and wins nothing.
        let whole = 64 / m * m;
        // For each distance, the units whose partner is in the same group.
        let mut partners = [0u64; 64];
        for (d, units) in partners.iter_mut().enumerate() {
            *units = (0..whole).filter(|i| i % m + d < m).fold(0, |units, i| units | 1 << i);
        }
        let mut keep = Bits::zeros(scores.len());
        let mut keys = [0u32; 128];
        for (b, block) in scores.chunks(16 * whole).enumerate() {
            let first = b * 16 * whole;
            let mut largest = 0;
            for start in (0..block.len()).step_by(whole) {
                let len = (block.len() - start).min(64);
                self.0.keys(self.0.load(first + start, len), &mut largest, &mut keys.as_chunks_mut().0[0]);
                let mut wins = Wins::default();
                for d in 1..m {
                    let (Ok(here), Ok(there)) = (keys[..64].try_into(), keys[d..d + 64].try_into()) else { continue };
                    let earlier = compare.at_least(here, there);
                    add(&mut wins[..digits], earlier & partners[d]);
                    add(&mut wins[..digits], (!earlier & partners[d]) << d);
                }
                let valid = u64::MAX >> (64 - len);
                keep.insert(first + start, at_least(&wins[..digits], m - n) & valid);
            }
            if largest >= f32::INFINITY.to_bits() {
                check_finite(block).map_err(|e| e.after(first))?;
            }
        }
        Ok(keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_sorting(
        layout: &MatrixLayout,
        scores: &[f32],
        order: Order,
        alive: &Bits,
        (n, m): (usize, usize),
        along: Along,
    ) -> Vec<bool> {
        let rank = |v: f32| if order == Order::Absolute { v.abs() } else { v };
        let mut keep = vec![false; scores.len()];
        for row in 0..layout.rows() {
            // Columns in the order in which groups take them.
            let mut cols: Vec<_> = (0..layout.cols()).collect();
            if along == Along::Inputs {
                cols.sort_by_key(|col| (col % layout.kernel(), *col));
            }
            for group in cols.chunks(m) {
                let mut flats: Vec<_> = group.iter().map(|&col| layout.flat(row, col)).collect();
                flats.retain(|&f| alive.get(f));
                flats.sort_by(|&a, &b| rank(scores[b]).partial_cmp(&rank(scores[a])).unwrap());
                flats.iter().take(n).for_each(|&f| keep[f] = true);
            }
        }
        keep
    }

    proptest! {
        #[test]
        fn keeps_what_sorting_each_group_keeps(
            rows in 1usize..150, groups in 1usize..8, pattern in 0usize..10, shape in 0usize..6, kernel in 1usize..12, seed: u64,
            masked: bool, absolute: bool, taps: bool
        ) {
            let (n, m) = [(2, 4), (1, 4), (3, 4), (1, 2), (4, 8), (3, 5), (13, 16), (2, 64), (20, 33), (1, 63)][pattern];
            let order = if absolute { Order::Absolute } else { Order::Value };
            let layout = match shape {
                0 => MatrixLayout::row_major(rows, groups * m),
                1 => MatrixLayout::column_major(rows, groups * m),
                2 => MatrixLayout::new(m, rows, groups, groups),
                3 => MatrixLayout::new(1, rows, groups * m * kernel, kernel),
                4 => MatrixLayout::new(groups * m, rows, kernel, kernel),
                // No layer has such a layout.
                _ => MatrixLayout::new(m, rows, groups * kernel, kernel),
            };
            let along = if taps { Along::Taps } else { Along::Inputs };
            let mut state = seed | 1;
            let mut random = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            // Few distinct values, so that ties happen.
            let scores: Vec<f32> = (0..layout.len()).map(|_| (random() % 13) as f32 - 6.0).collect();
            let alive = Bits::from_bools(&(0..layout.len()).map(|_| !masked || random() % 3 > 0).collect::<Vec<_>>());
            let given = masked.then_some(&alive);
            let keep = keep_n_of_m(&layout, &scores, order, given, (n, m), along).unwrap();
            prop_assert_eq!(keep.to_bools(), by_sorting(&layout, &scores, order, &alive, (n, m), along));
        }
    }

    #[test]
    fn bad_patterns_and_scores_are_refused() {
        let layout = MatrixLayout::row_major(2, 6);
        let error = keep_n_of_m(&layout, &[1.0; 12], Order::Value, None, (2, 4), Along::Inputs).unwrap_err();
        assert!(matches!(error, NmError::Granularity(GranularityError::DoesNotDivide { length: 6, .. })));
        let mut scores = [1.0; 12];
        scores[7] = f32::NAN;
        let error = keep_n_of_m(&layout, &scores, Order::Value, None, (1, 3), Along::Inputs).unwrap_err();
        assert!(matches!(error, NmError::NonFinite(NonFinite { index: 7, .. })));
        // The first one in memory order, on every path.
        let mut scores = vec![1.0; 200 * 240];
        (scores[25_000], scores[25_001], scores[25_200]) = (f32::NEG_INFINITY, f32::NAN, f32::NAN);
        let conv = MatrixLayout::new(1, 200, 240, 5);
        for layout in [MatrixLayout::row_major(200, 240), MatrixLayout::column_major(200, 240), conv] {
            for pattern in [(1, 3), (2, 4), (3, 8)] {
                let error = keep_n_of_m(&layout, &scores, Order::Absolute, None, pattern, Along::Inputs).unwrap_err();
                assert!(matches!(error, NmError::NonFinite(NonFinite { index: 25_000, .. })), "{layout:?} {pattern:?}");
            }
        }
    }
}
