use crate::budget::select::*;
use proptest::prelude::*;

/// The definition: sort by score descending, then index ascending.
fn by_sorting(values: &[f32], order: Order, alive: &[bool], keep: usize) -> Vec<bool> {
    let rank = |v: f32| if order == Order::Absolute { v.abs() } else { v };
    let mut indices: Vec<_> = (0..values.len()).filter(|&i| alive[i]).collect();
    indices.sort_by(|&a, &b| rank(values[b]).partial_cmp(&rank(values[a])).unwrap().then(a.cmp(&b)));
    let mut mask = vec![false; values.len()];
    indices.iter().take(keep).for_each(|&i| mask[i] = true);
    mask
}

fn scores() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        (-4i8..4).prop_map(f32::from),
        -1.0f32..1.0,
        Just(0.0),
        Just(-0.0),
        Just(f32::MAX),
        Just(f32::MIN_POSITIVE / 4.0)
    ];
    proptest::collection::vec(value, 1..400)
}

proptest! {
    #[test]
    fn keeps_what_sorting_keeps(
        values in scores(), part in 0.0f64..=1.0, seed: u64, absolute: bool, masked: bool
    ) {
        let order = if absolute { Order::Absolute } else { Order::Value };
        let alive: Vec<bool> =
            (0..values.len()).map(|i| !masked || (seed.rotate_left(i as u32) ^ i as u64) & 1 == 0).collect();
        let bits = Bits::from_bools(&alive);
        let scores = Scores::of_alive(&values, order, Some(&bits)).unwrap();
        let keep = (part * scores.alive() as f64) as usize;
        prop_assert_eq!(scores.keep_highest(keep).to_bools(), by_sorting(&values, order, &alive, keep));
        if !masked {
            let plain = Scores::new(&values, order).unwrap();
            prop_assert_eq!(plain.keep_highest(keep), scores.keep_highest(keep));
        }
    }

    #[test]
    fn sharing_keeps_what_sorting_the_whole_model_keeps(
        a in scores(), b in scores(), c in scores(), part in 0.0f64..=1.0
    ) {
        let all: Vec<f32> = [a.clone(), b.clone(), c.clone()].concat();
        let keep = (part * all.len() as f64) as usize;
        let expected = by_sorting(&all, Order::Value, &vec![true; all.len()], keep);
        let layers = [&a, &b, &c].map(|v| Scores::new(v, Order::Value).unwrap());
        let refs: Vec<_> = layers.iter().collect();
        let bounds: Vec<_> = layers.iter().map(|l| (0, l.len())).collect();
        let counts = share_highest(&refs, &bounds, keep).unwrap();
        let masks: Vec<bool> =
            layers.iter().zip(&counts).flat_map(|(l, &n)| l.keep_highest(n).to_bools()).collect();
        prop_assert_eq!(masks, expected);
    }

    #[test]
    fn sharing_meets_bounds_and_total(
        a in scores(), b in scores(), c in scores(), part in 0.0f64..=1.0, lo in 0.0f64..0.6, hi in 0.6f64..=1.0
    ) {
        let layers = [&a, &b, &c].map(|v| Scores::new(v, Order::Value).unwrap());
        let refs: Vec<_> = layers.iter().collect();
        let bounds: Vec<_> = layers
            .iter()
            .map(|l| ((lo * l.len() as f64) as usize, (hi * l.len() as f64) as usize))
            .collect();
        let (low, high) = bounds.iter().fold((0, 0), |(x, y), b| (x + b.0, y + b.1));
        let keep = low + (part * (high - low) as f64) as usize;
        let counts = share_highest(&refs, &bounds, keep).unwrap();
        prop_assert_eq!(counts.iter().sum::<usize>(), keep);
        for (count, (lo, hi)) in counts.iter().zip(&bounds) {
            prop_assert!(lo <= count && count <= hi);
        }
        // Exchange argument: what a layer above its floor keeps beats what a layer below its cap drops.
        let worst_kept = refs.iter().zip(&counts).zip(&bounds).filter(|((_, n), b)| **n > b.0)
            .map(|((l, &n), _)| sorted(l)[n - 1]).fold(f32::INFINITY, f32::min);
        let best_dropped = refs.iter().zip(&counts).zip(&bounds).filter(|((_, n), b)| **n < b.1)
            .map(|((l, &n), _)| sorted(l)[n]).fold(f32::NEG_INFINITY, f32::max);
        prop_assert!(worst_kept >= best_dropped);
        prop_assert!(share_highest(&refs, &bounds, high + 1).is_none());
    }
}

fn sorted(scores: &Scores<'_>) -> Vec<f32> {
    let mut values: Vec<_> = (0..scores.len()).map(|i| scores.score(i)).collect();
    values.sort_by(|a, b| b.partial_cmp(a).unwrap());
    values
}

#[test]
fn ties_keep_the_lower_index() {
    let scores = Scores::new(&[1.0; 130], Order::Value).unwrap();
    let kept: Vec<_> = scores.keep_highest(70).iter_ones().collect();
    assert_eq!(kept, (0..70).collect::<Vec<_>>());
}

/// Scores that are too many to list, of kinds that a window can stumble over.
fn large() -> Vec<(&'static str, Vec<f32>)> {
    let noise = |i: u32| i.wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519) as f32 / 2e9 - 1.0;
    let of = |f: &dyn Fn(f32) -> f32| (0..60_001).map(|i| f(noise(i))).collect();
    let mut sorted: Vec<f32> = of(&|v| v);
    sorted.sort_by(f32::total_cmp);
    vec![
        ("spread", of(&|v| v)),
        ("heavy tails", of(&|v| v.powi(9))),
        ("mostly zero", of(&|v| if v > 0.8 { v } else { 0.0 })),
        ("three values", of(&|v| (v * 1.4).round())),
        ("thirty values", of(&|v| (v * 15.0).round())),
        ("one value", of(&|_| -2.5)),
        ("close together", of(&|v| 1.0 + v * 1e-5)),
        ("sorted", sorted),
    ]
}

#[test]
fn large_layers_keep_what_sorting_keeps() {
    for (name, values) in large() {
        let alive: Vec<bool> = (0..values.len()).map(|i| i % 3 > 0 || i > 50_000).collect();
        let bits = Bits::from_bools(&alive);
        for order in [Order::Value, Order::Absolute] {
            let scores = Scores::of_alive(&values, order, Some(&bits)).unwrap();
            for part in [0.0, 0.1, 0.333, 0.5, 0.9, 0.9999] {
                let keep = 1 + (part * scores.alive() as f64) as usize;
                let expected = by_sorting(&values, order, &alive, keep);
                assert_eq!(scores.keep_highest(keep).to_bools(), expected, "{name} by {order:?}, {keep} kept");
            }
        }
    }
}

#[test]
fn a_misleading_sample_changes_no_mask() {
    let all = rank_key(f32::MAX, Order::Value);
    for (name, values) in large() {
        let expected = by_sorting(&values, Order::Value, &vec![true; values.len()], 6000);
        for sample in [vec![], vec![0; 9], vec![all; 9], vec![0, all], (0..999).map(|i| i << 22).collect()] {
            let mut scores = Scores::new(&values, Order::Value).unwrap();
            scores.sample = sample;
            assert_eq!(scores.keep_highest(6000).to_bools(), expected, "{name}, sample {:?}", scores.sample);
        }
    }
}

#[test]
fn without_room_for_a_list_the_mask_is_the_same() {
    for (name, values) in large() {
        let scores = Scores::new(&values, Order::Value).unwrap();
        let shares = Shares { layers: &[&scores], bounds: &[(0, values.len())], keep: 6000 };
        let split = shares.split(0).pop().unwrap();
        assert!(split.keys.is_empty(), "{name}");
        assert_eq!(split.into_highest(6000), scores.keep_highest(6000), "{name}");
    }
}

#[test]
fn large_layers_share_as_one() {
    let layers = large();
    let all: Vec<f32> = layers.iter().flat_map(|(_, values)| values.iter().copied()).collect();
    let scores: Vec<_> = layers.iter().map(|(_, values)| Scores::new(values, Order::Absolute).unwrap()).collect();
    let refs: Vec<_> = scores.iter().collect();
    let bounds: Vec<_> = scores.iter().map(|layer| (0, layer.len())).collect();
    for keep in [1, 100_000, 240_004, 400_000] {
        let counts = share_highest(&refs, &bounds, keep).unwrap();
        let masks: Vec<bool> = refs.iter().zip(&counts).flat_map(|(l, &n)| l.keep_highest(n).to_bools()).collect();
        assert_eq!(masks, by_sorting(&all, Order::Absolute, &vec![true; all.len()], keep), "{keep} kept");
    }
}

#[test]
fn non_finite_scores_are_named() {
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for order in [Order::Value, Order::Absolute] {
            let error = Scores::new(&[1.0, f32::MAX, f32::MIN, bad], order).unwrap_err();
            assert_eq!(error.index, 3, "{bad} by {order:?}");
            let mut values = vec![1.0; 100_000];
            (values[54_321], values[54_322], values[99_999]) = (bad, f32::NAN, f32::INFINITY);
            let error = Scores::new(&values, order).unwrap_err();
            assert_eq!(error.index, 54_321, "{bad} by {order:?}");
        }
    }
}
