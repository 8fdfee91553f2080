//! Pruned weights that come back: [`Grow`], dynamic sparse training.

use crate::budget::Scores;
use crate::mask::Bits;
use crate::plugin::Configured;
use crate::score::{NonFinite, Order};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Dynamic sparse training at a constant sparsity: after the last pruning of the schedule, an update every so many steps drops
/// the least important weights of each layer and grows as many others.
///
/// Growing by `"random"` is SET (Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse
/// connectivity inspired by network science", arXiv:1707.04780), growing by `"gradient"` is RigL (Evci et al. 2020, "Rigging the Lottery:
/// Making All Tickets Winners", arXiv:1911.11134, algorithm 1).
///
/// ```toml
/// grow = { criterion = "gradient", fraction = 0.3, anneal = "cosine", every = 100, end = 7500 }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Grow<K: ?Sized> {
    /// The highest of these scores come back.
    pub criterion: Configured<K>,
    /// Of the weights that a layer keeps, the fraction that the first update swaps, in `(0, 1]`; default 0.3.
    pub fraction: f64,
    /// How the fraction falls; `"cosine"` by default.
    pub anneal: Anneal,
    /// Steps between updates, at least 1; default 100.
    pub every: usize,
    /// All updates come before this step.
    pub end: usize,
}

// Derived, it would ask the kind itself to be `Clone`.
impl<K: ?Sized> Clone for Grow<K> {
    fn clone(&self) -> Self {
        Self { criterion: self.criterion.clone(), ..*self }
    }
}

/// How the fraction that is swapped falls from the first update to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine: `f(t) = a / 2 (1 + cos(pi t / T_end))` (RigL, section 3).
    #[default]
    Cosine,
    /// It stays.
    None,
}

/// One update of dynamic sparse training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The step it is due at.
    pub step: usize,
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub updates: usize,
    /// Of the weights that a layer keeps, the fraction that is swapped.
    pub fraction: f64,
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update {} of {}, step {}", self.number, self.updates, self.step)
    }
}

impl<K: ?Sized> Grow<K> {
    /// How many updates follow a last pruning at step `pruned`.
    #[must_use]
    pub fn updates(&self, pruned: usize) -> usize {
        self.end.saturating_sub(pruned.saturating_add(1)) / self.every
    }

    /// The update due at `step`, where the last pruning is at step `pruned`: the steps of the annealing are counted from there.
    #[must_use]
    pub fn due(&self, step: usize, pruned: usize) -> Option<Update> {
        let since = step.checked_sub(pruned).filter(|since| *since > 0 && since.is_multiple_of(self.every))?;
        let number = since / self.every;
        let updates = self.updates(pruned);
        let progress = since as f64 / (self.end.saturating_sub(pruned)).max(1) as f64;
        let factor = match self.anneal {
            Anneal::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
            Anneal::None => 1.0,
        };
        (number <= updates).then_some(Update { step, number, updates, fraction: self.fraction * factor })
    }

    /// Step of the first update at `step` or later; `None` after the last.
    #[must_use]
    pub fn next(&self, step: usize, pruned: usize) -> Option<usize> {
        let number = step.saturating_sub(pruned).max(1).div_ceil(self.every);
        (number <= self.updates(pruned)).then(|| pruned + number * self.every)
    }

    /// Step of the last update, if there is one.
    #[must_use]
    pub fn last(&self, pruned: usize) -> Option<usize> {
        match self.updates(pruned) {
            0 => None,
            n => Some(pruned + n * self.every),
        }
    }
}

/// Drops the `count` weights of `alive` with the lowest `drop` scores, and grows the `count` with the highest `grow` scores of
/// those that are not active then: as many are kept as before.
///
/// A weight that is dropped can be grown in the same update (RigL, algorithm 1: the growing ones are sought outside of
/// `theta \ I_drop`); it stays as it was then. Scores are compared as in [`Scores`], ties go to the lower index.
///
/// # Errors
/// A score that is not finite.
///
/// # Panics
/// Scores and bits have not one length.
pub fn swap(
    alive: &Bits,
    count: usize,
    (drop, drop_order): (&[f32], Order),
    (grow, grow_order): (&[f32], Order),
) -> Result<Bits, NonFinite> {
    let dropping = Scores::of_alive(drop, drop_order, Some(alive))?;
    let count = count.min(dropping.alive());
    let stay = dropping.keep_highest(dropping.alive() - count);
    let closed = stay.complement();
    let mut keep = Scores::of_alive(grow, grow_order, Some(&closed))?.keep_highest(count);
    keep.unite(&stay, 0);
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(ones: &[usize], len: usize) -> Bits {
        let mut bits = Bits::zeros(len);
        ones.iter().for_each(|&i| bits.set(i, true));
        bits
    }

    #[test]
    fn the_lowest_go_and_the_highest_come() {
        let alive = bits(&[0, 2, 4, 6], 8);
        let weights = [0.5, 9.0, -0.1, 9.0, 0.2, 9.0, -3.0, 9.0];
        let gradients = [9.0, 1.0, 0.0, -4.0, 0.0, 2.0, 9.0, 3.0];
        let swapped = |n| {
            swap(&alive, n, (&weights, Order::Absolute), (&gradients, Order::Absolute)).unwrap().iter_ones().collect()
        };
        let sets: Vec<Vec<usize>> = (0..=5).map(swapped).collect();
        // The weight of index 0 is dropped third and has the highest gradient: it comes back at once.
        let expected: [&[usize]; 6] =
            [&[0, 2, 4, 6], &[0, 3, 4, 6], &[0, 3, 6, 7], &[0, 3, 6, 7], &[0, 3, 6, 7], &[0, 3, 6, 7]];
        assert_eq!(sets, expected);
    }

    #[test]
    fn a_dense_layer_stays_dense_and_an_empty_one_empty() {
        for alive in [Bits::ones(70), Bits::zeros(70)] {
            let scores: Vec<f32> = (0..70).map(|i| (i * 37 % 70) as f32).collect();
            let kept = swap(&alive, 30, (&scores, Order::Value), (&scores, Order::Value)).unwrap();
            assert_eq!(kept, alive);
        }
    }

    #[test]
    fn a_score_that_is_not_finite_is_an_error() {
        let alive = bits(&[0], 2);
        assert!(swap(&alive, 1, (&[1.0, 1.0], Order::Value), (&[1.0, f32::NAN], Order::Value)).is_err());
    }
}
