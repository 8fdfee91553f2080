//! Element scores to unit scores: [`reduce`].

use crate::mask::Bits;
use crate::score::check_finite;
use crate::score::reduction::{NormOrder, Reduction};
use crate::score::{Granularity, MatrixLayout, NonFinite, Order};
use pulp::{Arch, NullaryFnOnce};

/// One score for each unit of `granularity`, from the scores of its elements in memory order.
///
/// Elements that are not in `alive` count as zero. Sums are taken in f64 and in one order, so every machine gets the same
/// units.
#[must_use]
pub fn reduce(
    granularity: Granularity,
    layout: &MatrixLayout,
    scores: &[f32],
    order: Order,
    alive: Option<&Bits>,
    reduction: Reduction,
) -> Vec<f32> {
    let elements = Elements { granularity, layout, scores, order, alive };
    let units = elements.sums(reduction).unwrap_or_else(|| match reduction {
        Reduction::Norm(NormOrder(p)) => elements.norms(p),
        _ => elements.maxima(f64::NEG_INFINITY, order),
    });
    finish(granularity, layout, units, reduction)
}

/// The same for scores that may not be finite, which the units would hide: they saturate.
///
/// # Errors
/// The first NaN or infinite score, of an element that is alive or not.
pub(crate) fn reduce_finite(
    granularity: Granularity,
    layout: &MatrixLayout,
    scores: &[f32],
    order: Order,
    alive: Option<&Bits>,
    reduction: Reduction,
) -> Result<Vec<f32>, NonFinite> {
    // A sum of f32 values or of their squares is finite in f64 exactly if each of them is: then the scores need no look
    // of their own.
    if alive.is_none() {
        let elements = Elements { granularity, layout, scores, order, alive };
        if let Some(sums) = elements.sums(reduction).filter(|sums| sums.iter().all(|sum| sum.is_finite())) {
            return Ok(finish(granularity, layout, sums, reduction));
        }
    }
    check_finite(scores)?;
    Ok(reduce(granularity, layout, scores, order, alive, reduction))
}

fn finish(granularity: Granularity, layout: &MatrixLayout, mut units: Vec<f64>, reduction: Reduction) -> Vec<f32> {
    match reduction {
        Reduction::Mean => {
            let mut sizes = vec![0.0; units.len()];
            for band in granularity.bands(layout) {
                band.segments().for_each(|(unit, segment)| sizes[unit] += (band.lines * segment.len()) as f64);
            }
            units.iter_mut().zip(sizes).for_each(|(sum, size)| *sum /= f64::max(size, 1.0));
        }
        Reduction::Norm(NormOrder::L2) => units.iter_mut().for_each(|sum| *sum = sum.sqrt()),
        _ => {}
    }
    // f32 holds every mean and maximum; a sum or norm beyond it still ranks highest.
    units.into_iter().map(|v| v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32).collect()
}

/// What is reduced.
#[derive(Clone, Copy)]
struct Elements<'a> {
    granularity: Granularity,
    layout: &'a MatrixLayout,
    scores: &'a [f32],
    order: Order,
    alive: Option<&'a Bits>,
}

impl Elements<'_> {
    /// The sums that a reduction starts with, if it does: of values or of powers.
    fn sums(self, reduction: Reduction) -> Option<Vec<f64>> {
        let absolute = || self.fold(0.0, |v| f64::from(v.abs()), |sum, v| sum + v);
        match (reduction, self.order) {
            (Reduction::Sum | Reduction::Mean, Order::Value) => Some(self.fold(0.0, f64::from, |sum, v| sum + v)),
            (Reduction::Sum | Reduction::Mean, Order::Absolute) | (Reduction::Norm(NormOrder::L1), _) => {
                Some(absolute())
            }
            (Reduction::Norm(NormOrder::L2), _) => {
                Some(self.fold(0.0, |v| f64::from(v) * f64::from(v), |sum, v| sum + v))
            }
            _ => None,
        }
    }

    fn maxima(self, start: f64, order: Order) -> Vec<f64> {
        // Which of 0 and -0 wins must not depend on the machine.
        let max = |max, v| if v > max { v } else { max };
        match order {
            Order::Value => self.fold(start, f64::from, max),
            Order::Absolute => self.fold(start, |v| f64::from(v.abs()), max),
        }
    }

    fn norms(self, p: f64) -> Vec<f64> {
        let largest = self.maxima(0.0, Order::Absolute);
        if p.is_infinite() {
            return largest;
        }
        // Powers are taken of scores relative to the largest, which neither overflow nor vanish.
        let mut sums = vec![0.0; largest.len()];
        let mut masked = Vec::new();
        for band in self.granularity.bands(self.layout) {
            for (start, (unit, segment)) in band.starts().flat_map(|start| band.segments().map(move |s| (start, s))) {
                let values = self.values(start + segment.start, segment.len(), &mut masked);
                let powers = values.iter().filter(|v| **v != 0.0).map(|v| (f64::from(v.abs()) / largest[unit]).powf(p));
                sums[unit] = powers.fold(sums[unit], |sum, v| sum + v);
            }
        }
        sums.iter().zip(largest).map(|(sum, max)| max * sum.powf(p.recip())).collect()
    }

    /// The scores from a memory index on, with zeros where nothing is alive; `masked` is for them.
    #[inline(always)]
    fn values<'s>(&'s self, start: usize, len: usize, masked: &'s mut Vec<f32>) -> &'s [f32] {
        let scores = &self.scores[start..start + len];
        let Some(alive) = self.alive else { return scores };
        masked.clear();
        for (w, chunk) in scores.chunks(64).enumerate() {
            let word = alive.word_at(start + 64 * w);
            masked.extend(chunk.iter().enumerate().map(|(i, &v)| if word >> i & 1 == 1 { v } else { 0.0 }));
        }
        masked
    }

    fn fold(self, start: f64, term: impl Fn(f32) -> f64, combine: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        Arch::new().dispatch(Fold { elements: self, start, term, combine })
    }
}

/// One pass over the scores, straight through memory.
struct Fold<'a, T, C> {
    elements: Elements<'a>,
    start: f64,
    term: T,
    combine: C,
}

impl<T: Fn(f32) -> f64, C: Fn(f64, f64) -> f64> NullaryFnOnce for Fold<'_, T, C> {
    type Output = Vec<f64>;

    // A closure as long as this would be compiled as a function of its own, without the SIMD level that is dispatched
    // to.
    #[inline(always)]
    fn call(self) -> Vec<f64> {
        let Self { elements, start, term, combine } = self;
        let mut units = vec![start; elements.granularity.units(elements.layout)];
        let (mut line, mut masked) = (Vec::new(), Vec::new());
        for band in elements.granularity.bands(elements.layout) {
            if band.lines == 1 {
                for (unit, segment) in band.segments() {
                    let values = elements.values(band.start + segment.start, segment.len(), &mut masked);
                    units[unit] = combine(units[unit], fold_of(values, start, &term, &combine));
                }
                continue;
            }
            // Places of the lines first, which needs no look at where units end.
            line.clear();
            line.resize(band.len, start);
            for at in band.starts() {
                let values = elements.values(at, band.len, &mut masked);
                line.iter_mut().zip(values).for_each(|(place, &v)| *place = combine(*place, term(v)));
            }
            for (unit, segment) in band.segments() {
                units[unit] = line[segment].iter().fold(units[unit], |unit, &v| combine(unit, v));
            }
        }
        units
    }
}

/// Sixteen partial results, which is both faster and more exact than one.
#[inline(always)]
fn fold_of(values: &[f32], start: f64, term: impl Fn(f32) -> f64, combine: impl Fn(f64, f64) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<16>();
    let rest = rest.iter().fold(start, |all, &v| combine(all, term(v)));
    if chunks.is_empty() {
        return rest;
    }
    let mut lanes = [start; 16];
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = combine(lanes[i], term(chunk[i]));
        }
    }
    combine(lanes.into_iter().fold(start, &combine), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Axis;

    const ALL: [Reduction; 7] = [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Max,
        Reduction::Norm(NormOrder(1.0)),
        Reduction::Norm(NormOrder(2.0)),
        Reduction::Norm(NormOrder(0.5)),
        Reduction::Norm(NormOrder(f64::INFINITY)),
    ];

    fn naive(values: &[f64], reduction: Reduction) -> f64 {
        let powers = |p: f64| values.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p);
        match reduction {
            Reduction::Sum => values.iter().sum(),
            Reduction::Mean => values.iter().sum::<f64>() / values.len() as f64,
            Reduction::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduction::Norm(NormOrder(p)) if p.is_infinite() => values.iter().fold(0.0, |m, v| m.max(v.abs())),
            Reduction::Norm(NormOrder(p)) => powers(p),
        }
    }

    #[test]
    fn every_reduction_matches_its_formula_on_every_granularity_and_layout() {
        let granularities = [
            Granularity::CHANNEL,
            Granularity::Channel { axis: Axis::Input },
            Granularity::Block { rows: 2, cols: 4 },
            Granularity::Block { rows: 1, cols: 70 },
            Granularity::Element,
        ];
        for layout in [
            MatrixLayout::row_major(5, 36),
            MatrixLayout::row_major(3, 150),
            MatrixLayout::column_major(7, 6),
            MatrixLayout::column_major(90, 3),
            MatrixLayout::new(3, 5, 4, 4),
            MatrixLayout::new(3, 5, 6, 3),
        ] {
            let scores: Vec<f32> = (0..layout.len()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
            let some = Bits::from_bools(&(0..layout.len()).map(|i| i % 3 != 0).collect::<Vec<_>>());
            for (granularity, reduction) in granularities.iter().flat_map(|g| ALL.map(|r| (*g, r))) {
                for (order, alive) in [(Order::Value, None), (Order::Absolute, None), (Order::Value, Some(&some))] {
                    let mut members = vec![Vec::new(); granularity.units(&layout)];
                    for (flat, &score) in scores.iter().enumerate() {
                        let (row, col) = layout.position(flat);
                        let raw = if order == Order::Absolute { score.abs() } else { score };
                        let value = if alive.is_none_or(|a| a.get(flat)) { f64::from(raw) } else { 0.0 };
                        members[granularity.unit(&layout, row, col)].push(value);
                    }
                    let units = reduce(granularity, &layout, &scores, order, alive, reduction);
                    for (unit, values) in units.iter().zip(&members) {
                        let expected = naive(values, reduction);
                        assert!(
                            (f64::from(*unit) - expected).abs() <= 1e-5 * (1.0 + expected.abs()),
                            "{granularity} {reduction:?} {order:?}: {unit} for {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_score_that_is_not_finite_is_named_even_if_the_sum_hides_it() {
        let mut scores = vec![f32::MAX; 60];
        (scores[33], scores[34], scores[50]) = (f32::INFINITY, f32::NEG_INFINITY, f32::NAN);
        for layout in [MatrixLayout::row_major(3, 20), MatrixLayout::column_major(3, 20)] {
            for (granularity, reduction) in [Granularity::CHANNEL, Granularity::Block { rows: 2, cols: 4 }]
                .iter()
                .flat_map(|g| ALL.map(|r| (*g, r)))
            {
                let units = |scores: &[f32]| reduce_finite(granularity, &layout, scores, Order::Value, None, reduction);
                assert_eq!(units(&scores).unwrap_err().index, 33, "{granularity} {reduction:?}");
                let finite = [f32::MAX; 60];
                let saturated = reduce(granularity, &layout, &finite, Order::Value, None, reduction);
                assert_eq!(units(&finite).unwrap(), saturated, "{granularity} {reduction:?}");
            }
        }
    }

    #[test]
    fn extreme_scores_saturate_instead_of_overflowing() {
        let layout = MatrixLayout::row_major(2, 2);
        let scores = [f32::MAX, f32::MAX, 1e-30, 1e-30];
        for reduction in ALL.into_iter().chain([Reduction::norm(40.0).unwrap()]) {
            let units = reduce(Granularity::CHANNEL, &layout, &scores, Order::Absolute, None, reduction);
            assert!(units.iter().all(|v| v.is_finite()) && units[0] > units[1] && units[1] > 0.0, "{reduction:?}");
        }
    }
}
