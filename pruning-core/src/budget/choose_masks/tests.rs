use super::*;
use crate::budget::{Allocator, Sparsity};
use crate::score::{Axis, NormOrder, Reduction, Units};
use proptest::prelude::*;

#[derive(Debug)]
struct Even;

impl Allocator for Even {
    fn scope(&self) -> crate::budget::Scope {
        crate::budget::Scope::Layer
    }

    fn allocate(&self, layers: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
        Ok(layers.iter().map(|l| l.even).collect())
    }
}

#[derive(Debug)]
struct Highest;

impl Allocator for Highest {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let bounds: Vec<_> = layers.iter().map(|l| (l.least, l.alive())).collect();
        let scores: Vec<_> = layers.iter().map(|l| l.scores).collect();
        Ok(crate::budget::share_highest(&scores, &bounds, keep).unwrap())
    }
}

const L1: Reduction = Reduction::Norm(NormOrder::L1);

fn of<'a>(path: &'a str, granularity: Granularity, elements: ElementScores<'a>) -> Candidate<'a> {
    let layout = MatrixLayout::row_major(2, elements.values.len() / 2);
    Candidate::new(path, layout, Units::of(granularity, layout, elements)).with_ranking(Order::Absolute, L1)
}

fn candidate<'a>(path: &'a str, granularity: Granularity, scores: &'a [f32]) -> Candidate<'a> {
    of(path, granularity, ElementScores::new(scores))
}

fn rules(amount: Amount) -> ChooseRules<'static> {
    ChooseRules::new(amount).with_allocator(Some(&Even))
}

fn s(value: f64) -> Sparsity {
    Sparsity::new(value).unwrap()
}

#[test]
fn scores_that_rank_by_different_orders_share_a_budget_by_what_they_are() {
    // Single weights rank by their magnitude, channels by their norm.
    let (large, small) = ([3.0, -4.0, 5.0, -6.0], [0.1, 0.2, 0.1, -0.2]);
    let all = [candidate("a", Granularity::Element, &large), candidate("b", Granularity::CHANNEL, &small)];
    let rules = ChooseRules::new(Amount::Count(2)).with_allocator(Some(&Highest));
    let kept: Vec<_> = choose_masks(&all, &rules).unwrap().iter().map(|chosen| chosen.kept_units).collect();
    assert_eq!(kept, [3, 1]);
}

#[test]
fn own_amounts_patterns_and_the_shared_budget_go_side_by_side() {
    let scores = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0];
    let all = [
        candidate("z", Granularity::Element, &scores),
        candidate("b", Granularity::nm(1, 4).unwrap(), &scores),
        candidate("c", Granularity::Element, &scores).with_own(Some(Amount::OfTotal(s(0.25)))),
        candidate("a", Granularity::CHANNEL, &scores),
    ];
    let chosen = choose_masks(&all, &rules(Amount::OfTotal(s(0.75)))).unwrap();
    let kept: Vec<_> = chosen.iter().map(|c| c.keep.iter_ones().collect::<Vec<_>>()).collect();
    assert_eq!(kept, [vec![6, 7], vec![3, 7], vec![2, 3, 4, 5, 6, 7], vec![4, 5, 6, 7]]);
    assert_eq!(chosen.iter().map(|c| c.kept_units).collect::<Vec<_>>(), [2, 2, 6, 1]);
}

#[test]
fn a_factor_scales_a_layer_among_the_others() {
    let (a, b) = ([1.0, -2.0, 3.0, -4.0], [10.0, -20.0, 30.0, -40.0]);
    for granularity in [Granularity::Element, Granularity::CHANNEL] {
        for (factor, kept) in [(1.0, [1, 3]), (0.125, [2, 2]), (0.01, [3, 1])] {
            let all = [candidate("a", granularity, &a), candidate("b", granularity, &b).with_factor(factor)];
            let rules = rules(Amount::OfTotal(s(0.5))).with_allocator(Some(&Highest));
            let chosen = choose_masks(&all, &rules).unwrap();
            let units: Vec<_> = chosen.iter().map(|c| c.kept_units).collect();
            let expected = if granularity == Granularity::CHANNEL { [1, 1] } else { kept };
            assert_eq!(units, expected, "{granularity} {factor}");
        }
    }
}

#[test]
fn what_is_pruned_stays_pruned_at_every_granularity() {
    let scores = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0];
    let alive = Bits::from_bools(&[false, true, true, true, true, true, true, false]);
    for granularity in [Granularity::Element, Granularity::CHANNEL, Granularity::nm(2, 4).unwrap()] {
        let c = of("a", granularity, ElementScores::new(&scores).with_alive(Some(&alive)));
        let chosen = choose_masks(&[c], &rules(Amount::OfTotal(s(0.25)))).unwrap();
        assert!(chosen[0].keep.iter_ones().all(|i| alive.get(i)), "{granularity}");
    }
}

#[test]
fn exact_scores_rank_by_what_single_precision_cannot_tell() {
    let exact = [1.0, 1.0 + 3e-12, -1.0 - 2e-12, 1.0 + 1e-12, 5.0, 1.0 - 1e-12, 1.0 + 4e-12, 2.0];
    let scores = exact.map(|v| v as f32);
    let half = rules(Amount::OfTotal(s(0.5)));
    let kept = |granularity, exact: Option<&[f64]>| {
        let c = of("a", granularity, ElementScores::new(&scores).with_exact(exact));
        choose_masks(&[c], &half).unwrap()[0].keep.iter_ones().collect::<Vec<_>>()
    };
    assert_eq!(kept(Granularity::Element, Some(&exact)), [1, 4, 6, 7]);
    assert_eq!(kept(Granularity::Element, None), [0, 1, 4, 7], "ties go to the lower index");
    assert_eq!(kept(Granularity::nm(2, 4).unwrap(), Some(&exact)), [1, 2, 4, 7]);
    // Columns, by their sums.
    let input = Granularity::Channel { axis: Axis::Input };
    assert_eq!(kept(input, Some(&exact)), [0, 3, 4, 7], "5 + 1 and 2 + 1 + 1e-12");
    // Among layers, one of them in single precision.
    let other = [1.0, 1.0, 3.0, 4.0];
    let all = [
        of("b", Granularity::Element, ElementScores::new(&scores).with_exact(Some(&exact))),
        candidate("a", Granularity::Element, &other),
    ];
    let chosen = choose_masks(&all, &half.with_allocator(Some(&Highest))).unwrap();
    let kept: Vec<Vec<usize>> = chosen.iter().map(|c| c.keep.iter_ones().collect()).collect();
    assert_eq!(kept, [vec![1, 4, 6, 7], vec![2, 3]]);
    let mut bad = exact;
    bad[3] = f64::NAN;
    let scores = bad.map(|v| v as f32);
    let bad = of("a", Granularity::Element, ElementScores::new(&scores).with_exact(Some(&bad)));
    let error = choose_masks(&[bad], &half).unwrap_err().to_string();
    assert!(error.starts_with("a: score NaN at index 3"), "{error}");
}

#[test]
fn a_score_that_is_not_finite_names_layer_and_index() {
    for granularity in [Granularity::Element, Granularity::CHANNEL, Granularity::nm(2, 4).unwrap()] {
        let scores = [1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0, 7.0, 8.0];
        let c = candidate("fc1.weight", granularity, &scores);
        let error = choose_masks(&[c], &rules(Amount::OfTotal(s(0.5)))).unwrap_err().to_string();
        assert!(error.starts_with("fc1.weight: score NaN at index 2 is not finite"), "{error}");
    }
}

#[test]
fn a_layer_keeps_the_least_that_it_must_or_all_it_has() {
    let most = rules(Amount::OfTotal(s(0.99)));
    for least in [1, 0, 2, 3] {
        let c = candidate("a", Granularity::Element, &[1.0, 2.0]).with_least(least);
        assert_eq!(choose_masks(&[c], &most).unwrap()[0].kept_units, least.min(2));
    }
}

/// The reductions, large and small orders of norms among them.
fn reductions() -> impl Iterator<Item = Reduction> {
    let norms = [0.5, 1.0, 2.0, 3.0, 64.0, f64::INFINITY].map(|p| Reduction::norm(p).unwrap());
    [Reduction::Sum, Reduction::Mean, Reduction::Max].into_iter().chain(norms)
}

/// The same units by granularity in the matrix view of a parameter, and as positions of one of its axes.
fn same_units() -> Vec<(Granularity, MatrixLayout, [usize; 3], usize)> {
    let head = |axis| Granularity::head(3, axis).unwrap();
    let input = Granularity::Channel { axis: Axis::Input };
    let (linear, conv, transposed) =
        (MatrixLayout::column_major(9, 6), MatrixLayout::new(1, 9, 6 * 4, 4), MatrixLayout::new(6, 9, 4, 4));
    vec![
        (Granularity::CHANNEL, linear, [6, 9, 1], 1),
        (input, linear, [1, 6, 9], 1),
        (head(Axis::Output), linear, [6, 9, 1], 3),
        (head(Axis::Input), linear, [1, 6, 9], 3),
        (Granularity::CHANNEL, conv, [1, 9, 24], 1),
        (input, conv, [9, 6, 4], 1),
        (head(Axis::Output), conv, [1, 9, 24], 3),
        (head(Axis::Input), conv, [9, 6, 4], 3),
        (Granularity::CHANNEL, transposed, [6, 9, 4], 1),
        (input, transposed, [1, 6, 36], 1),
        (head(Axis::Output), transposed, [6, 9, 4], 3),
        (head(Axis::Input), transposed, [1, 6, 36], 3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_coupled_group_of_one_part_keeps_what_its_units_keep_by_granularity(
        doubles in proptest::collection::vec(prop_oneof![-1e3f64..1e3, -1e-30f64..1e-30, (-2i32..3).prop_map(f64::from)], 6 * 9 * 4),
        bits in proptest::collection::vec(any::<bool>(), 6 * 9 * 4),
        exactly: bool,
        masked: bool,
    ) {
        for ((granularity, layout, shape, size), reduction) in
            same_units().into_iter().flat_map(|same| reductions().map(move |r| (same, r)))
        {
            let doubles = &doubles[..layout.len()];
            let singles: Vec<f32> = doubles.iter().map(|&v| v as f32).collect();
            let alive = Bits::from_bools(&bits[..layout.len()]);
            let elements = ElementScores::new(&singles)
                .with_exact(exactly.then_some(doubles))
                .with_alive(masked.then_some(&alive));
            let one = Units::of(granularity, layout, elements);
            let units: Vec<_> = (0..shape[1]).map(|position| Some(position / size)).collect();
            let group = Units::coupled(one.len()).with_part("a", elements, shape, &units, true);
            for order in [Order::Value, Order::Absolute] {
                let [one, group] =
                    [&one, &group].map(|units| Candidate::new("a", layout, units.clone()).with_ranking(order, reduction));
                let half = rules(Amount::OfTotal(s(0.5)));
                let one = choose_masks(&[one], &half).unwrap().remove(0);
                let group = choose_masks(&[group], &half).unwrap().remove(0);
                let mut expanded = granularity.expand(&layout, &group.keep);
                if masked {
                    expanded.intersect(&alive);
                }
                prop_assert_eq!(&one.keep, &expanded, "{} {:?} {:?}", granularity, shape, reduction);
                let numbers = |chosen: &Chosen| (chosen.units, chosen.kept_units, chosen.asked);
                prop_assert_eq!(numbers(&one), numbers(&group));
            }
        }
    }
}

#[test]
fn a_large_norm_of_a_coupled_group_neither_vanishes_nor_overflows() {
    // Their 64th powers are far out of the range of a double, on either side.
    for scale in [1e-20, 1e20] {
        let doubles = [3.0, 1.0, 2.0, 0.5].map(|v| v * scale);
        let singles = doubles.map(|v| v as f32);
        for exact in [None, Some(&doubles[..])] {
            let elements = ElementScores::new(&singles).with_exact(exact);
            let units = Units::coupled(2).with_part("a", elements, [2, 2, 1], &[Some(0), Some(1)], true).with_part(
                "b",
                elements,
                [1, 2, 2],
                &[Some(1), Some(0)],
                true,
            );
            let c = |units| Candidate::new("a", MatrixLayout::row_major(2, 2), units);
            let reduction = Reduction::norm(64.0).unwrap();
            let scores = units.reduce(reduction, Order::Value).unwrap();
            // The columns 3 and 2 with the row 2 and 0.5, the columns 1 and 0.5 with the row 3 and 1.
            for (score, expected) in scores.iter().zip([3.0, 3.0]) {
                assert!((f64::from(*score) / scale / expected - 1.0).abs() < 1e-6, "{scores:?}");
            }
            let chosen = choose_masks(
                &[c(units).with_ranking(Order::Value, Reduction::norm(4.0).unwrap())],
                &rules(Amount::OfTotal(s(0.5))),
            );
            assert_eq!(chosen.unwrap()[0].keep.to_bools(), [true, false], "3 and two 2 are more than 3 and two 1");
        }
    }
}

#[test]
fn parts_in_single_precision_join_exact_ones() {
    let exact = [1.0 + 1e-12, 1.0];
    let rounded = exact.map(|v| v as f32);
    let other = [2.0, 2.0];
    let units = [Some(1), Some(0)];
    let group = Units::coupled(2)
        .with_part("a", ElementScores::new(&rounded).with_exact(Some(&exact)), [1, 2, 1], &units, true)
        .with_part("b", ElementScores::new(&other), [1, 2, 1], &units, false);
    let c = Candidate::new("a", MatrixLayout::row_major(2, 1), group);
    let chosen = choose_masks(&[c], &rules(Amount::OfTotal(s(0.5)))).unwrap();
    assert_eq!(chosen[0].keep.to_bools(), [false, true]);
}

#[test]
fn a_score_that_is_not_finite_names_the_part_it_is_in() {
    let (good, bad) = ([1.0, 2.0], [1.0, f32::NAN]);
    // In a position that belongs to no unit, too.
    let group = Units::coupled(1)
        .with_part("a", ElementScores::new(&good), [1, 2, 1], &[Some(0), None], true)
        .with_part("b", ElementScores::new(&bad), [1, 2, 1], &[Some(0), None], false);
    let c = Candidate::new("a", MatrixLayout::row_major(2, 1), group);
    let error = choose_masks(&[c], &rules(Amount::OfTotal(s(0.5)))).unwrap_err().to_string();
    assert!(error.starts_with("b: score NaN at index 1 is not finite"), "{error}");
}
