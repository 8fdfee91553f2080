//! Allocators against the formulas of their papers: see `vectors/densities.py` and `vectors/allocators.py`.

use pruning_core::budget::{
    Allocator, Amount, Candidate, ChooseError, ChooseRules, LayerUnits, Rounding, Scores, Sparsity, allocate,
    choose_masks,
};
use pruning_core::mask::Bits;
use pruning_core::score::{ElementScores, Granularity, MatrixLayout, Order, Units};
use pruning_plugins::all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Allocators whose known answers are not counts of `vectors/allocators.json`: name here one that has a test of its own.
const ELSEWHERE: [&str; 1] = ["budget"];

#[derive(Deserialize)]
struct Case {
    kind: String,
    model: String,
    shapes: Vec<Vec<usize>>,
    sparsity: f64,
    kept: Vec<f64>,
    weights: Option<Vec<Vec<f32>>>,
}

struct Layer {
    path: String,
    kind: &'static str,
    shape: Vec<usize>,
    layout: MatrixLayout,
    scores: Vec<f32>,
    alive: Option<Bits>,
}

impl Layer {
    fn new(place: usize, shape: &[usize], scores: Option<&Vec<f32>>) -> Self {
        let (kernel, len) = (shape[2..].iter().product::<usize>(), shape.iter().product::<usize>());
        let layout = MatrixLayout::new(1, shape[0], shape[1] * kernel, kernel);
        // Distinct, and of no matter to the rules that look at shapes only.
        let scores = scores.cloned().unwrap_or_else(|| (0..len).map(|i| ((i * 7919) % 104_729) as f32 + 1.0).collect());
        let kind = if shape.len() > 2 { "Conv2d" } else { "Linear" };
        Self { path: format!("layer{place}.weight"), kind, shape: shape.to_vec(), layout, scores, alive: None }
    }
}

fn kept(name: &str, config: Value, layers: &[Layer], sparsity: f64) -> Result<Vec<usize>, ChooseError> {
    let allocator = all().build::<dyn Allocator>(name, config).unwrap();
    let candidates: Vec<_> = layers
        .iter()
        .enumerate()
        .map(|(place, layer)| {
            let elements = ElementScores::new(&layer.scores).with_alive(layer.alive.as_ref());
            Candidate::new(&layer.path, layer.layout, Units::of(Granularity::Element, layer.layout, elements))
                .with_layer(layer.kind, &layer.shape, place)
        })
        .collect();
    let amount = Amount::OfTotal(Sparsity::new(sparsity).unwrap());
    let rules = ChooseRules::new(amount).with_allocator(Some(&*allocator));
    Ok(choose_masks(&candidates, &rules)?.iter().map(|c| c.kept_units).collect())
}

fn total(layers: &[Layer], sparsity: f64) -> usize {
    let all: usize = layers.iter().map(|l| l.scores.len()).sum();
    all - (sparsity * all as f64).round_ties_even() as usize
}

#[test]
fn densities_are_those_of_the_papers() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../vectors/densities.json")).unwrap();
    assert_eq!(cases.len(), 34);
    for case in cases {
        let weights = |i: usize| case.weights.as_ref().map(|w| &w[i]);
        let layers: Vec<_> = case.shapes.iter().enumerate().map(|(i, s)| Layer::new(i, s, weights(i))).collect();
        let counts = kept(&case.kind, Value::Null, &layers, case.sparsity).unwrap();
        assert_eq!(counts.iter().sum::<usize>(), total(&layers, case.sparsity), "{} {}", case.kind, case.model);
        for (count, exact) in counts.iter().zip(&case.kept) {
            // The total is rounded, and so is each layer.
            assert!((*count as f64 - exact).abs() <= 1.0, "{} {} {}: {counts:?}", case.kind, case.model, case.sparsity);
        }
    }
}

/// A model of `vectors/allocators.py`, or what an allocator keeps of it; nothing where its limits exclude the total.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Model { model: String, layers: Vec<Given> },
    Counts { model: String, allocator: BTreeMap<String, Value>, sparsity: f64, kept: Option<Vec<usize>> },
}

#[derive(Deserialize)]
struct Given {
    path: String,
    kind: String,
    shape: Vec<usize>,
    scores: Vec<f32>,
    alive: Vec<u8>,
}

impl From<Given> for Layer {
    fn from(given: Given) -> Self {
        let layer = Self::new(0, &given.shape, Some(&given.scores));
        assert_eq!(layer.kind, given.kind);
        let alive: Vec<_> = given.alive.iter().map(|alive| *alive == 1).collect();
        let pruned = alive.contains(&false);
        Self { path: given.path, alive: pruned.then(|| Bits::from_bools(&alive)), ..layer }
    }
}

#[test]
fn every_allocator_keeps_what_its_formula_says() {
    let lines: Vec<Line> = serde_json::from_str(include_str!("../vectors/allocators.json")).unwrap();
    let (mut models, mut names) = (BTreeMap::new(), BTreeSet::from(ELSEWHERE.map(String::from)));
    let (mut counted, mut refused) = (0, 0);
    for line in lines {
        match line {
            Line::Model { model, layers } => {
                models.insert(model, layers.into_iter().map(Layer::from).collect::<Vec<_>>());
            }
            Line::Counts { model, allocator, sparsity, kept: expected } => {
                let about = format!("{model} {allocator:?} {sparsity}");
                let mut config = allocator;
                let name = config.remove("name").unwrap();
                let name = name.as_str().unwrap();
                match (kept(name, json!(config), &models[&model], sparsity), expected) {
                    (Ok(counts), Some(expected)) => {
                        assert_eq!(counts, expected, "{about}");
                        counted += 1;
                    }
                    (Err(error), None) => {
                        assert!(error.to_string().starts_with("asked to keep"), "{about}: {error}");
                        refused += 1;
                    }
                    (found, expected) => panic!("{about}: {found:?}, expected {expected:?}"),
                }
                names.insert(name.to_string());
            }
        }
    }
    assert_eq!((counted, refused), (347, 53));
    // An allocator without known answers is not done. A name with a dot would be a test's own.
    let plugins = all();
    let registered = plugins.of_kind::<dyn Allocator>().map(|entry| entry.name()).filter(|name| !name.contains('.'));
    assert_eq!(names, registered.map(String::from).collect::<BTreeSet<_>>());
}

fn residual() -> Vec<Layer> {
    let shapes: [&[usize]; 4] = [&[16, 3, 3, 3], &[32, 16, 3, 3], &[64, 32, 3, 3], &[10, 64]];
    shapes.iter().enumerate().map(|(i, shape)| Layer::new(i, shape, None)).collect()
}

#[test]
fn uniform_plus_spares_the_first_convolution_and_the_last_layer() {
    let layers = residual();
    let counts = kept("uniform_plus", Value::Null, &layers, 0.9).unwrap();
    assert_eq!((counts[0], counts[3]), (432, 128), "dense, and a fifth of 640");
    assert_eq!(counts.iter().sum::<usize>(), total(&layers, 0.9));
    let density = |i: usize| counts[i] as f64 / layers[i].scores.len() as f64;
    assert!((density(1) - density(2)).abs() < 1e-3);
    // At a sparsity that the last layer has anyway, it is one of the others.
    let counts = kept("uniform_plus", Value::Null, &layers, 0.5).unwrap();
    assert!((counts[3] as f64 / 640.0 - counts[1] as f64 / 4608.0).abs() < 1e-2);
    // A network without convolutions has no first layer to spare.
    let linear: Vec<_> =
        [[30, 40], [20, 30], [10, 20]].iter().enumerate().map(|(i, s)| Layer::new(i, s, None)).collect();
    assert_eq!(kept("uniform_plus", Value::Null, &linear, 0.9).unwrap()[2], 40);
    let error = kept("uniform_plus", Value::Null, &layers, 0.99).unwrap_err().to_string();
    assert!(error.starts_with("asked to keep 241, but"), "{error}");
}

#[test]
fn fixed_sparsities_are_kept_and_the_total_too() {
    let layers = residual();
    let config = json!({ "layers": { "layer0": 0.25, "layer3.weight": 0.5 } });
    let counts = kept("fixed", config, &layers, 0.8).unwrap();
    assert_eq!((counts[0], counts[3]), (324, 320));
    assert_eq!(counts.iter().sum::<usize>(), total(&layers, 0.8));
    for (config, part) in [
        (
            json!({ "layers": { "head": 0.5 } }),
            "pattern \"head\" matches no layer that shares the budget; there are: layer0",
        ),
        (json!({ "layers": { "layer*": 0.5, "layer1": 0.1 } }), "both match"),
        (json!({ "layers": { "layer*": 0.5 } }), "asked to keep"),
    ] {
        let error = kept("fixed", config, &layers, 0.8).unwrap_err().to_string();
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(all().build::<dyn Allocator>("fixed", json!({ "layers": { "a": 1.5 } })).is_err());
}

#[test]
fn groups_have_one_sparsity_and_an_allocator_within() {
    let mut layers = residual();
    // One layer of the first group has far larger scores.
    layers[1].scores.iter_mut().for_each(|s| *s += 1e6);
    let config = json!({ "by": ["layer[01]*", "layer0", "layer1"], "inner": "global" });
    let error = kept("grouped", config, &layers, 0.8).unwrap_err().to_string();
    assert!(error.contains("pattern \"layer[01]*\" matches no layer"), "{error}");
    layers[0].path = "front.0.weight".into();
    layers[1].path = "front.1.weight".into();
    let counts =
        kept("grouped", json!({ "by": ["front"], "inner": { "name": "global", "floor": 0.1 } }), &layers, 0.8).unwrap();
    let part = |from: usize, to: usize| {
        let size: usize = layers[from..to].iter().map(|l| l.scores.len()).sum();
        counts[from..to].iter().sum::<usize>() as f64 / size as f64
    };
    assert!((part(0, 2) - 0.2).abs() < 1e-3 && (part(2, 4) - 0.2).abs() < 1e-3, "{counts:?}");
    assert_eq!(counts[0], 44, "the floor of the smaller scores: a tenth of 432, rounded up");
    let build = |config| all().build::<dyn Allocator>("grouped", config).unwrap_err().to_string();
    for (config, part) in [
        (json!({ "inner": "globl" }), "inner: unknown allocator \"globl\", did you mean \"global\"?"),
        (json!({ "inner": { "name": "global", "flor": 1 } }), "unknown field `flor`"),
        (json!({ "inner": 3 }), "inner: expected a name or a table"),
        (json!({ "inner": { "floor": 1 } }), "needs a `name`"),
    ] {
        let error = build(config);
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// Units of one layer: their scores, the weights of one, and its multiply-accumulates.
fn spent(of: &str, keep: f64) -> Result<Vec<usize>, String> {
    let scores = [[80.0_f32, 60.0, 40.0, 20.0], [9.0, 7.0, 5.0, 3.0]];
    let scores = scores.each_ref().map(|s| Scores::new(s, Order::Value).unwrap());
    let layer = |i: usize, weights: usize, macs: Option<usize>| {
        LayerUnits::new(["wide", "narrow"][i], MatrixLayout::row_major(4, weights), &scores[i])
            .with_layer("Conv2d", &[], i)
            .with_bounds(1, 1)
            .with_unit_cost(weights, macs)
    };
    let layers = match of {
        "params" => [layer(0, 10, None), layer(1, 2, None)],
        "unknown" => [layer(0, 10, Some(10)), layer(1, 2, None)],
        _ => [layer(0, 10, Some(10)), layer(1, 2, Some(200))],
    };
    let config = json!({ "of": if of == "params" { "params" } else { "macs" } });
    let allocator = pruning_plugins::all().build::<dyn Allocator>("budget", config).unwrap();
    let amount = Amount::OfTotal(Sparsity::new(1.0 - keep).unwrap());
    allocate(&*allocator, &layers, amount, Rounding::HalfEven).map_err(|error| error.to_string())
}

/// Scores for each weight: 8, 6, 4, 2 of the wide layer and 4.5, 3.5, 2.5, 1.5 of the narrow one; 48 weights in all.
#[test]
fn a_budget_is_spent_where_a_score_buys_most() {
    // 24 weights: the floors take 12, then 6 (10) leaves 2, then 4 does not fit and ends it.
    assert_eq!(spent("params", 0.5).unwrap(), [2, 1]);
    // 36: 12, then 6 (10), 4 (10) and 3.5 (2) and 2.5 (2), all of it.
    assert_eq!(spent("params", 0.75).unwrap(), [3, 3]);
    assert_eq!(spent("params", 1.0).unwrap(), [4, 4]);
    // 840 multiply-accumulates, of which one narrow unit takes 200: its scores buy less than all of the wide ones.
    assert_eq!(spent("macs", 0.5).unwrap(), [4, 1]);
    assert!(spent("macs", 0.2).unwrap_err().starts_with("asked to keep"));
    assert!(spent("unknown", 0.5).unwrap_err().starts_with("narrow: its multiply-accumulates are not known"));
}
