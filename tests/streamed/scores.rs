//! The host's part: budgets, allocators and selection on scores that are read again.

use proptest::prelude::*;
use pruning_core::budget::{
    AllocationError, Allocator, Amount, Candidate, ChooseError, ChooseRules, Chosen, Compare, LayerUnits, Rounding,
    Scores, Sparsity, allocate, choose_masks, share_highest,
};
use pruning_core::mask::Bits;
use pruning_core::score::{
    Axis, ElementScores, Granularity, MatrixLayout, NonFinite, Order, Reduction, ScoreError, TakeElements, Units,
};
use pruning_plugins::all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One layer of a random model.
#[derive(Clone, Debug)]
struct Layer {
    granularity: Granularity,
    layout: MatrixLayout,
    scores: Vec<f32>,
    exact: Option<Vec<f64>>,
    alive: Option<Bits>,
    factor: f32,
    own: Option<f64>,
}

/// Scores with many ties, some of them in one bucket of keys and apart within it.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        (-4i8..4).prop_map(f32::from),
        -1.0f32..1.0,
        (0u32..40).prop_map(|i| f32::from_bits(0x3f80_0000 + 977 * i)),
        Just(0.0),
        Just(-0.0),
        Just(f32::MIN_POSITIVE / 4.0)
    ]
}

fn layer(doubles: bool) -> impl Strategy<Value = Layer> {
    let granularity = prop_oneof![
        4 => Just(Granularity::Element),
        1 => Just(Granularity::CHANNEL),
        1 => Just(Granularity::Channel { axis: Axis::Input }),
        1 => Just(Granularity::block(1, 4).unwrap()),
        1 => Just(Granularity::nm(2, 4).unwrap()),
    ];
    let shape = (1usize..6, 1usize..8);
    (granularity, shape, any::<[bool; 3]>(), 0.25f32..4.0, proptest::option::weighted(0.2, 0.0f64..0.9)).prop_flat_map(
        move |(granularity, (rows, fours), [masked, exact, one], factor, own)| {
            let len = rows * 4 * fours;
            let alive = proptest::collection::vec(proptest::bool::weighted(0.7), len);
            (proptest::collection::vec(value(), len), alive).prop_map(move |(scores, alive)| {
                let factor = if one { 1.0 } else { factor };
                // Closer together than single precision tells.
                let double = |(i, v): (usize, &f32)| f64::from(factor) * (f64::from(*v) + (i % 3) as f64 * 1e-12);
                Layer {
                    granularity,
                    layout: MatrixLayout::row_major(rows, 4 * fours),
                    exact: (doubles && exact).then(|| scores.iter().enumerate().map(double).collect()),
                    scores,
                    alive: masked.then(|| Bits::from_bools(&alive)),
                    factor,
                    own,
                }
            })
        },
    )
}

fn elements(layer: &Layer) -> ElementScores<'_> {
    ElementScores::new(&layer.scores).with_exact(layer.exact.as_deref())
}

/// The masks of a model whose scores are in memory, or are read by what counts the reads.
fn chosen(
    layers: &[Layer],
    order: Order,
    rules: &ChooseRules<'_>,
    reads: Option<&[AtomicUsize]>,
) -> Result<Vec<Chosen>, ChooseError> {
    let paths: Vec<String> = (0..layers.len()).map(|i| format!("layer{}", layers.len() - i)).collect();
    let candidates: Vec<_> = layers
        .iter()
        .zip(&paths)
        .enumerate()
        .map(|(i, (layer, path))| {
            let alive = layer.alive.as_ref();
            let units = match reads {
                None => Units::of(layer.granularity, layer.layout, elements(layer).with_alive(alive)),
                Some(reads) => {
                    let read = move |take: &mut TakeElements<'_>| {
                        reads[i].fetch_add(1, Ordering::Relaxed);
                        take(elements(layer), layer.factor);
                        Ok(())
                    };
                    Units::read_again(layer.granularity, layer.layout, alive, read)
                }
            };
            let factor = if reads.is_some() { 1.0 } else { layer.factor };
            Candidate::new(path, layer.layout, units)
                .with_layer("Linear", &[], i)
                .with_ranking(order, Reduction::Sum)
                .with_factor(factor)
                .with_own(layer.own.map(|own| Amount::OfTotal(Sparsity::new(own).unwrap())))
        })
        .collect();
    choose_masks(&candidates, rules)
}

/// Every allocator, with configurations that have bounds.
fn allocators() -> Vec<(&'static str, Value)> {
    let names = all().of_kind::<dyn Allocator>().map(pruning_core::plugin::Entry::name).collect::<Vec<_>>();
    let plain = names.into_iter().map(|name| (name, Value::Null));
    let more =
        [("global", json!({ "floor": 0.3, "cap": 0.6 })), ("grouped", json!({ "by": ["layer1"], "inner": "lamp" }))];
    plain.chain(more).collect()
}

proptest! {
    #[test]
    fn every_allocator_chooses_the_masks_that_it_chooses_in_memory(
        layers in proptest::collection::vec(layer(false), 1..6), sparsity in 0.0f64..0.95, absolute: bool
    ) {
        for (name, config) in allocators() {
            let allocator = all().build::<dyn Allocator>(name, config).unwrap();
            let order = if absolute { Order::Absolute } else { Order::Value };
            let amount = Amount::OfTotal(Sparsity::new(sparsity).unwrap());
            let rules = ChooseRules::new(amount).with_allocator(Some(&*allocator));
            let reads: Vec<_> = layers.iter().map(|_| AtomicUsize::new(0)).collect();
            let expected = chosen(&layers, order, &rules, None);
            prop_assert_eq!(chosen(&layers, order, &rules, Some(&reads)), expected, "{}", name);
            let most = reads.iter().map(|reads| reads.load(Ordering::Relaxed)).max().unwrap();
            prop_assert!(most <= 3, "{} read a layer {} times", name, most);
        }
    }

    #[test]
    fn doubles_choose_the_masks_that_they_choose_in_memory(
        layers in proptest::collection::vec(layer(true), 1..6), sparsity in 0.0f64..0.95, absolute: bool, seed in 0usize..2
    ) {
        let order = if absolute { Order::Absolute } else { Order::Value };
        let allocator = all().build::<dyn Allocator>(["global", "lamp"][seed], Value::Null).unwrap();
        let amount = Amount::OfTotal(Sparsity::new(sparsity).unwrap());
        let rules = ChooseRules::new(amount).with_allocator(Some(&*allocator));
        let reads: Vec<_> = layers.iter().map(|_| AtomicUsize::new(0)).collect();
        prop_assert_eq!(chosen(&layers, order, &rules, Some(&reads)), chosen(&layers, order, &rules, None));
        // A pass that finds doubles, four over them, and the mask.
        prop_assert!(reads.iter().all(|reads| reads.load(Ordering::Relaxed) <= 6));
    }

    #[test]
    fn rows_compete_as_in_memory(layers in proptest::collection::vec(layer(false), 1..4), sparsity in 0.0f64..0.95) {
        let layers: Vec<_> =
            layers.into_iter().map(|layer| Layer { granularity: Granularity::Element, ..layer }).collect();
        let allocator = all().build::<dyn Allocator>("global", Value::Null).unwrap();
        let amount = Amount::OfTotal(Sparsity::new(sparsity).unwrap());
        let rules = ChooseRules::new(amount).with_allocator(Some(&*allocator)).with_compare(Compare::Row);
        let reads: Vec<_> = layers.iter().map(|_| AtomicUsize::new(0)).collect();
        let expected = chosen(&layers, Order::Absolute, &rules, None);
        prop_assert_eq!(chosen(&layers, Order::Absolute, &rules, Some(&reads)), expected);
    }

    #[test]
    fn sharing_within_bounds_is_exact_in_two_reads(
        layers in proptest::collection::vec(proptest::collection::vec(value(), 0..600), 1..8),
        part in 0.0f64..=1.0, lo in 0.0f64..0.6, hi in 0.6f64..=1.0, absolute: bool
    ) {
        let order = if absolute { Order::Absolute } else { Order::Value };
        let reads: Vec<_> = layers.iter().map(|_| AtomicUsize::new(0)).collect();
        let held: Vec<_> = layers.iter().map(|values| Scores::new(values, order).unwrap()).collect();
        let read = |(values, reads): (&Vec<f32>, &AtomicUsize)| {
            reads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, String>(values.clone())
        };
        let read: Vec<_> = layers
            .iter()
            .zip(&reads)
            .map(|of| Scores::read_again(of.0.len(), order, None, move || read(of)))
            .collect();
        let bound = |of: f64, len: usize| (of * len as f64) as usize;
        let bounds: Vec<_> = layers.iter().map(|l| (bound(lo, l.len()), bound(hi, l.len()))).collect();
        let (low, high) = bounds.iter().fold((0, 0), |(low, high), b| (low + b.0, high + b.1));
        let keep = low + bound(part, high - low);
        let shared = |of: &[Scores<'_>]| share_highest(&of.iter().collect::<Vec<_>>(), &bounds, keep);
        let counts = shared(&read);
        prop_assert_eq!(&counts, &shared(&held));
        prop_assert!(reads.iter().all(|reads| reads.load(Ordering::Relaxed) <= 2));
        for ((one, other), count) in read.iter().zip(&held).zip(counts.unwrap()) {
            prop_assert_eq!(one.keep_highest(count), other.keep_highest(count));
            prop_assert!(one.alive_scores().eq(other.alive_scores()));
            prop_assert_eq!((one.len(), one.alive(), one.failure()), (other.len(), other.alive(), None));
        }
    }
}

/// Three layers of 20,000 scores.
fn large() -> [Vec<f32>; 3] {
    let noise = |i: u32| i.wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519) as f32 / 2e9 - 1.0;
    [1.0f32, 3.0, 0.2].map(|scale| (0..20_000).map(|i| scale * noise(i)).collect())
}

/// Shares half of three layers, the second of which fails in one of its reads.
fn sharing(
    fails: usize,
    how: impl Fn() -> Result<Vec<f32>, String> + Sync + Send,
) -> Result<Vec<usize>, AllocationError> {
    let (layers, reads) = (large(), AtomicUsize::new(0));
    let read = || {
        let now = reads.fetch_add(1, Ordering::Relaxed) + 1;
        if now == fails { how() } else { Ok(layers[1].clone()) }
    };
    let scores = [
        Scores::read_again(20_000, Order::Absolute, None, || Ok::<_, String>(&layers[0])),
        Scores::read_again(20_000, Order::Absolute, None, read),
        Scores::read_again(20_000, Order::Absolute, None, || Ok::<_, String>(&layers[2])),
    ];
    let layout = MatrixLayout::row_major(200, 100);
    let units: Vec<_> =
        ["a", "b", "c"].iter().zip(&scores).map(|(path, scores)| LayerUnits::new(path, layout, scores)).collect();
    let allocator = all().build::<dyn Allocator>("global", Value::Null).unwrap();
    allocate(&*allocator, &units, Amount::OfTotal(Sparsity::new(0.5).unwrap()), Rounding::HalfEven)
}

#[test]
fn a_reader_that_fails_is_an_error_whichever_read_it_is() {
    let counts = sharing(0, || Err(String::new())).unwrap();
    assert_eq!(counts.iter().sum::<usize>(), 30_000);
    let failed = |source| Err(AllocationError::Scores { path: "b".to_string(), source });
    for read in [1, 2] {
        let gone = sharing(read, || Err("the disk is gone".to_string()));
        assert_eq!(gone, failed(ScoreError::unread("the disk is gone")), "read {read}");
        assert_eq!(gone.unwrap_err().to_string(), "b: the scores could not be read: the disk is gone");
        let short = sharing(read, || Ok(vec![1.0; 19_999]));
        assert_eq!(short, failed(ScoreError::Length { expected: 20_000, found: 19_999 }), "read {read}");
        let panics = sharing(read, || panic!("no such file"));
        assert_eq!(panics, failed(ScoreError::unread("no such file")), "read {read}");
        let nan = sharing(read, || Ok([&large()[1][..7000], &[f32::NAN], &large()[1][7001..]].concat()));
        let Err(AllocationError::Scores { source: ScoreError::NonFinite(NonFinite { index, .. }), .. }) = nan else {
            panic!("{nan:?}")
        };
        assert_eq!(index, 7000, "read {read}");
    }
    // What another process writes between two reads is seen, and never counted.
    assert_eq!(sharing(2, || Ok(large()[2].clone())), failed(ScoreError::Changed));
}
