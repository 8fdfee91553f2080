//! Ranks of numbers in double precision, which single precision holds: [`ranks`].

use crate::budget::select::Order;

/// The least number that is not subnormal; two thousand million numbers lie above it.
const FIRST: u32 = 0x0080_0000;

/// Replaces double-precision numbers by single-precision ones that order the same way, over all lists together.
///
/// The results are compared by [`Order::Value`]. Equal numbers stay equal, and different ones stay different, however close they are.
/// Numbers that are not finite stay so.
///
/// ```
/// use pruning_core::score::Order;
/// use pruning_core::budget::ranks;
/// let [a, b] = [[1.0, 1.0 + 1e-15], [-1.0 - 1e-16, 3.0]];
/// let ranked = ranks(&[&a, &b], Order::Absolute);
/// assert!(ranked[0][0] < ranked[0][1] && ranked[0][0] == ranked[1][0] && ranked[0][1] < ranked[1][1]);
/// ```
#[must_use]
pub fn ranks(lists: &[&[f64]], order: Order) -> Vec<Vec<f32>> {
    let value = |v: f64| if order == Order::Absolute { v.abs() } else { v + 0.0 };
    let mut all: Vec<(f64, usize, usize)> = Vec::with_capacity(lists.iter().map(|list| list.len()).sum());
    let mut ranked: Vec<Vec<f32>> = lists.iter().map(|list| list.iter().map(|&v| v as f32).collect()).collect();
    for (l, list) in lists.iter().enumerate() {
        let finite = list.iter().enumerate().filter(|(_, v)| v.is_finite());
        all.extend(finite.map(|(i, &v)| (value(v), l, i)));
    }
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank, mut last) = (FIRST, None);
    for (value, l, i) in all {
        if last.is_some_and(|last| last != value) {
            rank = (rank + 1).min(f32::MAX.to_bits());
        }
        last = Some(value);
        ranked[l][i] = f32::from_bits(rank);
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_order_as_the_numbers_do(a in proptest::collection::vec(-3i32..3, 1..40), b in proptest::collection::vec(-3i32..3, 1..40)) {
            // Further apart than doubles tell, nearer than singles do.
            let double = |list: &[i32]| list.iter().map(|&v| f64::from(v.signum()) + f64::from(v) * 1e-14).collect::<Vec<_>>();
            let (a, b) = (double(&a), double(&b));
            for order in [Order::Value, Order::Absolute] {
                let ranked = ranks(&[&a, &b], order).concat();
                let both = [a.clone(), b.clone()].concat();
                let key = |v: f64| if order == Order::Absolute { v.abs() } else { v };
                for (x, rx) in both.iter().zip(&ranked) {
                    for (y, ry) in both.iter().zip(&ranked) {
                        prop_assert_eq!(key(*x).partial_cmp(&key(*y)), rx.partial_cmp(ry));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let ranked = &ranks(&[&[f64::NAN, 1e300, f64::NEG_INFINITY, -0.0, 0.0]], Order::Value)[0];
        assert!(ranked[0].is_nan() && ranked[2] == f32::NEG_INFINITY && ranked[1].is_finite());
        assert!(ranked[3] == ranked[4] && ranked[3] < ranked[1]);
    }
}
