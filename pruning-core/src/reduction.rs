//! How the scores of the elements of a unit become one score: [`Reduction`].

use crate::select::check_finite;
use crate::{Bits, Granularity, MatrixLayout, NonFinite, Order};
use pulp::{Arch, NullaryFnOnce};
use serde::{Deserialize, Serialize};

/// How the scores of the elements of a unit become the score of the unit.
///
/// In a recipe: `"sum"`, `"mean"`, `"max"`, `"l1"`, `"l2"`, or `{ norm = p }` with any `p > 0`, `inf` included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReductionForm", into = "ReductionForm")]
pub enum Reduction {
    /// The sum: a larger unit weighs more.
    #[default]
    Sum,
    /// The mean, which compares units of different sizes.
    Mean,
    /// The largest.
    Max,
    /// The p-norm.
    Norm(NormOrder),
}

/// The order `p` of a norm, `0 < p <= inf`; in a recipe a number or `inf`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "OrderForm", into = "OrderForm")]
pub struct NormOrder(f64);

impl NormOrder {
    /// The sum of absolute values.
    pub const L1: Self = Self(1.0);
    /// The Euclidean norm.
    pub const L2: Self = Self(2.0);
    /// The largest absolute value.
    pub const INFINITY: Self = Self(f64::INFINITY);

    /// Checks the range.
    ///
    /// # Errors
    /// `p` is NaN or not above 0.
    pub fn new(p: f64) -> Result<Self, ReductionError> {
        if p > 0.0 { Ok(Self(p)) } else { Err(ReductionError::Order { p }) }
    }

    /// The order.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

// JSON has no infinity, so this one goes by name.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a norm order: a number above 0, or inf")]
enum OrderForm {
    Number(f64),
    Text(String),
}

impl TryFrom<OrderForm> for NormOrder {
    type Error = ReductionError;

    fn try_from(form: OrderForm) -> Result<Self, ReductionError> {
        match form {
            OrderForm::Number(p) => Self::new(p),
            OrderForm::Text(text) => match text.parse() {
                Ok(p) => Self::new(p),
                Err(_) => Err(ReductionError::Unknown { text }),
            },
        }
    }
}

impl From<NormOrder> for OrderForm {
    fn from(order: NormOrder) -> Self {
        if order.0.is_finite() { Self::Number(order.0) } else { Self::Text("inf".to_string()) }
    }
}

/// A number or text that makes no reduction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReductionError {
    /// No order of a norm.
    #[error("norm order {p} must be above 0; inf is allowed")]
    Order {
        /// The order.
        p: f64,
    },
    /// Unknown text.
    #[error("unknown reduction {text:?}: use \"sum\", \"mean\", \"max\", \"l1\", \"l2\" or {{ norm = p }}")]
    Unknown {
        /// The text.
        text: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"sum\", \"mean\", \"max\", \"l1\", \"l2\" or { norm = p }")]
enum ReductionForm {
    Text(String),
    Norm(NormTable),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NormTable {
    norm: NormOrder,
}

impl Reduction {
    /// The p-norm.
    ///
    /// # Errors
    /// `p` is NaN or not above 0.
    pub fn norm(p: f64) -> Result<Self, ReductionError> {
        NormOrder::new(p).map(Self::Norm)
    }
}

impl TryFrom<ReductionForm> for Reduction {
    type Error = ReductionError;

    fn try_from(form: ReductionForm) -> Result<Self, ReductionError> {
        match form {
            ReductionForm::Norm(NormTable { norm }) => Ok(Self::Norm(norm)),
            ReductionForm::Text(text) => match text.as_str() {
                "sum" => Ok(Self::Sum),
                "mean" => Ok(Self::Mean),
                "max" => Ok(Self::Max),
                "l1" => Self::norm(1.0),
                "l2" => Self::norm(2.0),
                "linf" => Self::norm(f64::INFINITY),
                _ => Err(ReductionError::Unknown { text }),
            },
        }
    }
}

impl From<Reduction> for ReductionForm {
    fn from(reduction: Reduction) -> Self {
        let text = match reduction {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::Max => "max",
            Reduction::Norm(norm) => return Self::Norm(NormTable { norm }),
        };
        Self::Text(text.to_string())
    }
}

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
    let units = row_sums(granularity, layout, scores, order, alive, reduction)
        .unwrap_or_else(|| general(granularity, layout, scores, order, alive, reduction));
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
    match row_sums(granularity, layout, scores, order, alive, reduction) {
        Some(sums) if sums.iter().all(|sum| sum.is_finite()) => Ok(finish(granularity, layout, sums, reduction)),
        _ => {
            check_finite(scores)?;
            Ok(reduce(granularity, layout, scores, order, alive, reduction))
        }
    }
}

fn finish(granularity: Granularity, layout: &MatrixLayout, units: Vec<f64>, reduction: Reduction) -> Vec<f32> {
    let sizes = || unit_sizes(granularity, layout);
    let finished: Vec<f64> = match reduction {
        Reduction::Mean => units.iter().zip(sizes()).map(|(sum, n)| sum / f64::from(n.max(1))).collect(),
        Reduction::Norm(NormOrder(2.0)) => units.into_iter().map(f64::sqrt).collect(),
        _ => units,
    };
    // f32 holds every mean and maximum; a sum or norm beyond it still ranks highest.
    finished.into_iter().map(|v| v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32).collect()
}

/// What is summed: the fast path knows the first three.
#[derive(Clone, Copy)]
enum Powers {
    Value,
    Absolute,
    Square,
    Other,
}

impl Powers {
    fn of(reduction: Reduction, order: Order) -> Self {
        match (reduction, order) {
            (Reduction::Norm(NormOrder(2.0)), _) => Self::Square,
            (Reduction::Norm(NormOrder(1.0)), _) | (Reduction::Sum | Reduction::Mean, Order::Absolute) => {
                Self::Absolute
            }
            (Reduction::Sum | Reduction::Mean, Order::Value) => Self::Value,
            _ => Self::Other,
        }
    }
}

/// Sums over the rows, straight through memory, if that is what is asked for.
fn row_sums(
    granularity: Granularity,
    layout: &MatrixLayout,
    scores: &[f32],
    order: Order,
    alive: Option<&Bits>,
    reduction: Reduction,
) -> Option<Vec<f64>> {
    if alive.is_some() || granularity != Granularity::CHANNEL {
        return None;
    }
    let arch = Arch::new();
    match Powers::of(reduction, order) {
        Powers::Square => Some(arch.dispatch(RowSums { layout, scores, term: |v| f64::from(v) * f64::from(v) })),
        Powers::Absolute => Some(arch.dispatch(RowSums { layout, scores, term: |v: f32| f64::from(v.abs()) })),
        Powers::Value => Some(arch.dispatch(RowSums { layout, scores, term: f64::from })),
        Powers::Other => None,
    }
}

struct RowSums<'a, T> {
    layout: &'a MatrixLayout,
    scores: &'a [f32],
    term: T,
}

impl<T: Fn(f32) -> f64> NullaryFnOnce for RowSums<'_, T> {
    type Output = Vec<f64>;

    // A closure as long as this would be compiled as a function of its own, without the SIMD level that is dispatched
    // to.
    #[inline(always)]
    fn call(self) -> Vec<f64> {
        let Self { layout, scores, term } = self;
        let mut sums = vec![0.0; layout.rows()];
        for plane in scores.chunks_exact((layout.rows() * layout.inner()).max(1)) {
            if layout.inner() == 1 {
                sums.iter_mut().zip(plane).for_each(|(sum, &v)| *sum += term(v));
            } else {
                for (sum, run) in sums.iter_mut().zip(plane.chunks_exact(layout.inner())) {
                    *sum += sum_of(run, &term);
                }
            }
        }
        sums
    }
}

/// Sixteen partial sums, which is both faster and more exact than one.
#[inline(always)]
fn sum_of(run: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let mut lanes = [0.0f64; 16];
    let (chunks, rest) = run.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] += term(chunk[i]);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&v| term(v)).sum::<f64>()
}

fn general(
    granularity: Granularity,
    layout: &MatrixLayout,
    scores: &[f32],
    order: Order,
    alive: Option<&Bits>,
    reduction: Reduction,
) -> Vec<f64> {
    let score = |flat: usize| match order {
        _ if alive.is_some_and(|alive| !alive.get(flat)) => 0.0,
        Order::Value => f64::from(scores[flat]),
        Order::Absolute => f64::from(scores[flat].abs()),
    };
    let pass = |start: f64, f: &dyn Fn(usize, f64, f64) -> f64| {
        let mut units = vec![start; granularity.units(layout)];
        layout.for_each_run(|flat, row, col| {
            for i in 0..layout.inner() {
                let unit = granularity.unit(layout, row, col + i);
                units[unit] = f(unit, units[unit], score(flat + i));
            }
        });
        units
    };
    match reduction {
        Reduction::Sum | Reduction::Mean => pass(0.0, &|_, sum, v| sum + v),
        Reduction::Max => pass(f64::NEG_INFINITY, &|_, max, v| max.max(v)),
        Reduction::Norm(NormOrder(1.0)) => pass(0.0, &|_, sum, v| sum + v.abs()),
        Reduction::Norm(NormOrder(2.0)) => pass(0.0, &|_, sum, v| sum + v * v),
        Reduction::Norm(NormOrder(p)) => {
            let largest = pass(0.0, &|_, max, v| max.max(v.abs()));
            if p.is_infinite() {
                return largest;
            }
            // Powers are taken of scores relative to the largest, which neither overflow nor vanish.
            let sums = pass(0.0, &|unit, sum, v| sum + if v == 0.0 { 0.0 } else { (v.abs() / largest[unit]).powf(p) });
            sums.iter().zip(largest).map(|(sum, max)| max * sum.powf(p.recip())).collect()
        }
    }
}

fn unit_sizes(granularity: Granularity, layout: &MatrixLayout) -> Vec<u32> {
    let mut sizes = vec![0; granularity.units(layout)];
    layout.for_each_run(|_, row, col| {
        for i in 0..layout.inner() {
            sizes[granularity.unit(layout, row, col + i)] += 1;
        }
    });
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Axis;

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
            Granularity::Element,
        ];
        for layout in [MatrixLayout::row_major(5, 36), MatrixLayout::column_major(7, 6), MatrixLayout::new(3, 5, 4, 4)]
        {
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

    #[test]
    fn forms_round_trip_and_bad_ones_are_refused() {
        for reduction in ALL {
            let text = serde_json::to_string(&reduction).unwrap();
            assert_eq!(serde_json::from_str::<Reduction>(&text).unwrap(), reduction);
        }
        for text in [r#""l3""#, r#"{"norm":0}"#, r#"{"norm":-1}"#, r#"{"norm":2,"x":1}"#] {
            assert!(serde_json::from_str::<Reduction>(text).is_err(), "{text}");
        }
    }
}
