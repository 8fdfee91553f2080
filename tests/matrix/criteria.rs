//! Known answers for every criterion, from the formulas of the papers by torch: see `vectors/criteria.py`.
//!
//! The scores are read where a pruning ranks them, by an allocator that writes them down.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use fixtures::{Cnn, Given, Mlp};
use pruning_burn::budget::{AllocationError, Allocator, LayerUnits};
use pruning_burn::plugin::Plugin;
use pruning_burn::recipe::Recipe;
use pruning_burn::score::{Criterion, CriterionInputs, Need};
use pruning_burn::{Pruner, register_allocator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

mod activation;
mod fixtures;
mod hessian;

pub(crate) use activation::{
    activations_score_as_the_papers_say, heads_matter_by_a_factor_on_them, rows_stay_even_over_rounds,
};
pub(crate) use hessian::{
    a_loss_without_a_hessian_is_an_error, hessian_products_are_those_of_two_backward_passes,
    hessian_products_follow_the_model,
};

type Layers = BTreeMap<String, Vec<f64>>;

thread_local! {
    static SEEN: RefCell<Layers> = RefCell::default();
}

/// Writes the scores down, and keeps what comes first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Recorder {}

impl Plugin for Recorder {
    const NAME: &'static str = "test.recorder";
    const SUMMARY: &'static str = "Writes the scores down.";
}

impl Allocator for Recorder {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let scores = |layer: &LayerUnits<'_>| -> Vec<f64> {
            let (layout, cols) = (layer.layout, layer.layout.cols());
            // Elements come in the order of memory, and there is one for each place in the matrix.
            let unit = |i: usize| if layer.units() == layout.len() { layout.flat(i / cols, i % cols) } else { i };
            (0..layer.units()).map(|i| f64::from(layer.scores.score(unit(i)))).collect()
        };
        SEEN.set(layers.iter().map(|layer| (layer.path.to_string(), scores(layer))).collect());
        let mut left = keep - layers.iter().map(|l| l.least).sum::<usize>();
        let count = |layer: &LayerUnits<'_>| {
            let more = left.min(layer.alive() - layer.least);
            left -= more;
            layer.least + more
        };
        Ok(layers.iter().map(count).collect())
    }
}

register_allocator!(Recorder);

/// The scores of a pruning.
fn scores<M: Module>(
    model: &M,
    criterion: &Value,
    granularity: Value,
    include: &[&String],
    inputs: &CriterionInputs,
) -> Layers {
    let recipe = json!({
        "criterion": criterion,
        "granularity": granularity,
        "allocator": Recorder::NAME,
        "target": { "include": include },
        "sparsity": 0.5,
    });
    let pruner = Recipe::from_value(recipe, &pruning_plugins::all()).map(Pruner::from).unwrap();
    pruner.prune(&mut model.clone(), inputs).unwrap();
    SEEN.take()
}

/// Scores of one criterion.
#[derive(Deserialize)]
struct Case {
    model: String,
    criterion: Value,
    granularity: String,
    scores: Layers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Given(Given),
    Case(Case),
}

fn lines() -> (Vec<Given>, Vec<Case>) {
    let lines: Vec<Line> = serde_json::from_str(include_str!("../vectors/criteria.json")).unwrap();
    let (mut given, mut cases) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Given(model) => given.push(model),
            Line::Case(case) => cases.push(case),
        }
    }
    (given, cases)
}

/// Greatest deviation, as a part of the largest score of the layer, be it a unit's or an element's: signed scores of a unit may
/// cancel, as those of movement do below a batch norm.
const TOLERANCE: f64 = 1e-5;

fn compare<M: Module>(model: &M, case: &Case, elements: &Case, inputs: &CriterionInputs) {
    let granularity = match case.granularity.as_str() {
        "input" => json!({ "kind": "channel", "axis": "input" }),
        "block" => json!({ "kind": "block", "rows": 2, "cols": 3 }),
        other => json!(other),
    };
    let include: Vec<_> = case.scores.keys().collect();
    let found = scores(model, &case.criterion, granularity, &include, inputs);
    let about = format!("{} {} {}", case.model, case.criterion, case.granularity);
    assert!(found.keys().eq(case.scores.keys()), "{about}");
    for (path, expected) in &case.scores {
        let found = &found[path];
        assert_eq!(found.len(), expected.len(), "{about} {path}");
        let largest = expected.iter().chain(&elements.scores[path]).fold(0.0f64, |max, v| max.max(v.abs()));
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (found - expected).abs() / largest;
            assert!(off <= TOLERANCE, "{about} {path}: score {i} is {found}, expected {expected}, off by {off:e}");
        }
    }
}

pub(crate) fn every_criterion_is_its_formula(device: &Device) {
    let device = device.clone().autodiff();
    let (models, cases) = lines();
    assert_eq!((models.len(), cases.len()), (3, 178));
    for given in &models {
        let cases = || {
            let cases = cases.iter().filter(|case| case.model == given.model);
            // The elements of a criterion come before its units.
            cases.scan(None, |elements, case| {
                *elements = if case.granularity == "element" { Some(case) } else { *elements };
                elements.map(|elements| (case, elements))
            })
        };
        assert!(cases().count() > 50, "{}", given.model);
        if given.has_images() {
            let (model, inputs) = Cnn::new(given, &device);
            cases().for_each(|(case, elements)| compare(&model, case, elements, &inputs));
        } else {
            let (model, inputs) = Mlp::new(given, &device);
            cases().for_each(|(case, elements)| compare(&model, case, elements, &inputs));
        }
    }
    // A criterion without known answers is not done. Random scores have none: they have a test of their own.
    let answered = cases.iter().map(|case| case.criterion["name"].as_str().unwrap());
    let activations = activation::answered();
    let answered: BTreeSet<_> = answered.chain(["random"]).chain(activations.iter().map(String::as_str)).collect();
    let plugins = pruning_plugins::all();
    // A name with a dot is a test's own.
    let names = plugins.of_kind::<dyn Criterion>().map(|entry| entry.name()).filter(|name| !name.contains('.'));
    assert_eq!(answered, names.collect::<BTreeSet<_>>());
}

pub(crate) fn random_scores_are_uniform(device: &Device) {
    let model = LinearConfig::new(256, 256).with_bias(false).init(device);
    let drawn = |seed: u64| {
        let criterion = json!({ "name": "random", "seed": seed });
        let path = "weight".to_string();
        scores(&model, &criterion, json!("element"), &[&path], &CriterionInputs::new()).remove("weight").unwrap()
    };
    let all = [0, 1, u64::MAX].map(drawn);
    assert_eq!(all[1], drawn(1));
    let n = all[0].len() as f64;
    let mean = |f: &mut dyn FnMut(usize) -> f64| (0..all[0].len()).map(f).sum::<f64>() / n;
    // Five standard deviations of each figure over 65,536 independent draws.
    let near = |found: f64, expected: f64, variance: f64| (found - expected).abs() < 5.0 * (variance / n).sqrt();
    for (which, scores) in all.iter().enumerate() {
        assert!(scores.iter().all(|s| (0.0..1.0).contains(s)));
        assert!(near(mean(&mut |i| scores[i]), 1.0 / 2.0, 1.0 / 12.0), "mean of {which}");
        assert!(near(mean(&mut |i| (scores[i] - 0.5).powi(2)), 1.0 / 12.0, 1.0 / 180.0), "variance of {which}");
        for bin in 0..16 {
            let share = mean(&mut |i| f64::from(u8::from((scores[i] * 16.0) as usize == bin)));
            assert!(near(share, 1.0 / 16.0, 15.0 / 256.0), "share of bin {bin} of {which}");
        }
        // Neither with the next weight, nor with the same weight under another seed.
        let other = &all[(which + 1) % all.len()];
        for (of, lag) in [(scores, 1), (scores, 256), (other, 0)] {
            let product = mean(&mut |i| (scores[i] - 0.5) * (of[(i + lag) % of.len()] - 0.5));
            assert!(near(product, 0.0, 1.0 / 144.0), "correlation of {which}, {lag} apart");
        }
    }
}

/// Numbers by hand, in the order of memory: by absolute value, with the factor of the layer, from inputs, with a mask.
pub(crate) fn scores_are_data_as_they_rank(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = LinearConfig::new(2, 3).with_bias(false).init(&device);
    let weight = [[3.0, -4.0, 0.0], [0.0, 12.0, 0.0]];
    model.weight = Param::from_tensor(Tensor::<2>::from_data(weight, &device).require_grad());
    // The gradient of a weight is the entry of `x` that it meets.
    let loss = |model: &Linear, x: &Tensor<2>| model.forward(x.clone()).sum();
    let batches = [Tensor::from_data([[1.0, 2.0]], &device)];
    let inputs = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches, loss).unwrap();
    let pruner = |criterion: &str| crate::pruner(&format!("sparsity = 0.5\ncriterion = {criterion}"));
    for (criterion, expected) in [
        ("\"magnitude\"", [3.0, 4.0, 0.0, 0.0, 12.0, 0.0]),
        ("\"l2_relative\"", [3.0, 4.0, 0.0, 0.0, 12.0, 0.0].map(|w| w / 13.0)),
        ("\"snip\"", [3.0, 4.0, 0.0, 0.0, 24.0, 0.0]),
        ("{ name = \"taylor\", squared = true }", [9.0, 16.0, 0.0, 0.0, 576.0, 0.0]),
    ] {
        let scores = pruner(criterion).scores(&model, &inputs).unwrap();
        assert_eq!((scores.len(), &*scores[0].path, &*scores[0].shape), (1, "weight", &[2, 3][..]));
        let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-5 * b.abs();
        let same = scores[0].scores.iter().zip(expected).all(|(a, b)| *a == b || near((a, b)));
        assert!(same && scores[0].scores.len() == 6, "{criterion}: {scores:?}, expected {expected:?}");
    }
    // What the criterion needs must be there, and nothing is pruned.
    let error = pruner("\"snip\"").scores(&model, None).unwrap_err().to_string();
    assert!(error.starts_with("criterion snip needs: gradient"), "{error}");
    assert!(pruning_burn::mask::masks(&model).is_empty());
    // What is pruned counts as zero.
    pruner("\"magnitude\"").with_amount(pruning_burn::budget::Amount::Count(5)).prune(&mut model, None).unwrap();
    let scores = pruner("\"magnitude\"").scores(&model, None).unwrap();
    assert_eq!(scores[0].scores, [0.0, 0.0, 0.0, 0.0, 12.0, 0.0]);
}
