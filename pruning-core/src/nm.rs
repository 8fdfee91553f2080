//! N:M masks: of every `m` consecutive weights along the fan-in, the `n` with the highest scores stay.

use crate::bits::{ones, pack};
use crate::select::{NonFinite, check_finite, rank_key};
use crate::{Bits, Granularity, GranularityError, MatrixLayout, Order};
use pulp::Arch;

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
    let pattern = Granularity::Nm { n, m };
    // Every number from 1 to m may be kept here: a gradual schedule passes through them.
    if n != m {
        pattern.check(layout)?;
    }
    check_finite(scores)?;
    if n == m {
        return Ok(alive.cloned().unwrap_or_else(|| Bits::ones(scores.len())));
    }
    let mut keep = if alive.is_none() && m == 4 && layout.inner() == 1 && layout.rows() >= 64 {
        four_across(layout, scores, order, n)
    } else if alive.is_none() && m == 4 && layout.inner().is_multiple_of(4) {
        four_along(scores, order, n)
    } else {
        general(layout, scores, order, alive, (n, m))
    };
    if let Some(alive) = alive {
        keep.intersect(alive);
    }
    Ok(keep)
}

/// Which of four keys are among the `n` highest, from the six comparisons between them.
#[inline(always)]
fn kept_of_four([a, b, c, d]: [u32; 4], n: u8) -> [u8; 4] {
    // An earlier key beats a later one that equals it.
    let (ab, ac, ad) = (u8::from(a >= b), u8::from(a >= c), u8::from(a >= d));
    let (bc, bd, cd) = (u8::from(b >= c), u8::from(b >= d), u8::from(c >= d));
    // Kept are those that beat at least 4 - n others.
    let least = 4 - n;
    [
        u8::from(ab + ac + ad >= least),
        u8::from(1 - ab + bc + bd >= least),
        u8::from(2 - ac - bc + cd >= least),
        u8::from(3 - ad - bd - cd >= least),
    ]
}

/// Groups of four that lie one after the other.
fn four_along(scores: &[f32], order: Order, n: usize) -> Bits {
    let mut words = Vec::with_capacity(scores.len().div_ceil(64));
    Arch::new().dispatch(|| {
        for chunk in scores.chunks(64) {
            let mut keys = [[0u32; 16]; 4];
            for (g, group) in chunk.as_chunks::<4>().0.iter().enumerate() {
                for j in 0..4 {
                    keys[j][g] = rank_key(group[j], order);
                }
            }
            let mut flags = [[0u8; 16]; 4];
            for g in 0..16 {
                let kept = kept_of_four([keys[0][g], keys[1][g], keys[2][g], keys[3][g]], n as u8);
                for j in 0..4 {
                    flags[j][g] = kept[j];
                }
            }
            let mut word = 0u64;
            let [a, b, c, d] = &flags;
            for (g, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
                word |= u64::from(a | b << 1 | c << 2 | d << 3) << (4 * g);
            }
            words.push(word);
        }
    });
    Bits::from_words(words, scores.len())
}

/// Groups of four that lie a row of memory apart, as in a Linear.
fn four_across(layout: &MatrixLayout, scores: &[f32], order: Order, n: usize) -> Bits {
    let rows = layout.rows();
    let mut keep = vec![0u64; scores.len().div_ceil(64)];
    Arch::new().dispatch(|| {
        for (q, group) in scores.chunks_exact(4 * rows).enumerate() {
            let (ab, cd) = group.split_at(2 * rows);
            let ((a, b), (c, d)) = (ab.split_at(rows), cd.split_at(rows));
            for start in (0..rows).step_by(64) {
                let end = (start + 64).min(rows);
                let mut flags = [[0u8; 64]; 4];
                let lines = [&a[start..end], &b[start..end], &c[start..end], &d[start..end]];
                let mut keys = [[0u32; 64]; 4];
                for (keys, line) in keys.iter_mut().zip(lines) {
                    keys.iter_mut().zip(line).for_each(|(key, &v)| *key = rank_key(v, order));
                }
                for i in 0..64 {
                    let kept = kept_of_four([keys[0][i], keys[1][i], keys[2][i], keys[3][i]], n as u8);
                    for j in 0..4 {
                        flags[j][i] = kept[j];
                    }
                }
                for (j, flags) in flags.iter().enumerate() {
                    let word = pack(flags) & (u64::MAX >> (64 - (end - start)));
                    or_at(&mut keep, (4 * q + j) * rows + start, word);
                }
            }
        }
    });
    Bits::from_words(keep, scores.len())
}

/// Sets the bits of `word` from bit `at` on, across the boundary of two words.
#[inline(always)]
fn or_at(words: &mut [u64], at: usize, word: u64) {
    let (index, shift) = (at / 64, at % 64);
    words[index] |= word << shift;
    if shift > 0 && word >> (64 - shift) != 0 {
        words[index + 1] |= word >> (64 - shift);
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

    fn by_sorting(layout: &MatrixLayout, scores: &[f32], alive: &Bits, (n, m): (usize, usize)) -> Vec<bool> {
        let mut keep = vec![false; scores.len()];
        for row in 0..layout.rows() {
            for group in 0..layout.cols() / m {
                let mut flats: Vec<_> = (0..m).map(|j| layout.flat(row, group * m + j)).collect();
                flats.retain(|&f| alive.get(f));
                flats.sort_by(|&a, &b| scores[b].abs().partial_cmp(&scores[a].abs()).unwrap());
                flats.iter().take(n).for_each(|&f| keep[f] = true);
            }
        }
        keep
    }

    proptest! {
        #[test]
        fn keeps_what_sorting_each_group_keeps(
            rows in 1usize..150, groups in 1usize..8, pattern in 0usize..5, shape in 0usize..3, seed: u64, masked: bool
        ) {
            let (n, m) = [(2, 4), (1, 4), (3, 4), (4, 8), (3, 5)][pattern];
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
            let keep = keep_n_of_m(&layout, &scores, Order::Absolute, given, (n, m)).unwrap();
            prop_assert_eq!(keep.to_bools(), by_sorting(&layout, &scores, &alive, (n, m)));
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
    }
}
