//! Reduces element scores to unit scores: [`Units::reduce`].

use crate::mask::Bits;
use crate::score::reduction::{NormOrder, Reduction};
use crate::score::units::{Part, Units};
use crate::score::{NonFinite, Order, check_finite};
use pulp::{Arch, NullaryFnOnce};

impl<'a> Units<'a> {
    /// Computes one score for each unit from the scores of its elements.
    ///
    /// Elements that are not alive count as zero. Sums are taken in f64 and in one order, so that every machine gets the same scores.
    ///
    /// # Errors
    /// A score is NaN or infinite, even that of an element that is not alive: a unit score saturates and would hide it.
    pub fn reduce(&self, reduction: Reduction, order: Order) -> Result<Vec<f32>, NonFinite> {
        self.reduced(reduction, order).map_err(|(_, source)| source)
    }

    /// Reduces like [`reduce`](Self::reduce); an error comes with its parameter, if the candidate is named after another one.
    pub(crate) fn reduced(&self, reduction: Reduction, order: Order) -> Result<Vec<f32>, (Option<&'a str>, NonFinite)> {
        let elements = Elements { units: self, order, exact: false };
        // A sum of f32 values or of their squares is finite in f64 exactly if each of them is: then the scores need no look
        // of their own.
        let seen = self.parts().iter().all(|part| part.elements.alive.is_none() && part.is_covered());
        let sums = if seen { elements.sums(reduction) } else { None };
        let units = match sums.filter(|sums| sums.iter().all(|sum| sum.is_finite())) {
            Some(sums) => sums,
            None => {
                for part in self.parts() {
                    check_finite(part.elements.values).map_err(|source| (part.path, source))?;
                }
                elements.reduce(reduction)
            }
        };
        // f32 holds every mean and maximum; a sum or norm beyond it still ranks highest.
        let single = |v: f64| v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        Ok(elements.finish(units, reduction).map(single).collect())
    }

    /// Reduces finite scores in double precision; a parameter without exact scores contributes its single-precision ones.
    pub(crate) fn reduced_exactly(&self, reduction: Reduction, order: Order) -> Vec<f64> {
        let elements = Elements { units: self, order, exact: true };
        elements.finish(elements.reduce(reduction), reduction).map(|v| v.clamp(f64::MIN, f64::MAX)).collect()
    }
}

/// What is reduced, and in which precision.
#[derive(Clone, Copy)]
struct Elements<'a> {
    units: &'a Units<'a>,
    order: Order,
    exact: bool,
}

/// One pass over the scores: what is taken of each, and what becomes of those of a unit.
#[derive(Clone, Copy)]
enum Pass<'a> {
    Sum(Order),
    Squares,
    Largest(Order),
    /// The number of what is not zero.
    Nonzero,
    /// The sum of the powers of what they are to the largest of their unit, which neither overflow nor vanish.
    Powers(f64, &'a [f64]),
}

impl Elements<'_> {
    /// The sums that a reduction starts with, if it does: of values or of squares.
    fn sums(self, reduction: Reduction) -> Option<Vec<f64>> {
        match reduction {
            Reduction::Sum | Reduction::Mean => Some(self.run(0.0, Pass::Sum(self.order))),
            Reduction::Norm(NormOrder::L1) => Some(self.run(0.0, Pass::Sum(Order::Absolute))),
            // The square of a double may be more than a double holds.
            Reduction::Norm(NormOrder::L2) if !self.exact => Some(self.run(0.0, Pass::Squares)),
            _ => None,
        }
    }

    fn reduce(self, reduction: Reduction) -> Vec<f64> {
        self.sums(reduction).unwrap_or_else(|| match reduction {
            Reduction::Norm(NormOrder(p)) => self.norms(p),
            _ => self.run(f64::NEG_INFINITY, Pass::Largest(self.order)),
        })
    }

    fn norms(self, p: f64) -> Vec<f64> {
        if p == 0.0 {
            return self.run(0.0, Pass::Nonzero);
        }
        let largest = self.run(0.0, Pass::Largest(Order::Absolute));
        if p.is_infinite() {
            return largest;
        }
        let sums = self.run(0.0, Pass::Powers(p, &largest));
        sums.iter().zip(largest).map(|(sum, max)| max * sum.powf(p.recip())).collect()
    }

    fn finish(self, mut units: Vec<f64>, reduction: Reduction) -> impl Iterator<Item = f64> {
        match reduction {
            Reduction::Mean => {
                let mut sizes = vec![0.0; units.len()];
                for band in self.units.parts().iter().flat_map(Part::bands) {
                    band.segments().for_each(|(unit, segment)| sizes[unit] += (band.lines * segment.len()) as f64);
                }
                units.iter_mut().zip(sizes).for_each(|(sum, size)| *sum /= f64::max(size, 1.0));
            }
            Reduction::Norm(NormOrder::L2) if !self.exact => units.iter_mut().for_each(|sum| *sum = sum.sqrt()),
            _ => {}
        }
        units.into_iter()
    }

    fn run(self, start: f64, pass: Pass<'_>) -> Vec<f64> {
        let mut units = vec![start; self.units.len()];
        for part in self.units.parts() {
            match part.elements.exact.filter(|_| self.exact) {
                Some(exact) => part.run(exact, start, pass, &mut units),
                None => part.run(part.elements.values, start, pass, &mut units),
            }
        }
        units
    }
}

/// A score in single or double precision.
trait Number: Copy {
    const ZERO: Self;

    fn wide(self) -> f64;

    fn magnitude(self) -> f64;
}

impl Number for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn magnitude(self) -> f64 {
        f64::from(self.abs())
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn magnitude(self) -> f64 {
        self.abs()
    }
}

impl Part<'_> {
    fn run<T: Number>(&self, scores: &[T], start: f64, pass: Pass<'_>, units: &mut [f64]) {
        let add = |sum: f64, v: f64| sum + v;
        // Which of 0 and -0 wins must not depend on the machine.
        let max = |max: f64, v: f64| if v > max { v } else { max };
        match pass {
            Pass::Sum(Order::Value) => self.fold(scores, start, T::wide, add, units),
            Pass::Sum(Order::Absolute) => self.fold(scores, start, T::magnitude, add, units),
            Pass::Squares => self.fold(scores, start, |v| v.wide() * v.wide(), add, units),
            Pass::Largest(Order::Value) => self.fold(scores, start, T::wide, max, units),
            Pass::Largest(Order::Absolute) => self.fold(scores, start, T::magnitude, max, units),
            Pass::Nonzero => self.fold(scores, start, |v| f64::from(u8::from(v.wide() != 0.0)), add, units),
            Pass::Powers(p, largest) => {
                let mut masked = Vec::new();
                for band in self.bands() {
                    for (at, (unit, places)) in band.starts().flat_map(|at| band.segments().map(move |s| (at, s))) {
                        let values = values(scores, self.elements.alive, at + places.start, places.len(), &mut masked);
                        let powers = values.iter().map(|v| v.magnitude()).filter(|v| *v != 0.0);
                        units[unit] = powers.fold(units[unit], |sum, v| sum + (v / largest[unit]).powf(p));
                    }
                }
            }
        }
    }

    fn fold<T: Number>(
        &self,
        scores: &[T],
        start: f64,
        term: impl Fn(T) -> f64,
        combine: impl Fn(f64, f64) -> f64,
        units: &mut [f64],
    ) {
        Arch::new().dispatch(Fold { part: self, scores, start, term, combine, units });
    }
}

/// The scores from a memory index on, with zeros where nothing is alive; `masked` is for them.
#[inline(always)]
fn values<'s, T: Number>(
    scores: &'s [T],
    alive: Option<&Bits>,
    start: usize,
    len: usize,
    masked: &'s mut Vec<T>,
) -> &'s [T] {
    let scores = &scores[start..start + len];
    let Some(alive) = alive else { return scores };
    masked.clear();
    for (w, chunk) in scores.chunks(64).enumerate() {
        let word = alive.word_at(start + 64 * w);
        masked.extend(chunk.iter().enumerate().map(|(i, &v)| if word >> i & 1 == 1 { v } else { T::ZERO }));
    }
    masked
}

/// One pass over the scores of a parameter, straight through memory.
struct Fold<'a, S, T, C> {
    part: &'a Part<'a>,
    scores: &'a [S],
    start: f64,
    term: T,
    combine: C,
    units: &'a mut [f64],
}

impl<S: Number, T: Fn(S) -> f64, C: Fn(f64, f64) -> f64> NullaryFnOnce for Fold<'_, S, T, C> {
    type Output = ();

    // A closure as long as this would be compiled as a function of its own, without the SIMD level that is dispatched
    // to.
    #[inline(always)]
    fn call(self) {
        let Self { part, scores, start, term, combine, units } = self;
        let alive = part.elements.alive;
        let (mut line, mut masked) = (Vec::new(), Vec::new());
        for band in part.bands() {
            if band.lines == 1 {
                for (unit, segment) in band.segments() {
                    let values = values(scores, alive, band.start + segment.start, segment.len(), &mut masked);
                    units[unit] = combine(units[unit], fold_of(values, start, &term, &combine));
                }
                continue;
            }
            // Places of the lines first, which needs no look at where units end.
            line.clear();
            line.resize(band.len, start);
            for at in band.starts() {
                let values = values(scores, alive, at, band.len, &mut masked);
                line.iter_mut().zip(values).for_each(|(place, &v)| *place = combine(*place, term(v)));
            }
            for (unit, segment) in band.segments() {
                units[unit] = line[segment].iter().fold(units[unit], |unit, &v| combine(unit, v));
            }
        }
    }
}

/// Sixteen partial results, which is both faster and more exact than one.
#[inline(always)]
fn fold_of<T: Number>(values: &[T], start: f64, term: impl Fn(T) -> f64, combine: impl Fn(f64, f64) -> f64) -> f64 {
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
    use crate::score::{Axis, ElementScores, Granularity, MatrixLayout};

    const ALL: [Reduction; 8] = [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Max,
        Reduction::Norm(NormOrder(1.0)),
        Reduction::Norm(NormOrder(2.0)),
        Reduction::Norm(NormOrder(0.5)),
        Reduction::Norm(NormOrder(f64::INFINITY)),
        COUNT,
    ];

    const COUNT: Reduction = Reduction::Norm(NormOrder::ZERO);

    fn reduce(
        granularity: Granularity,
        layout: MatrixLayout,
        scores: &[f32],
        (order, reduction): (Order, Reduction),
        alive: Option<&Bits>,
    ) -> Result<Vec<f32>, NonFinite> {
        Units::of(granularity, layout, ElementScores::new(scores).with_alive(alive)).reduce(reduction, order)
    }

    fn naive(values: &[f64], reduction: Reduction) -> f64 {
        let powers = |p: f64| values.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p);
        match reduction {
            Reduction::Sum => values.iter().sum(),
            Reduction::Mean => values.iter().sum::<f64>() / values.len() as f64,
            Reduction::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            COUNT => values.iter().filter(|v| **v != 0.0).count() as f64,
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
                    let units = reduce(granularity, layout, &scores, (order, reduction), alive).unwrap();
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
                let units = |scores: &[f32]| reduce(granularity, layout, scores, (Order::Value, reduction), None);
                assert_eq!(units(&scores).unwrap_err().index, 33, "{granularity} {reduction:?}");
                let finite = units(&[f32::MAX; 60]).unwrap();
                let most = |v: f32| if reduction == COUNT { v >= 1.0 } else { v == f32::MAX };
                assert!(finite.iter().all(|v| most(*v)), "{granularity} {reduction:?}");
            }
        }
    }

    #[test]
    fn extreme_scores_saturate_instead_of_overflowing() {
        let layout = MatrixLayout::row_major(2, 2);
        let scores = [f32::MAX, f32::MAX, 1e-30, 1e-30];
        for reduction in ALL.into_iter().filter(|r| *r != COUNT).chain([Reduction::norm(40.0).unwrap()]) {
            let units = reduce(Granularity::CHANNEL, layout, &scores, (Order::Absolute, reduction), None).unwrap();
            assert!(units.iter().all(|v| v.is_finite()) && units[0] > units[1] && units[1] > 0.0, "{reduction:?}");
        }
    }
}
