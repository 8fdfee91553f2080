//! Finding the window of keys that holds a threshold.

use crate::budget::select::split::Split;
use crate::budget::select::window::Window;
use crate::budget::select::{Scores, count_at_least};

/// A budget of `keep` units over layers, each of which keeps a number within its bounds.
pub(super) struct Shares<'a> {
    pub(super) layers: &'a [&'a Scores<'a>],
    pub(super) bounds: &'a [(usize, usize)],
    pub(super) keep: usize,
}

impl Shares<'_> {
    /// Returns the number of units that stay in all, if `counts` units of each layer are above a threshold.
    pub(super) fn total(&self, counts: impl Iterator<Item = usize>) -> usize {
        counts.zip(self.bounds).map(|(count, &(lo, hi))| count.clamp(lo, hi)).sum()
    }

    /// Returns the counts with what is missing of the budget, which goes to the layers in their order, each up to its `reach`.
    pub(super) fn fill(&self, mut counts: Vec<usize>, reach: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut missing = self.keep - counts.iter().sum::<usize>();
        for (count, reach) in counts.iter_mut().zip(reach) {
            let extra = missing.min(reach - *count);
            *count += extra;
            missing -= extra;
        }
        debug_assert_eq!(missing, 0);
        counts
    }

    /// Returns the most keys to list: few enough to search them again and again, and to hold them in little memory.
    pub(super) fn room(&self) -> usize {
        // Where a list could not number the units, there is none: a window is narrowed down to a single key.
        let numbered = self.layers.iter().all(|layer| u32::try_from(layer.len()).is_ok());
        if numbered { self.layers.iter().map(|layer| layer.len()).sum::<usize>() / 16 + 1024 } else { 0 }
    }

    /// Splits every layer by one window that holds the threshold; the lower bounds alone must not reach the budget.
    pub(super) fn split(&self, room: usize) -> Vec<Split> {
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

    /// Returns where in the range the threshold lies according to the sample, give or take some standard deviations; `None` if that
    /// window would hold more keys than there is room for.
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

    /// Returns a single key with about half of the range on each side; one that many units share, if there is one.
    fn halve(&self, range: Window) -> Window {
        let mut keys: Vec<u32> = self.layers.iter().flat_map(|layer| layer.sample.iter().copied()).collect();
        keys.retain(|key| (range.low..=range.high).contains(key));
        let half = keys.len() / 2;
        let middle = range.low + (range.high - range.low) / 2;
        let key = if keys.is_empty() { middle } else { *keys.select_nth_unstable(half).1 };
        Window { low: key, high: key }
    }
}

impl Scores<'_> {
    /// How many units have at least `key`, as the sample suggests.
    fn estimate(&self, key: u32) -> usize {
        (self.scale() * count_at_least(&self.sample, key) as f64) as usize
    }

    /// How many units are inside a window, as the sample suggests.
    pub(super) fn estimate_inside(&self, window: Window) -> usize {
        self.estimate(window.low) - self.estimate(window.high.saturating_add(1))
    }

    /// Returns the number of units that each key of the sample stands for.
    fn scale(&self) -> f64 {
        self.alive_len as f64 / self.sample.len().max(1) as f64
    }
}
