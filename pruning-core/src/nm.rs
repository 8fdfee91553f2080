//! N:M masks: of every `m` consecutive weights along the fan-in, the `n` with the highest scores stay.

use crate::bits::ones;
use crate::compare::{Compare, Pass, run};
use crate::select::{NonFinite, check_finite, rank_key};
use crate::{Bits, Granularity, GranularityError, MatrixLayout, Order};

/// Why no N:M mask could be made.
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

/// The mask that keeps the `n` highest of every `m` scores along the fan-in; equal scores by lower column first.
///
/// `scores` are in the memory order of `layout`. Elements that are not in `alive` are kept last, and then not at all: the
/// result never has a bit that `alive` has not.
///
/// # Errors
/// `m` does not divide the fan-in, `n:m` is no pattern, or a score is not finite.
pub fn keep_n_of_m(
    layout: &MatrixLayout,
    scores: &[f32],
    order: Order,
    alive: Option<&Bits>,
    (n, m): (usize, usize),
) -> Result<Bits, NmError> {
    // Every number from 1 to m may be kept here: a gradual schedule passes through them.
    if n == m {
        check_finite(scores)?;
        return Ok(alive.cloned().unwrap_or_else(|| Bits::ones(scores.len())));
    }
    Granularity::Nm { n, m }.check(layout)?;
    let groups = Groups { layout, scores, order, alive, n, m };
    // In short lines most of the 64 lanes are idle, which still beats one group at a time unless groups are large.
    let mut keep = if layout.inner() == 1 && layout.rows() >= m.max(8) {
        run(Across(groups))?
    } else if layout.inner().is_multiple_of(m) {
        run(Along(groups))?
    } else {
        check_finite(scores)?;
        general(layout, scores, order, alive, (n, m))
    };
    if let Some(alive) = alive {
        keep.intersect(alive);
    }
    Ok(keep)
}

/// What is cut, and how.
#[derive(Clone, Copy)]
struct Groups<'a> {
    layout: &'a MatrixLayout,
    scores: &'a [f32],
    order: Order,
    alive: Option<&'a Bits>,
    n: usize,
    m: usize,
}

impl Groups<'_> {
    /// Keys of up to 64 scores; what is not alive comes last. Raises `largest` to their magnitudes, as bits: what is
    /// not finite shows there, without a read of its own.
    #[inline(always)]
    fn keys(&self, start: usize, scores: &[f32], largest: &mut u32, keys: &mut [u32; 64]) {
        let padded = || {
            let mut padded = [0.0; 64];
            padded[..scores.len()].copy_from_slice(scores);
            padded
        };
        let scores: [f32; 64] = scores.try_into().unwrap_or_else(|_| padded());
        *largest = scores.iter().fold(*largest, |max, v| max.max(v.to_bits() & 0x7fff_ffff));
        match self.order {
            Order::Absolute => keys.iter_mut().zip(&scores).for_each(|(k, &v)| *k = rank_key(v, Order::Absolute)),
            Order::Value => keys.iter_mut().zip(&scores).for_each(|(k, &v)| *k = rank_key(v, Order::Value)),
        }
        if let Some(alive) = self.alive {
            let word = alive.word_at(start);
            for (i, key) in keys.iter_mut().enumerate() {
                *key = if word >> i & 1 == 1 { *key + 1 } else { 0 };
            }
        }
    }
}

/// For 64 units at once, how many of their group each one beats: a binary number in words, lowest digit first.
type Wins = [u64; 6];

/// The digits that a group of `m` needs.
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

/// The units with at least so many wins.
#[inline(always)]
fn at_least(wins: &[u64], least: usize) -> u64 {
    let digits = wins.iter().enumerate();
    digits.fold(u64::MAX, |reach, (i, digit)| if least >> i & 1 == 1 { digit & reach } else { digit | reach })
}

/// Groups that go across lines of memory, as in a Linear: 64 of them at once.
struct Across<'a>(Groups<'a>);

impl Pass for Across<'_> {
    type Output = Result<Bits, NonFinite>;

    #[inline(always)]
    fn run(self, compare: impl Compare) -> Result<Bits, NonFinite> {
        // The compiler unrolls the loops over a group whose size it knows.
        if self.0.m == 4 { self.cut(4, compare) } else { self.cut(self.0.m, compare) }
    }
}

impl Across<'_> {
    #[inline(always)]
    fn cut(&self, m: usize, compare: impl Compare) -> Result<Bits, NonFinite> {
        let Groups { layout, scores, n, .. } = self.0;
        let (rows, digits) = (layout.rows(), digits(m));
        let mut keep = Bits::zeros(scores.len());
        let (mut keys, mut wins) = ([[0u32; 64]; 64], [Wins::default(); 64]);
        for (g, group) in scores.chunks_exact(m * rows).enumerate() {
            let first = g * m * rows;
            let mut largest = 0;
            for start in (0..rows).step_by(64) {
                let len = (rows - start).min(64);
                for (j, keys) in keys[..m].iter_mut().enumerate() {
                    let at = j * rows + start;
                    self.0.keys(first + at, &group[at..at + len], &mut largest, keys);
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
                    keep.insert(first + j * rows + start, at_least(&wins[..digits], m - n) & (u64::MAX >> (64 - len)));
                }
            }
            if largest >= f32::INFINITY.to_bits() {
                check_finite(group).map_err(|e| e.after(first))?;
            }
        }
        Ok(keep)
    }
}

/// Groups that lie one after the other, as in a convolution: a unit meets the one `d` places on, for every `d`.
struct Along<'a>(Groups<'a>);

impl Pass for Along<'_> {
    type Output = Result<Bits, NonFinite>;

    #[inline(always)]
    fn run(self, compare: impl Compare) -> Result<Bits, NonFinite> {
        match self.0.m {
            4 => self.cut(4, compare),
            8 => self.cut(8, compare),
            m => self.cut(m, compare),
        }
    }
}

impl Along<'_> {
    #[inline(always)]
    fn cut(&self, m: usize, compare: impl Compare) -> Result<Bits, NonFinite> {
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
                let here = &block[start..block.len().min(start + 64)];
                self.0.keys(first + start, here, &mut largest, &mut keys.as_chunks_mut().0[0]);
                let mut wins = Wins::default();
                for d in 1..m {
                    let (Ok(here), Ok(there)) = (keys[..64].try_into(), keys[d..d + 64].try_into()) else { continue };
                    let earlier = compare.at_least(here, there);
                    add(&mut wins[..digits], earlier & partners[d]);
                    add(&mut wins[..digits], (!earlier & partners[d]) << d);
                }
                let valid = u64::MAX >> (64 - here.len());
                keep.insert(first + start, at_least(&wins[..digits], m - n) & valid);
            }
            if largest >= f32::INFINITY.to_bits() {
                check_finite(block).map_err(|e| e.after(first))?;
            }
        }
        Ok(keep)
    }
}

fn general(layout: &MatrixLayout, scores: &[f32], order: Order, alive: Option<&Bits>, (n, m): (usize, usize)) -> Bits {
    let mut keep = Bits::zeros(scores.len());
    let mut keys = [0u64; 64];
    for group in 0..layout.cols() / m {
        for row in 0..layout.rows() {
            let flat = |j: usize| layout.flat(row, group * m + j);
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
    ) -> Vec<bool> {
        let rank = |v: f32| if order == Order::Absolute { v.abs() } else { v };
        let mut keep = vec![false; scores.len()];
        for row in 0..layout.rows() {
            for group in 0..layout.cols() / m {
                let mut flats: Vec<_> = (0..m).map(|j| layout.flat(row, group * m + j)).collect();
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
            rows in 1usize..150, groups in 1usize..8, pattern in 0usize..10, shape in 0usize..3, seed: u64, masked: bool,
            absolute: bool
        ) {
            let (n, m) = [(2, 4), (1, 4), (3, 4), (1, 2), (4, 8), (3, 5), (13, 16), (2, 64), (20, 33), (1, 63)][pattern];
            let order = if absolute { Order::Absolute } else { Order::Value };
            let layout = match shape {
                0 => MatrixLayout::row_major(rows, groups * m),
                1 => MatrixLayout::column_major(rows, groups * m),
                _ => MatrixLayout::new(m, rows, groups, groups),
            };
            let mut state = seed | 1;
            let mut random = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            // Few distinct values, so that ties happen.
            let scores: Vec<f32> = (0..layout.len()).map(|_| (random() % 13) as f32 - 6.0).collect();
            let alive = Bits::from_bools(&(0..layout.len()).map(|_| !masked || random() % 3 > 0).collect::<Vec<_>>());
            let given = masked.then_some(&alive);
            let keep = keep_n_of_m(&layout, &scores, order, given, (n, m)).unwrap();
            prop_assert_eq!(keep.to_bools(), by_sorting(&layout, &scores, order, &alive, (n, m)));
        }
    }

    #[test]
    fn bad_patterns_and_scores_are_refused() {
        let layout = MatrixLayout::row_major(2, 6);
        let error = keep_n_of_m(&layout, &[1.0; 12], Order::Value, None, (2, 4)).unwrap_err();
        assert!(matches!(error, NmError::Granularity(GranularityError::DoesNotDivide { cols: 6, .. })));
        let mut scores = [1.0; 12];
        scores[7] = f32::NAN;
        let error = keep_n_of_m(&layout, &scores, Order::Value, None, (1, 3)).unwrap_err();
        assert!(matches!(error, NmError::NonFinite(NonFinite { index: 7, .. })));
        // The first one in memory order, on every path.
        let mut scores = vec![1.0; 200 * 240];
        (scores[25_000], scores[25_001], scores[25_200]) = (f32::NEG_INFINITY, f32::NAN, f32::NAN);
        for layout in [MatrixLayout::row_major(200, 240), MatrixLayout::column_major(200, 240)] {
            for pattern in [(1, 3), (2, 4), (3, 8)] {
                let error = keep_n_of_m(&layout, &scores, Order::Absolute, None, pattern).unwrap_err();
                assert!(matches!(error, NmError::NonFinite(NonFinite { index: 25_000, .. })), "{layout:?} {pattern:?}");
            }
        }
    }
}
