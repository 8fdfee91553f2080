//! Known answers for criteria that look at activations: see `vectors/activation.py`.

use crate::criteria::{Layers, TOLERANCE, scores};
use burn::module::{Module, Param};
use burn::nn::conv::Conv2dConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::budget::Sparsity;
use pruning_burn::mask::{Bits, Mask, MaskSet, attach, masks};
use pruning_burn::score::{CriterionInputs, MatrixLayout, Need};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Layer(Given),
    Projection(Projection),
    Mask(Chosen),
    Scores(Scored),
}

/// A layer, in the matrix view.
#[derive(Deserialize)]
struct Given {
    layer: String,
    shape: Vec<usize>,
    weight: Vec<f32>,
    alive: Vec<u8>,
    inputs: BTreeMap<String, Vec<f32>>,
}

/// A linear layer with batches of one example.
#[derive(Deserialize)]
struct Projection {
    rows: usize,
    cols: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Chosen {
    layer: String,
    criterion: Value,
    compare: String,
    sparsity: f64,
    keep: Vec<u8>,
}

#[derive(Deserialize)]
struct Scored {
    #[serde(default)]
    layer: String,
    criterion: Value,
    granularity: Value,
    scores: Vec<f64>,
}

fn lines() -> Vec<Line> {
    serde_json::from_str(include_str!("../../vectors/activation.json")).unwrap()
}

/// The criteria that have answers here.
pub(super) fn answered() -> BTreeSet<String> {
    let of = |line| match line {
        Line::Mask(Chosen { criterion, .. }) | Line::Scores(Scored { criterion, .. }) => Some(criterion),
        Line::Layer(_) | Line::Projection(_) => None,
    };
    lines().into_iter().filter_map(of).map(|criterion| criterion["name"].as_str().unwrap().to_string()).collect()
}

fn tensor(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// Numbers of the matrix view in the order of memory.
fn in_memory<T: Copy + Default>(layout: &MatrixLayout, values: &[T]) -> Vec<T> {
    let mut memory = vec![T::default(); values.len()];
    values.iter().enumerate().for_each(|(i, v)| memory[layout.flat(i / layout.cols(), i % layout.cols())] = *v);
    memory
}

fn near(found: &Layers, expected: &[f64], about: &str) {
    let found = &found["weight"];
    assert_eq!(found.len(), expected.len(), "{about}");
    let largest = expected.iter().fold(0.0f64, |max, v| max.max(v.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= TOLERANCE * largest, "{about}: score {i} is {found}, expected {expected}");
    }
}

impl Given {
    fn inputs<M: Module>(&self, model: &M, device: &Device) -> CriterionInputs {
        let needs = [Need::INPUT_NORM, Need::INPUT_ACTIVATION, Need::OUTPUT_ZEROS, Need::OUTPUT_RANK];
        needs.into_iter().fold(CriterionInputs::new(), |inputs, need| {
            let values = tensor(&self.inputs[need.name()], device);
            inputs.with_input(need, model, [("weight", values)]).unwrap()
        })
    }

    fn check<M: Module>(&self, mut model: M, layout: &MatrixLayout, lines: &[Line], device: &Device) {
        let inputs = self.inputs(&model, device);
        if self.alive.contains(&0) {
            let alive: Vec<_> = in_memory(layout, &self.alive).iter().map(|alive| *alive == 1).collect();
            let shape = if self.shape.len() == 2 { vec![self.shape[1], self.shape[0]] } else { self.shape.clone() };
            let mask = Mask::new(shape, Bits::from_bools(&alive)).unwrap();
            attach(&mut model, &MaskSet::new([("weight".to_string(), mask)]).unwrap()).unwrap();
        }
        let path = "weight".to_string();
        for line in lines {
            match line {
                Line::Scores(Scored { layer, criterion, granularity, scores: expected }) if *layer == self.layer => {
                    let found = scores(&model, criterion, granularity.clone(), &[&path], &inputs);
                    near(&found, expected, &format!("{layer} {criterion} {granularity}"));
                }
                Line::Mask(Chosen { layer, criterion, compare, sparsity, keep }) if *layer == self.layer => {
                    let recipe = json!({ "criterion": criterion, "compare": compare, "sparsity": sparsity });
                    let mut model = model.clone();
                    crate::pruner_of(recipe).prune(&mut model, &inputs).unwrap();
                    let expected: Vec<_> = in_memory(layout, keep).iter().map(|keep| *keep == 1).collect();
                    let found = masks(&model).get("weight").unwrap().bits().to_bools();
                    assert!(found == expected, "{layer} {criterion} {compare} {sparsity}");
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn activations_score_as_the_papers_say(device: &Device) {
    let lines = lines();
    let mut layers = 0;
    for given in &lines {
        let Line::Layer(given) = given else { continue };
        layers += 1;
        let (rows, cols) = (given.shape[0], given.shape[1..].iter().product());
        if given.shape.len() == 2 {
            let layout = MatrixLayout::column_major(rows, cols);
            let mut model = LinearConfig::new(cols, rows).with_bias(false).init(device);
            let weight = tensor(&in_memory(&layout, &given.weight), device).reshape([cols, rows]);
            model.weight = Param::from_tensor(weight);
            given.check(model, &layout, &lines, device);
        } else {
            let [_, channels, height, width] = given.shape[..] else { panic!("{:?}", given.shape) };
            let mut model = Conv2dConfig::new([channels, rows], [height, width]).with_bias(false).init(device);
            model.weight = Param::from_tensor(tensor(&given.weight, device).reshape([rows, channels, height, width]));
            given.check(model, &MatrixLayout::new(1, rows, cols, height * width), &lines, device);
        }
    }
    assert_eq!(layers, 4);
}

/// The effects of columns, from batches of one example.
pub(crate) fn heads_matter_by_a_factor_on_them(device: &Device) {
    let device = &device.clone().autodiff();
    let lines = lines();
    let given = lines.iter().find_map(|line| if let Line::Projection(given) = line { Some(given) } else { None });
    let Projection { rows, cols, weight, bias, x, y } = given.unwrap();
    let mut model = LinearConfig::new(*cols, *rows).init(device);
    model.weight = Param::from_tensor(tensor(weight, device).reshape([*rows, *cols]).transpose().require_grad());
    model.bias = Some(Param::from_tensor(tensor(bias, device).require_grad()));
    let row = |values: &Vec<f32>| tensor(values, device).reshape([1, values.len()]);
    let batches: Vec<_> = x.iter().zip(y).map(|(x, y)| (row(x), row(y))).collect();
    let loss = |model: &Linear, (x, y): &(Tensor<2>, Tensor<2>)| (model.forward(x.clone()) - y.clone()).square().mean();
    let inputs = CriterionInputs::new().with_gradients(&model, Need::COLUMN_EFFECT, &batches, loss).unwrap();
    let (path, mut cases) = ("weight".to_string(), 0);
    for line in &lines {
        let Line::Scores(Scored { criterion, granularity, scores: expected, .. }) = line else { continue };
        if criterion["name"] == "head_importance" {
            let found = scores(&model, criterion, granularity.clone(), &[&path], &inputs);
            near(&found, expected, &format!("{criterion}"));
            cases += 1;
        }
    }
    assert_eq!(cases, 6);
    // Of another model there are none, and twelve channels are no heads of five.
    let recipe = |size: usize| json!({ "criterion": { "name": "head_importance", "size": size }, "sparsity": 0.5 });
    let error = crate::pruner_of(recipe(5)).prune(&mut model, &inputs).unwrap_err().to_string();
    assert!(error.contains("12 input channels are no whole number of heads of size = 5"), "{error}");
    let error = crate::pruner_of(recipe(4)).prune(&mut model, None).unwrap_err().to_string();
    assert!(error.starts_with("criterion head_importance needs: column_effect"), "{error}");
}

/// Rounds of pruning, each of which leaves as many weights in every row.
pub(crate) fn rows_stay_even_over_rounds(device: &Device) {
    let mut model = LinearConfig::new(40, 12).with_bias(false).init(device);
    let pruner = |allocator: &str| {
        let recipe = json!({ "criterion": "random", "compare": "row", "allocator": allocator, "sparsity": 0.9 });
        crate::pruner_of(recipe)
    };
    for (allocator, sparsity, each) in [("uniform", 0.5, 20), ("global", 0.75, 10), ("owl", 0.9, 4)] {
        let amount = pruning_burn::budget::Amount::OfTotal(Sparsity::new(sparsity).unwrap());
        pruner(allocator).with_amount(amount).prune(&mut model, None).unwrap();
        let keep = masks(&model).get("weight").unwrap().bits().to_bools();
        for row in 0..12 {
            assert_eq!((0..40).filter(|col| keep[col * 12 + row]).count(), each, "{allocator} {sparsity}, row {row}");
        }
    }
}
