//! Sharing a total in proportion to weights, within bounds: what most allocators come down to.

use pruning_core::{AllocationError, LayerUnits};

/// A layer's part in a share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Units it gets for each unit of the common factor.
    pub(crate) weight: f64,
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl Part {
    /// Bounded by what the recipe asks for and what is left.
    pub(crate) fn new(weight: f64, layer: &LayerUnits<'_>) -> Self {
        Self { weight, least: layer.least, most: layer.alive() }
    }

    fn at(&self, factor: f64) -> f64 {
        (factor * self.weight).clamp(self.least as f64, self.most as f64)
    }
}

/// Counts that add up to `keep`: each `factor * weight` within its bounds, for the one factor that gives the total; a layer that
/// is full leaves its rest to the others. Rounded down, and the units left over go to the largest remainders.
pub(crate) fn in_proportion(parts: &[Part], keep: usize) -> Result<Vec<usize>, AllocationError> {
    let (least, most) = parts.iter().fold((0, 0), |(l, m), p| (l + p.least, m + p.most));
    if !(least..=most).contains(&keep) {
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

/// The factor at which the bounded shares add up to `total`.
fn factor(parts: &[Part], total: f64) -> f64 {
    let sum = |factor: f64| parts.iter().map(|p| p.at(factor)).sum::<f64>();
    // Beyond this every layer that has a weight is full.
    let full = parts.iter().filter(|p| p.weight > 0.0).map(|p| p.most as f64 / p.weight).fold(0.0, f64::max);
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

    fn part(weight: f64, least: usize, most: usize) -> Part {
        Part { weight, least, most }
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
}
