use super::*;
use crate::budget::Sparsity;
use crate::score::Units;
use proptest::prelude::*;

/// Which units stay, found the slow way: rows lose their lowest score in turn until all hold as many, and then those with the lowest.
fn expected(layout: &MatrixLayout, scores: &[f64], alive: &[bool], keep: usize) -> Vec<bool> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layout.rows()];
    for col in 0..layout.cols() {
        for (row, units) in rows.iter_mut().enumerate() {
            units.extend(Some(layout.flat(row, col)).filter(|&unit| alive[unit]));
        }
    }
    // Best first; a stable sort leaves the lower column before an equal one.
    rows.iter_mut().for_each(|row| row.sort_by(|a, b| scores[*b].total_cmp(&scores[*a])));
    while rows.iter().map(Vec::len).sum::<usize>() > keep {
        let most = rows.iter().map(Vec::len).max().unwrap();
        // The longest rows lose one each, and of the last ones the lowest score goes first; of equal ones that of the highest row.
        let longest = rows.iter_mut().filter(|row| row.len() == most);
        let loser = longest.reduce(|one, other| {
            let of = |row: &[usize]| scores[row[most - 1]];
            if of(other) <= of(one) { other } else { one }
        });
        loser.unwrap().pop();
    }
    let mut kept = vec![false; layout.len()];
    rows.concat().into_iter().for_each(|unit| kept[unit] = true);
    kept
}

fn layouts() -> impl Strategy<Value = MatrixLayout> {
    let form = (1usize..5, 1usize..70, 1usize..5, 1usize..4);
    form.prop_map(|(outer, rows, channels, kernel)| MatrixLayout::new(outer, rows, channels * kernel, kernel))
}

proptest! {
    #[test]
    fn rows_keep_what_the_slow_way_keeps(
        (layout, scores, alive) in layouts().prop_flat_map(|layout| {
            let len = layout.len();
            (Just(layout), proptest::collection::vec(-4i8..4, len), proptest::collection::vec(proptest::bool::weighted(0.7), len))
        }),
        fraction in 0.0f64..1.0,
        all_alive: bool,
        exact: bool,
        absolute: bool,
        factor in 0.1f32..3.0,
    ) {
        let alive = if all_alive { vec![true; scores.len()] } else { alive };
        let bits = Bits::from_bools(&alive);
        let order = if absolute { Order::Absolute } else { Order::Value };
        // Exact scores are told apart by what single precision does not hold.
        let double: Vec<f64> = scores.iter().map(|&v| f64::from(v.signum()) + f64::from(v) * 1e-14).collect();
        let single: Vec<f32> = if exact { double.iter().map(|&v| v as f32).collect() } else { scores.iter().map(|&v| v.into()).collect() };
        let ranked: Vec<f64> = if exact { double.clone() } else { scores.iter().map(|&v| v.into()).collect() };
        let ranked: Vec<f64> = ranked.iter().map(|v| if absolute { v.abs() } else { *v }).collect();
        let elements = ElementScores::new(&single).with_exact(exact.then_some(&double[..])).with_alive(Some(&bits));
        let keep = (fraction * bits.count_ones() as f64) as usize;
        let candidate = Candidate::new("a", layout, Units::of(Granularity::Element, layout, elements))
            .with_ranking(order, crate::score::Reduction::Sum)
            .with_factor(factor)
            .with_least(0)
            .with_own(Some(Amount::Count(bits.count_ones() - keep)));
        let rules = ChooseRules::new(Amount::Count(0)).with_compare(Compare::Row);
        let chosen = choose_masks(&[candidate], &rules).unwrap();
        prop_assert_eq!(chosen[0].kept_units, keep);
        prop_assert_eq!(chosen[0].keep.to_bools(), expected(&layout, &ranked, &alive, keep));
    }
}

#[test]
fn rows_of_anything_but_single_weights_are_refused() {
    let (layout, scores) = (MatrixLayout::row_major(2, 4), [1.0; 8]);
    let rules = ChooseRules::new(Amount::OfTotal(Sparsity::new(0.5).unwrap())).with_compare(Compare::Row);
    for granularity in [Granularity::CHANNEL, Granularity::nm(2, 4).unwrap(), Granularity::block(1, 2).unwrap()] {
        let candidate = Candidate::new("fc1", layout, Units::of(granularity, layout, ElementScores::new(&scores)));
        let error = choose_masks(&[candidate.with_own(Some(rules.amount))], &rules).unwrap_err().to_string();
        assert!(error.starts_with("fc1: compare = \"row\" is for single weights"), "{error}");
        assert!(error.contains(&granularity.to_string()), "{error}");
    }
    let group = Units::coupled(2).with_part("fc1", ElementScores::new(&scores), [1, 2, 4], &[Some(0), Some(1)], true);
    let error = choose_masks(&[Candidate::new("fc1", layout, group).with_own(Some(rules.amount))], &rules).unwrap_err();
    assert!(error.to_string().contains("a coupled group"), "{error}");
}
