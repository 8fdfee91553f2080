//! Exact selection of the highest scores: a sample shows where the threshold lies, and one pass proves it.
//!
//! A score is mapped to a 32-bit key that orders as the score does. A first pass checks that all scores are finite and takes
//! a sample, which gives a narrow window of keys that should hold the threshold. A second pass splits the scores by that
//! window: a mask of those above it, and a short list of the keys inside, among which the threshold is found. The counts of
//! that pass are exact, so they tell whether the window was right; if it was not, another one is tried. That makes two
//! streaming reads, no sort, no copy of the scores, and a result that does not depend on the sample, whatever the ties.

use crate::budget::select::source::Source;
use crate::mask::Bits;
use crate::score::{NonFinite, Order, check_finite, rank_key};
use pulp::Arch;
use split::Split;
use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use threshold::Shares;

mod rank;
mod rows;
mod share;
mod source;
mod split;
mod tables;
mod threshold;
mod window;

pub use rank::ranks;
pub use share::share_highest;
pub(crate) use source::Reading;

/// The scores of the units of one layer, ready to be ranked; higher scores are kept, and ties go to the lower index.
///
/// ```
/// use pruning_core::score::Order;
/// use pruning_core::budget::Scores;
/// let scores = Scores::new(&[-3.0, 1.0, 2.0, -1.0], Order::Absolute)?;
/// assert_eq!(scores.keep_highest(2).to_bools(), [true, false, true, false]);
/// assert_eq!(scores.keep_highest(3).to_bools(), [true, true, true, false]); // the tie goes to index 1
/// # Ok::<(), pruning_core::score::NonFinite>(())
/// ```
#[derive(Debug)]
pub struct Scores<'a> {
    values: Cow<'a, [f32]>,
    order: Order,
    // Of all scores: ranking multiplies by it on the way, which saves a scaled copy.
    factor: f32,
    // What the units score, where they rank by other numbers.
    shown: Option<Vec<f32>>,
    alive: Option<Cow<'a, Bits>>,
    alive_len: usize,
    // Keys of some units that are alive, from all over the layer.
    sample: Vec<u32>,
    // What sharing the budget has found, for the selection that follows.
    split: Mutex<Option<Split>>,
    // Where the scores are read, if they are not in memory: then there are no values, and no sample.
    source: Option<Source<'a>>,
}

impl<'a> Scores<'a> {
    /// Creates scores, and checks in one read that all are finite.
    ///
    /// # Errors
    /// A score is NaN or infinite; the error has the first one.
    pub fn new(values: &'a [f32], order: Order) -> Result<Self, NonFinite> {
        Self::of_alive(values, order, None)
    }

    /// Creates scores of which only the units in `alive` rank; the others are never kept.
    ///
    /// # Errors
    /// A score is NaN or infinite, even that of a unit that is not alive; the error has the first one.
    ///
    /// # Panics
    /// `alive` and `values` differ in length.
    pub fn of_alive(values: &'a [f32], order: Order, alive: Option<&'a Bits>) -> Result<Self, NonFinite> {
        Self::scaled(Cow::Borrowed(values), order, alive.map(Cow::Borrowed), 1.0)
    }

    /// Creates scores that are `factor` times the values.
    pub(crate) fn scaled(
        values: Cow<'a, [f32]>,
        order: Order,
        alive: Option<Cow<'a, Bits>>,
        factor: f32,
    ) -> Result<Self, NonFinite> {
        assert!(alive.as_deref().is_none_or(|alive| alive.len() == values.len()), "one bit for each score");
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
                if alive.as_deref().is_none_or(|alive| alive.get(b * block + i * stride + at)) {
                    sample.push(rank_key(stratum[at] * factor, order));
                }
            }
        }
        let alive_len = alive.as_deref().map_or(values.len(), Bits::count_ones);
        Ok(Self { values, order, factor, alive, alive_len, sample, ..Self::empty() })
    }

    fn empty() -> Self {
        Self {
            values: Cow::Borrowed(&[]),
            order: Order::Value,
            factor: 1.0,
            shown: None,
            alive: None,
            alive_len: 0,
            sample: Vec::new(),
            split: Mutex::new(None),
            source: None,
        }
    }

    /// Creates scores of units that rank by `ranks` and score `shown`.
    pub(crate) fn ranked(ranks: Vec<f32>, shown: Vec<f32>, alive: Option<Cow<'a, Bits>>) -> Result<Self, NonFinite> {
        Ok(Self { shown: Some(shown), ..Self::scaled(Cow::Owned(ranks), Order::Value, alive, 1.0)? })
    }

    /// Returns the number of units.
    #[must_use]
    pub fn len(&self) -> usize {
        self.source.as_ref().map_or(self.values.len(), |source| source.len)
    }

    /// Returns whether there are no units.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of units that are not pruned yet.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive_len
    }

    /// Returns the scores of the units that are not pruned yet, in order of index, each as it ranks.
    pub fn alive_scores(&self) -> impl Iterator<Item = f32> + '_ {
        let alive = |&unit: &usize| self.alive.as_deref().is_none_or(|alive| alive.get(unit));
        let read = self.source.as_ref().and_then(|source| {
            source.read(|reading| {
                let shown = reading.shown()?.enumerate().filter(|(unit, _)| alive(unit));
                Ok(shown.map(|(_, score)| score).collect::<Vec<_>>())
            })
        });
        let here = 0..self.values.len();
        here.filter(alive).map(|unit| self.score(unit)).chain(read.into_iter().flatten())
    }

    /// Returns the score of a unit as it ranks; 0 if it cannot be read.
    #[must_use]
    pub fn score(&self, unit: usize) -> f32 {
        if let Some(source) = &self.source {
            return source.read(|reading| Ok(reading.shown()?.nth(unit))).flatten().unwrap_or(0.0);
        }
        if let Some(shown) = &self.shown {
            return shown[unit];
        }
        match self.order {
            Order::Value => self.factor * self.values[unit],
            Order::Absolute => self.factor * self.values[unit].abs(),
        }
    }

    /// Returns the mask of the `keep` highest scores, or of all units that are alive if there are not more; of none if the scores cannot be
    /// read.
    #[must_use]
    pub fn keep_highest(&self, keep: usize) -> Bits {
        if let Some(source) = &self.source {
            let kept = Self::held(source, self.alive.as_deref(), |scores| scores.keep_highest(keep));
            return kept.unwrap_or_else(|| Bits::zeros(self.len()));
        }
        if keep >= self.alive_len {
            return self.alive.as_deref().cloned().unwrap_or_else(|| Bits::ones(self.len()));
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
}

fn count_at_least(keys: &[u32], key: u32) -> usize {
    Arch::new().dispatch(|| {
        // Short enough for a count in 32 bits, which is as wide as what is counted.
        keys.chunks(1 << 16).map(|keys| keys.iter().map(|&k| u32::from(k >= key)).sum::<u32>() as usize).sum()
    })
}

#[cfg(test)]
mod tests;
