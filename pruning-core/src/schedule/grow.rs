//! Pruned weights that come back, as in dynamic sparse training: [`Grow`].

use crate::budget::Scores;
use crate::mask::Bits;
use crate::plugin::Configured;
use crate::score::{NonFinite, Order};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Dynamic sparse training at a constant sparsity.
///
/// After the last pruning of the schedule, an update every `every` steps drops the least important weights of each layer and grows as
/// many others.
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
    /// The criterion whose highest scores come back.
    pub criterion: Configured<K>,
    /// The fraction of a layer's kept weights that the first update swaps, in `(0, 1]`; default 0.3.
    pub fraction: f64,
    /// The way in which the fraction falls; `"cosine"` by default.
    pub anneal: Anneal,
    /// The steps between updates, at least 1; default 100.
    pub every: usize,
    /// The step before which all updates come.
    pub end: usize,
}

// Derived, it would ask the kind itself to be `Clone`.
impl<K: ?Sized> Clone for Grow<K> {
    fn clone(&self) -> Self {
        Self { criterion: self.criterion.clone(), ..*self }
    }
}

/// How the swapped fraction falls from the first update to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// The fraction falls by half a cosine: `f(t) = a / 2 (1 + cos(pi t / T_end))` (RigL, section 3).
    #[default]
    Cosine,
    /// The fraction stays constant.
    None,
}

/// One update of dynamic sparse training.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Update {
    /// The step at which the update is due.
    pub step: usize,
    /// The number of the update, from 1.
    pub number: usize,
    /// The number of updates in all.
    pub updates: usize,
    /// The fraction of a layer's kept weights that is swapped.
    pub fraction: f64,
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update {} of {}, step {}", self.number, self.updates, self.step)
    }
}

impl<K: ?Sized> Grow<K> {
    /// Returns how many updates follow a last pruning at step `pruned`.
    #[must_use]
    pub fn updates(&self, pruned: usize) -> usize {
        self.end.saturating_sub(pruned.saturating_add(1)) / self.every
    }

    /// Returns the update that is due at `step`; the annealing counts its steps from the last pruning, at step `pruned`.
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

    /// Returns the step of the first update at `step` or later; `None` after the last update.
    #[must_use]
    pub fn next(&self, step: usize, pruned: usize) -> Option<usize> {
        let number = step.saturating_sub(pruned).max(1).div_ceil(self.every);
        (number <= self.updates(pruned)).then(|| pruned + number * self.every)
    }

    /// Returns the step of the last update, if there is one.
    #[must_use]
    pub fn last(&self, pruned: usize) -> Option<usize> {
        match self.updates(pruned) {
            0 => None,
            n => Some(pruned + n * self.every),
        }
    }
}

/// Drops the `count` weights of `alive` with the lowest `drop` scores, and grows the `count` inactive weights with the highest `grow`
/// scores.
///
/// As many weights are kept as before. A weight that is dropped can be grown in the same update (RigL, algorithm 1: it takes the growing
/// weights from outside of `theta \ I_drop`); it then stays as it was. Scores are compared as in [`Scores`], and ties go to the lower
/// index.
///
/// ```
/// use pruning_core::mask::Bits;
/// use pruning_core::schedule::swap;
/// use pruning_core::score::Order;
/// let alive = Bits::from_bools(&[true, true, false, false]);
/// // Index 1 has the lowest drop score, and index 3 the highest grow score of those that are not active.
/// let (drop, grow) = ([0.9, -0.1, 0.0, 0.0], [0.0, 0.2, -0.3, 0.8]);
/// let kept = swap(&alive, 1, (&drop, Order::Absolute), (&grow, Order::Absolute))?;
/// assert_eq!(kept.iter_ones().collect::<Vec<_>>(), [0, 3]);
/// # Ok::<(), pruning_core::score::NonFinite>(())
/// ```
///
/// # Errors
/// A score is not finite.
///
/// # Panics
/// Scores and bits differ in length.
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
