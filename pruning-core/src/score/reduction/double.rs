//! Unit scores in double precision: [`reduce_double`].

use crate::mask::Bits;
use crate::score::reduction::{NormOrder, Reduction};
use crate::score::{Granularity, MatrixLayout, Order};

/// As [`reduce`](super::reduce()), from doubles to doubles: for the few models that have them, one element after the other.
pub(crate) fn reduce_double(
    granularity: Granularity,
    layout: &MatrixLayout,
    scores: &[f64],
    order: Order,
    alive: Option<&Bits>,
    reduction: Reduction,
) -> Vec<f64> {
    let count = granularity.units(layout);
    let value = |flat: usize| match alive {
        Some(alive) if !alive.get(flat) => 0.0,
        _ if order == Order::Absolute || matches!(reduction, Reduction::Norm(_)) => scores[flat].abs(),
        _ => scores[flat],
    };
    let each = |visit: &mut dyn FnMut(usize, f64)| {
        for flat in 0..scores.len() {
            let (row, col) = layout.position(flat);
            visit(granularity.unit(layout, row, col), value(flat));
        }
    };
    let maxima = |start: f64| {
        let mut largest = vec![start; count];
        each(&mut |unit, v| largest[unit] = if v > largest[unit] { v } else { largest[unit] });
        largest
    };
    let (mut sums, mut sizes) = (vec![0.0; count], vec![0.0f64; count]);
    let mut units = match reduction {
        Reduction::Max => maxima(f64::NEG_INFINITY),
        Reduction::Norm(NormOrder(p)) => {
            // Powers are taken of scores relative to the largest, which neither overflow nor vanish.
            let largest = maxima(0.0);
            if p.is_finite() {
                each(&mut |unit, v| sums[unit] += if v == 0.0 { 0.0 } else { (v / largest[unit]).powf(p) });
                sums.iter().zip(&largest).map(|(sum, max)| max * sum.powf(p.recip())).collect()
            } else {
                largest
            }
        }
        Reduction::Sum | Reduction::Mean => {
            each(&mut |unit, v| {
                sums[unit] += v;
                sizes[unit] += 1.0;
            });
            let mean = reduction == Reduction::Mean;
            sums.iter().zip(&sizes).map(|(sum, size)| if mean { sum / size.max(1.0) } else { *sum }).collect()
        }
    };
    units.iter_mut().for_each(|v| *v = v.clamp(f64::MIN, f64::MAX));
    units
}
