//! One pass over the scores of a layer, which splits its units by a window of keys.

use crate::budget::compare_keys::{CompareKeys, Pass, run};
use crate::budget::select::window::Window;
use crate::budget::select::{Scores, count_at_least};
use crate::mask::Bits;
use crate::mask::ones;
use crate::score::{Order, rank_key};

/// The units of a layer that lie above a window and inside it.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) window: Window,
    len: usize,
    above: Vec<u64>,
    pub(super) above_len: usize,
    pub(super) inside_len: usize,
    // Those inside, ascending, with their keys; where the window is a single key, a bit for each of them instead.
    units: Vec<u32>,
    pub(super) keys: Vec<u32>,
    equal: Vec<u64>,
}

impl Split {
    /// Creates an empty split with memory for `len` units, about `inside` of them inside the window.
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

    /// Returns how many units have at least `key`, which must not be below the window.
    pub(super) fn at_least(&self, key: u32) -> usize {
        let inside = match key {
            _ if key > self.window.high => 0,
            _ if key == self.window.low => self.inside_len,
            _ => count_at_least(&self.keys, key),
        };
        self.above_len + inside
    }

    /// Returns whether the threshold of `keep` units is inside.
    pub(super) fn holds(&self, keep: usize) -> bool {
        (self.above_len..=self.above_len + self.inside_len).contains(&keep)
    }

    /// Returns the mask of the `keep` highest; the split must hold that threshold.
    pub(super) fn into_highest(self, keep: usize) -> Bits {
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

impl Scores<'_> {
    /// Splits the units by a window; its keys are listed as long as there is `room`, which shrinks.
    pub(super) fn split(&self, window: Window, room: &mut usize) -> Split {
        let factor = self.factor;
        match self.order {
            Order::Absolute => {
                run(SplitBy { scores: self, window, room, key: |v| rank_key(v * factor, Order::Absolute) })
            }
            Order::Value => run(SplitBy { scores: self, window, room, key: |v| rank_key(v * factor, Order::Value) }),
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
    fn run(self, compare: impl CompareKeys) -> Split {
        let Self { scores, window, room, key } = self;
        let expected = scores.estimate_inside(window);
        let mut split = Split::of(window, scores.len(), (expected + expected / 8).min(*room) + 16);
        let mut last = [0.0; BLOCK];
        let alive = scores.alive.as_deref().map(Bits::words);
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
                let alive = alive.map_or(valid, |alive| alive[b * WORDS + w]);
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

/// Returns the `n` lowest set bits of a word; all if there are not more.
fn lowest(word: u64, n: usize) -> u64 {
    if n >= word.count_ones() as usize { word } else { ones(word).take(n).fold(0, |kept, bit| kept | 1 << bit) }
}
