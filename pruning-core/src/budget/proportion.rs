//! Sharing a total in proportion to weights, within bounds: the last step of most allocators.

use crate::budget::{AllocationError, LayerUnits};

/// The part of a total that a layer, or a group of layers, may take: see [`in_proportion`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The units that it gets for each unit of the common factor: a finite number, 0 or more.
    pub weight: f64,
    /// The least that it gets.
    pub least: usize,
    /// The most that it gets.
    pub most: usize,
}

impl Share {
    /// Creates the share of a layer, within what the recipe asks for and what is left.
    #[must_use]
    pub fn new(weight: f64, layer: &LayerUnits<'_>) -> Self {
        Self { weight, least: layer.least, most: layer.alive() }
    }

    fn at(&self, factor: f64) -> f64 {
        (factor * self.weight).clamp(self.least as f64, self.most as f64)
    }
}

/// Shares a total in proportion to weights, within bounds.
///
/// Each part gets `factor * weight` within its bounds, for the one factor that gives the total. A full part leaves its rest to the
/// others. Counts are rounded down, and the units left over go to the largest remainders; equal remainders go in the order of the slice.
///
/// ```
/// use pruning_core::budget::{Share, in_proportion};
/// let share = |weight, most| Share { weight, least: 1, most };
/// // The second part is full, and the others share the rest evenly.
/// assert_eq!(in_proportion(&[share(1.0, 10), share(3.0, 12), share(1.0, 100)], 22)?, [5, 12, 5]);
/// # Ok::<(), pruning_core::budget::AllocationError>(())
/// ```
///
/// # Errors
/// The bounds exclude the total, or a weight is negative or not finite.
pub fn in_proportion(parts: &[Share], keep: usize) -> Result<Vec<usize>, AllocationError> {
    if let Some((share, part)) = parts.iter().enumerate().find(|(_, p)| !(p.weight >= 0.0 && p.weight.is_finite())) {
        return Err(AllocationError::Weight { share, weight: part.weight.to_string() });
    }
    let (least, most) = parts.iter().fold((0, 0), |(l, m), p| (l + p.least, m + p.most));
    if !(least..=most).contains(&keep) || parts.iter().any(|p| p.least > p.most) {
        return Err(AllocationError::Unreachable { keep, least, most, allow_empty_helps: false });
    }
    let exact: Vec<f64> = {
        let factor = factor(parts, keep as f64);
        parts.iter().map(|p| p.at(factor)).collect()
    };
    let mut counts: Vec<usize> = exact.iter().map(|e| *e as usize).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    // A stable sort: layers with equal remainders in the order of their paths.
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let mut missing = keep as isize - counts.iter().sum::<usize>() as isize;
    while missing != 0 {
        for &i in &order {
            if missing > 0 && counts[i] < parts[i].most {
                counts[i] += 1;
                missing -= 1;
            } else if missing < 0 && counts[i] > parts[i].least {
                counts[i] -= 1;
                missing += 1;
            }
        }
    }
    Ok(counts)
}

/// Finds the factor at which the bounded shares add up to `total`.
fn factor(parts: &[Share], total: f64) -> f64 {
    let sum = |factor: f64| parts.iter().map(|p| p.at(factor)).sum::<f64>();
    // Beyond this every layer that has a weight is full.
    let full = parts.iter().filter(|p| p.weight > 0.0).map(|p| p.most as f64 / p.weight).fold(0.0, f64::max);
    // A weight next to nothing asks for more than there are numbers, and an infinity times 0 is none.
    let full = full.min(f64::MAX);
    let (mut low, mut high) = (0.0, full);
    // Halving to the last bit: the sum never falls as the factor grows.
    for _ in 0..1100 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if sum(middle) < total { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(weight: f64, least: usize, most: usize) -> Share {
        Share { weight, least, most }
    }

    #[test]
    fn full_layers_leave_their_rest_to_the_others() {
        let parts = [part(1.0, 1, 10), part(3.0, 1, 12), part(1.0, 1, 100)];
        assert_eq!(in_proportion(&parts, 10).unwrap(), [2, 6, 2]);
        assert_eq!(in_proportion(&parts, 22).unwrap(), [5, 12, 5]);
        assert_eq!(in_proportion(&parts, 62).unwrap(), [10, 12, 40]);
        assert_eq!(in_proportion(&parts, 122).unwrap(), [10, 12, 100]);
        assert_eq!(in_proportion(&parts, 3).unwrap(), [1, 1, 1]);
        assert!(in_proportion(&parts, 2).is_err() && in_proportion(&parts, 123).is_err());
    }

    #[test]
    fn layers_without_weight_get_what_no_other_can_take() {
        assert_eq!(in_proportion(&[part(0.0, 0, 5), part(1.0, 0, 5)], 4).unwrap(), [0, 4]);
        assert_eq!(in_proportion(&[part(0.0, 0, 5), part(1.0, 0, 5)], 8).unwrap(), [3, 5]);
        assert_eq!(in_proportion(&[part(0.0, 0, 5), part(0.0, 0, 5)], 4).unwrap(), [2, 2]);
    }

    #[test]
    fn weights_that_are_no_numbers_are_errors_and_tiny_ones_are_weights() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let error = in_proportion(&[part(1.0, 0, 5), part(bad, 0, 5)], 4).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "the weight {bad} of share 1 must be a finite number of at least 0: divide by no sum or maximum that can be 0"
                )
            );
        }
        assert_eq!(in_proportion(&[part(0.0, 0, 5), part(f64::MIN_POSITIVE, 0, 5)], 4).unwrap(), [0, 4]);
        assert_eq!(in_proportion(&[part(f64::MAX, 0, 5), part(f64::MAX, 0, 5)], 4).unwrap(), [2, 2]);
        assert!(in_proportion(&[part(1.0, 3, 2), part(1.0, 0, 5)], 4).is_err());
    }
}
