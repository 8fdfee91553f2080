//! Known answers of `torch.nn.utils.prune`: see `vectors/README.md`.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::budget::{Amount, Rounding, Sparsity};
use pruning_burn::mask::{Bits, Mask, MaskSet, attach, finish, masks, update};
use pruning_burn::plugin::{Plugin, Register};
use pruning_burn::schedule::Curve;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Order};
use pruning_burn::{Pruner, register_criterion};
use pruning_tests::values::weights;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

fn cases(group: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../vectors/torch_prune.json")).unwrap();
    let cases: Vec<_> = all.into_iter().filter(|case| case["group"] == group).collect();
    assert!(!cases.is_empty(), "{group}");
    cases
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

fn kept(value: &Value) -> Vec<bool> {
    list::<u8>(value).into_iter().map(|bit| bit == 1).collect()
}

/// A parameter of any rank, in the layer that has one of that rank.
#[derive(Module, Debug)]
struct Held {
    vector: Option<Vector>,
    linear: Option<Linear>,
    conv1: Option<Conv1d>,
    conv2: Option<Conv2d>,
}

#[derive(Module, Debug)]
struct Vector {
    weight: Param<Tensor<1>>,
}

fn param<const D: usize>(values: Vec<f32>, shape: &[usize], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape.to_vec()), device))
}

impl Held {
    /// From torch's layout: a Linear is `[out, in]` there and `[in, out]` here.
    fn new(case: &Value, device: &Device) -> Self {
        let (shape, values) = (list::<usize>(&case["shape"]), list::<f32>(&case["weight"]));
        let mut held = Self { vector: None, linear: None, conv1: None, conv2: None };
        match *shape.as_slice() {
            [_] => held.vector = Some(Vector { weight: param(values, &shape, device) }),
            [rows, cols] => {
                let mut linear = LinearConfig::new(cols, rows).with_bias(false).init(device);
                linear.weight = linear.weight.map(|old| {
                    let weight = Tensor::<2>::from_data(TensorData::new(values, [rows, cols]), device);
                    weight.transpose().set_require_grad(old.is_require_grad())
                });
                held.linear = Some(linear);
            }
            [out, channels, kernel] => {
                let mut conv = Conv1dConfig::new(channels, out, kernel).with_bias(false).init(device);
                conv.weight = param(values, &shape, device);
                held.conv1 = Some(conv);
            }
            [out, channels, h, w] => {
                let mut conv = Conv2dConfig::new([channels, out], [h, w]).with_bias(false).init(device);
                conv.weight = param(values, &shape, device);
                held.conv2 = Some(conv);
            }
            _ => panic!("no layer of shape {shape:?}"),
        }
        held
    }

    fn path(&self) -> &'static str {
        match self {
            Self { vector: Some(_), .. } => "vector.weight",
            Self { linear: Some(_), .. } => "linear.weight",
            Self { conv1: Some(_), .. } => "conv1.weight",
            _ => "conv2.weight",
        }
    }

    /// Memory order to torch's.
    fn torch<T: Copy>(&self, values: &[T]) -> Vec<T> {
        match &self.linear {
            None => values.to_vec(),
            Some(linear) => {
                let [cols, rows] = linear.weight.dims();
                (0..rows * cols).map(|i| values[i % cols * rows + i / cols]).collect()
            }
        }
    }

    fn mask(&self) -> Vec<bool> {
        self.torch(&masks(self).get(self.path()).unwrap().bits().to_bools())
    }
}

/// `1` is one unit, `1.0` all of them.
fn amount(value: &Value, remain: usize) -> Amount {
    match value.as_u64() {
        Some(count) if value.is_u64() => Amount::Count(count as usize),
        _ => match Sparsity::new(value.as_f64().unwrap()) {
            Ok(fraction) => Amount::OfRemaining(fraction),
            Err(_) => Amount::Count(remain),
        },
    }
}

/// The recipe of one torch call; its amount comes separately. Layers may be emptied, as torch allows.
fn recipe(step: &Value) -> String {
    let head = "sparsity = 0.5\nallow_empty = true\n[target]\ninclude = [\"*.weight\"]\n";
    let norm = |n: &Value| if n == "inf" { "inf".to_string() } else { n.to_string() };
    match step["method"].as_str() {
        Some("ln_structured") => format!(
            "criterion = {{ name = \"magnitude\", p = {} }}\ngranularity = {{ {} }}\n{head}",
            norm(&step["n"]),
            match step["dim"].as_u64().unwrap() {
                0 => "kind = \"channel\", axis = \"output\"".to_string(),
                1 => "kind = \"channel\", axis = \"input\"".to_string(),
                dim => format!("kind = \"kernel\", axis = {}", dim - 2),
            }
        ),
        _ => format!("criterion = \"magnitude\"\n{head}"),
    }
}

/// Units that are not pruned yet, as torch counts them.
fn remaining(held: &Held, step: &Value, shape: &[usize]) -> usize {
    let len: usize = shape.iter().product();
    let mask = match masks(held).get(held.path()) {
        Some(mask) => held.torch(&mask.bits().to_bools()),
        None => vec![true; len],
    };
    match step["method"].as_str() {
        Some("ln_structured") => {
            let dim = step["dim"].as_u64().unwrap() as usize;
            let below: usize = shape[dim + 1..].iter().product();
            (0..shape[dim]).filter(|&unit| (0..len).any(|i| mask[i] && i / below % shape[dim] == unit)).count()
        }
        _ => mask.into_iter().filter(|k| *k).count(),
    }
}

fn apply(held: &mut Held, step: &Value, shape: &[usize]) {
    let by = amount(&step["amount"], remaining(held, step, shape));
    crate::pruner(&recipe(step)).with_amount(by).prune(held, None).unwrap();
}

/// Runs the steps of a case, and compares the mask after each, or the number removed where torch leaves ties open.
fn check(case: &Value, steps: &[Value], expected: &[&Value], device: &Device) {
    let (shape, name) = (list::<usize>(&case["shape"]), &case["name"]);
    let mut held = Held::new(case, device);
    for (step, expected) in steps.iter().zip(expected) {
        apply(&mut held, step, &shape);
        if case["ties"] == true {
            let removed = held.mask().iter().filter(|k| !**k).count();
            assert_eq!(removed as u64, case["removed"].as_u64().unwrap(), "{name}");
        } else {
            assert_eq!(held.mask(), kept(expected), "{name}: {step}");
        }
    }
}

fn step(method: &str, case: &Value, amount: &Value) -> Value {
    json!({ "method": method, "amount": amount, "n": case["n"], "dim": case["dim"] })
}

pub(crate) fn rounding_is_that_of_torch(_: &Device) {
    for case in cases("round") {
        let fraction = case["fraction"].as_f64().unwrap();
        for (units, removed) in list::<usize>(&case["units"]).into_iter().zip(list::<usize>(&case["removed"])) {
            assert_eq!(Rounding::HalfEven.count(fraction, units), removed, "{fraction} of {units}");
        }
    }
}

pub(crate) fn curves_are_their_formulas(_: &Device) {
    for case in cases("curve") {
        let curve = pruning_plugins::all().build::<dyn Curve>(case["kind"].as_str().unwrap(), Value::Null).unwrap();
        let end = |key: &str| Sparsity::new(case[key].as_f64().unwrap()).unwrap();
        for (t, expected) in list::<f64>(&case["progress"]).into_iter().zip(list::<f64>(&case["value"])) {
            let got = curve.sparsity(end("initial"), end("final"), t);
            assert!((got - expected).abs() < 1e-12, "{} at {t}: {got} for {expected}", case["name"]);
        }
    }
}

pub(crate) fn l1_unstructured(device: &Device) {
    for case in cases("l1_unstructured") {
        check(&case, &[step("l1_unstructured", &case, &case["amount"])], &[&case["mask"]], device);
    }
}

pub(crate) fn ln_structured(device: &Device) {
    let zeros: Vec<Value> = serde_json::from_str(include_str!("../vectors/zeros.json")).unwrap();
    assert_eq!(zeros.len(), 11);
    for case in cases("ln_structured").into_iter().chain(zeros) {
        check(&case, &[step("ln_structured", &case, &case["amount"])], &[&case["mask"]], device);
    }
}

/// Several tensors, pruned as one.
fn global(case: &Value, amounts: &[Value], expected: &[Vec<Vec<bool>>], device: &Device) {
    let mut model: Vec<Held> = case["tensors"].as_array().unwrap().iter().map(|t| Held::new(t, device)).collect();
    let text = recipe(&Value::Null).replace("criterion", "allocator = \"global\"\ncriterion");
    let pruner = crate::pruner(&text);
    for (i, step) in amounts.iter().enumerate() {
        let alive = match masks(&model) {
            set if set.is_empty() => model.num_params(),
            set => set.iter().map(|(_, mask)| mask.kept()).sum(),
        };
        pruner.clone().with_amount(amount(step, alive)).prune(&mut model, None).unwrap();
        let set = masks(&model);
        let found: Vec<_> = model
            .iter()
            .enumerate()
            .map(|(m, held)| held.torch(&set.get(&format!("{m}.{}", held.path())).unwrap().bits().to_bools()))
            .collect();
        if case["ties"] == true {
            let removed = found.iter().flatten().filter(|k| !**k).count();
            assert_eq!(removed as u64, case["removed"].as_u64().unwrap(), "{}", case["name"]);
        } else {
            assert_eq!(found, expected[i], "{}: {step}", case["name"]);
        }
    }
}

fn each(masks: &Value) -> Vec<Vec<bool>> {
    masks.as_array().unwrap_or(&Vec::new()).iter().map(kept).collect()
}

pub(crate) fn global_l1(device: &Device) {
    for case in cases("global_l1") {
        global(&case, &[case["amount"].clone()], &[each(&case["masks"])], device);
    }
}

pub(crate) fn repeated_amounts_are_of_what_remains(device: &Device) {
    for (group, method) in [("repeat_l1", "l1_unstructured"), ("repeat_structured", "ln_structured")] {
        for case in cases(group) {
            let steps: Vec<_> = list::<Value>(&case["amounts"]).iter().map(|a| step(method, &case, a)).collect();
            check(&case, &steps, &case["masks"].as_array().unwrap().iter().collect::<Vec<_>>(), device);
        }
    }
    for case in cases("repeat_mixed") {
        let expected: Vec<_> = case["masks"].as_array().unwrap().iter().collect();
        check(&case, &list::<Value>(&case["steps"]), &expected, device);
    }
    for case in cases("repeat_global") {
        let expected: Vec<_> = case["masks"].as_array().unwrap().iter().map(each).collect();
        global(&case, &list::<Value>(&case["amounts"]), &expected, device);
    }
}

pub(crate) fn custom_masks_are_intersected(device: &Device) {
    for case in cases("custom_mask") {
        let shape = list::<usize>(&case["shape"]);
        let mut held = Held::new(&case, device);
        apply(&mut held, &step("l1_unstructured", &case, &case["amount"]), &shape);
        assert_eq!(held.mask(), kept(&case["first_mask"]), "{}", case["name"]);
        // A mask in torch's layout, brought to ours.
        let given = kept(&case["given"]);
        let indices: Vec<usize> = held.torch(&(0..given.len()).collect::<Vec<_>>());
        let mut ours = vec![false; given.len()];
        indices.iter().zip(&given).for_each(|(&at, &keep)| ours[at] = keep);
        let now = masks(&held);
        let mask = Mask::new(now.get(held.path()).unwrap().shape(), Bits::from_bools(&ours)).unwrap();
        let given = MaskSet::new([(held.path().to_string(), mask)]).unwrap();
        update(&mut held, &now.intersection(&given).unwrap()).unwrap();
        assert_eq!(held.mask(), kept(&case["mask"]), "{}", case["name"]);
    }
}

pub(crate) fn gradients(device: &Device) {
    let device = device.clone().autodiff();
    for case in cases("gradient") {
        let shape = list::<usize>(&case["shape"]);
        let mut held = Held::new(&case, &device);
        apply(&mut held, &step("l1_unstructured", &case, &case["amount"]), &shape);
        assert_eq!(held.mask(), kept(&case["mask"]), "{}", case["name"]);
        let mut linear = held.linear.take().unwrap();
        if !case["bias"].is_null() {
            linear.bias = Some(param(list(&case["bias"]), &shape[..1], &device));
        }
        let input = TensorData::new(list::<f32>(&case["input"]), list::<usize>(&case["input_shape"]));
        let output = linear.forward(Tensor::<2>::from_data(input, &device));
        let loss = output.clone().powi_scalar(2).sum();
        let numbers = |data: TensorData| data.iter::<f32>().collect::<Vec<_>>();
        assert_eq!(numbers(output.into_data()), list::<f32>(&case["output"]), "{}", case["name"]);
        let gradients = GradientsParams::from_grads(loss.backward(), &linear);
        let gradient = gradients.get::<2>(linear.weight.id).unwrap().transpose().into_data();
        // By ==: minus zero is zero.
        assert_eq!(numbers(gradient), list::<f32>(&case["grad"]), "{}", case["name"]);
        if let Some(bias) = &linear.bias {
            let gradient = gradients.get::<1>(bias.id).unwrap().into_data();
            assert_eq!(numbers(gradient), list::<f32>(&case["bias_grad"]), "{}", case["name"]);
        }
    }
}

/// Scores from the recipe, in the order of the matrix.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    scores: Vec<f32>,
}

impl Plugin for Given {
    const NAME: &'static str = "test.given";
    const SUMMARY: &'static str = "Scores that are given.";
}

impl Criterion for Given {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        let shape = layer.weight().dims();
        Ok(Tensor::from_data(TensorData::new(self.scores.clone(), shape), &layer.device()))
    }

    fn order(&self) -> Order {
        Order::Absolute
    }
}

register_criterion!(Given);

pub(crate) fn importance_scores(device: &Device) {
    assert_eq!(Given::entry().name(), "test.given");
    for case in cases("importance_scores") {
        let shape = list::<usize>(&case["shape"]);
        let mut held = Held::new(&case, device);
        let norm = if case["n"] == "inf" { json!("inf") } else { case["n"].clone() };
        // The recipe with another criterion.
        let mut value = crate::pruner(&recipe(&case)).recipe().to_value();
        value["criterion"] = json!({ "name": "test.given", "scores": case["scores"] });
        if !norm.is_null() {
            value["reduction"] = json!({ "norm": norm });
        }
        let pruner = pruning_burn::recipe::Recipe::from_value(value, &pruning_plugins::all()).map(Pruner::from);
        let by = amount(&case["amount"], remaining(&held, &case, &shape));
        pruner.unwrap().with_amount(by).prune(&mut held, None).unwrap();
        assert_eq!(held.mask(), kept(&case["mask"]), "{}", case["name"]);
    }
}

pub(crate) fn n_of_m(device: &Device) {
    for case in cases("nm") {
        let mut held = Held::new(&case, device);
        let recipe = format!("criterion = \"magnitude\"\ngranularity = \"{}:{}\"", case["n"], case["m"]);
        crate::pruner(&recipe).prune(&mut held, None).unwrap();
        assert_eq!(held.mask(), kept(&case["mask"]), "{}", case["name"]);
    }
}

pub(crate) fn remove_and_identity(device: &Device) {
    for case in cases("remove") {
        let shape = list::<usize>(&case["shape"]);
        let mut held = Held::new(&case, device);
        for step in list::<Value>(&case["steps"]) {
            apply(&mut held, &step, &shape);
        }
        assert_eq!(held.mask(), kept(&case["mask"]), "{}", case["name"]);
        finish(&mut held).unwrap();
        let value = held.torch(&weights(&held, held.path()));
        assert_eq!(value, list::<f32>(&case["value"]), "{}", case["name"]);
    }
    for case in cases("identity") {
        let shape = list::<usize>(&case["shape"]);
        let mut held = Held::new(&case, device);
        let open = Mask::dense(list_shape(&held)).unwrap();
        let open = MaskSet::new([(held.path().to_string(), open)]).unwrap();
        attach(&mut held, &open).unwrap();
        assert!(held.mask().iter().all(|k| *k), "{}", case["name"]);
        apply(&mut held, &step("l1_unstructured", &case, &case["amount"]), &shape);
        assert_eq!(held.mask(), kept(&case["mask"]), "{}", case["name"]);
    }
}

fn list_shape(held: &Held) -> Vec<usize> {
    pruning_tests::values::base(held)[held.path()].shape().to_vec()
}
