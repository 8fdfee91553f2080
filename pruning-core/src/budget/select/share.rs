//! Sharing a budget over layers: [`share_highest`].

use crate::budget::select::Scores;
use crate::budget::select::tables;
use crate::budget::select::threshold::Shares;

/// Shares `keep` units over layers so that the highest scores of the whole model stay, within bounds for each layer.
///
/// Returns how many units each layer keeps. Layer `l` keeps its scores above one threshold common to all layers, but at least
/// `bounds[l].0` and at most `bounds[l].1` units. Equal scores at the threshold go to earlier layers. The counts add up to `keep`
/// exactly; the result is `None` if the bounds exclude that total.
///
/// Scores that are read again ([`Scores::read_again`]) are read twice at most, and give the same counts; after an error of a reader the
/// result is `None`, too.
///
/// ```
/// use pruning_core::budget::{Scores, share_highest};
/// use pruning_core::score::Order;
/// let large = Scores::new(&[9.0, 8.0, 7.0, 6.0], Order::Value)?;
/// let small = Scores::new(&[5.0, 1.0, 1.0, 1.0], Order::Value)?;
/// assert_eq!(share_highest(&[&large, &small], &[(1, 4); 2], 5), Some(vec![4, 1]));
/// // The first layer may keep three units at most.
/// assert_eq!(share_highest(&[&large, &small], &[(1, 3), (1, 4)], 5), Some(vec![3, 2]));
/// assert_eq!(share_highest(&[&large, &small], &[(1, 4); 2], 9), None);
/// # Ok::<(), pruning_core::score::NonFinite>(())
/// ```
///
/// # Panics
/// The number of bounds differs from the number of layers.
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
    if layers.iter().any(|layer| layer.source.is_some()) {
        return tables::share(&shares);
    }
    let splits = shares.split(shares.room());
    let window = splits.first()?.window;
    let at_least = |key: u32| splits.iter().map(move |split| split.at_least(key));
    let threshold = window.highest_where(|key| shares.total(at_least(key)) >= keep);
    let clamped = |key: u32| at_least(key).zip(&bounds).map(|(count, &(lo, hi))| count.clamp(lo, hi));
    let counts = shares.fill(clamped(threshold.saturating_add(1)).collect(), clamped(threshold));
    for (layer, split) in layers.iter().zip(splits) {
        *layer.shared() = Some(split);
    }
    Some(counts)
}
