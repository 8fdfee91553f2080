//! The product of the Hessian with the gradient, on networks with kinks: see `vectors/hessian.py`.

use super::fixtures::{Batch, Parameter, filled};
use super::scores;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, CriterionInputs, InputError, LayerView, Need, Needs};
use pruning_burn::{Pruner, register_criterion};
use pruning_tests::devices::{computes_in_double, precise};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;

/// What the script found for one network.
#[derive(Deserialize)]
struct Case {
    model: String,
    inputs: Vec<usize>,
    outputs: usize,
    parameters: BTreeMap<String, Parameter>,
    batches: Vec<Batch>,
    hessian_gradient: BTreeMap<String, Vec<f64>>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../vectors/hessian.json")).unwrap()
}

/// The product itself.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Product {}

impl Plugin for Product {
    const NAME: &'static str = "test.hessian_gradient";
    const SUMMARY: &'static str = "The product of the Hessian with the gradient.";
}

impl Criterion for Product {
    fn needs(&self) -> Needs {
        Need::HESSIAN_GRADIENT.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        layer.hessian_gradient()
    }
}

register_criterion!(Product);

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Mlp {
    fn new(case: &Case, device: &Device) -> Self {
        let model = Self {
            fc1: LinearConfig::new(12, 24).init(device),
            fc2: LinearConfig::new(24, 16).init(device),
            fc3: LinearConfig::new(16, 5).init(device),
        };
        filled(model, &case.parameters)
    }

    fn loss(&self, (x, y): &(Tensor<2>, Tensor<2>)) -> Tensor<1> {
        let dtype = self.fc1.weight.dtype();
        let x = relu(self.fc1.forward(x.clone().cast(dtype)));
        cross_entropy(self.fc3.forward(relu(self.fc2.forward(x))), y)
    }
}

#[derive(Module, Debug)]
struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    head: Linear,
    pool: MaxPool2d,
}

impl Cnn {
    fn new(case: &Case, device: &Device) -> Self {
        let model = Self {
            conv1: Conv2dConfig::new([1, 4], [3, 3]).init(device),
            conv2: Conv2dConfig::new([4, 6], [3, 3]).init(device),
            head: LinearConfig::new(24, 4).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        };
        filled(model, &case.parameters)
    }

    fn loss(&self, (x, y): &(Tensor<4>, Tensor<2>)) -> Tensor<1> {
        let x = x.clone().cast(self.conv1.weight.dtype());
        let x = self.pool.forward(relu(self.conv1.forward(x)));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        cross_entropy(self.head.forward(x.flatten(1, 3)), y)
    }
}

/// Of logits, in their own type.
fn cross_entropy(logits: Tensor<2>, y: &Tensor<2>) -> Tensor<1> {
    let examples = y.dims()[0] as f64;
    (log_softmax(logits.clone(), 1) * y.clone().cast(logits.dtype())).sum().neg() / examples
}

fn batches<const D: usize>(case: &Case, device: &Device) -> Vec<(Tensor<D>, Tensor<2>)> {
    let tensor = |values: &[f32], shape: &[usize]| TensorData::new(values.to_vec(), shape.to_vec());
    let batch = |batch: &Batch| {
        let y = tensor(&batch.y, &[case.inputs[0], case.outputs]);
        (Tensor::from_data(tensor(&batch.x, &case.inputs), device), Tensor::from_data(y, device))
    };
    case.batches.iter().map(batch).collect()
}

/// The relative error of all parameters together, by the Euclidean norm.
fn error<M: Module, const D: usize>(
    case: &Case,
    model: &M,
    device: &Device,
    loss: impl Fn(&M, &(Tensor<D>, Tensor<2>)) -> Tensor<1>,
) -> f64 {
    let inputs =
        CriterionInputs::new().with_gradients(model, Need::HESSIAN_GRADIENT, &batches(case, device), loss).unwrap();
    let paths: Vec<_> = case.hessian_gradient.keys().collect();
    let found = scores(model, &json!(Product::NAME), json!("element"), &paths, &inputs);
    let (mut off, mut all) = (0.0, 0.0);
    for (path, expected) in &case.hessian_gradient {
        assert_eq!(found[path].len(), expected.len(), "{path}");
        off += found[path].iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        all += expected.iter().map(|b| b.powi(2)).sum::<f64>();
    }
    (off / all).sqrt()
}

pub(crate) fn hessian_products_are_those_of_two_backward_passes(device: &Device) {
    let device = precise(device);
    for case in cases() {
        let error = match case.model.as_str() {
            "mlp" => error(&case, &Mlp::new(&case, &device), &device, Mlp::loss),
            _ => error(&case, &Cnn::new(&case, &device), &device, Cnn::loss),
        };
        // Scores are in single precision; a thousandth is what is promised.
        assert!(error < 1e-5, "{}: off by {error:e}", case.model);
    }
}

/// Collected where there is double precision, and used where the model is.
pub(crate) fn hessian_products_follow_the_model(device: &Device) {
    let case = cases().remove(0);
    let exact = precise(device);
    let examples = batches::<2>(&case, &exact);
    let inputs = CriterionInputs::new()
        .with_gradients(&Mlp::new(&case, &exact), Need::HESSIAN_GRADIENT, &examples, Mlp::loss)
        .unwrap();
    let mut model = Mlp::new(&case, &device.clone().autodiff());
    let pruner = Pruner::from_toml("criterion = \"grasp\"\nsparsity = 0.5", &pruning_plugins::all()).unwrap();
    let report = pruner.prune(&mut model, &inputs).unwrap();
    assert_eq!(report.kept() * 2, report.weights());
    // A mask goes into double precision with its weight.
    let masked = model.clone().to_device(&exact);
    assert!(CriterionInputs::new().with_gradients(&masked, Need::HESSIAN_GRADIENT, &examples, Mlp::loss).is_ok());
    if !computes_in_double(device) {
        let batches = batches(&case, &device.clone().autodiff());
        let error =
            CriterionInputs::new().with_gradients(&model, Need::HESSIAN_GRADIENT, &batches, Mlp::loss).unwrap_err();
        assert!(matches!(error, InputError::NoDouble { .. }), "{error}");
    }
}

pub(crate) fn a_loss_without_a_hessian_is_an_error(device: &Device) {
    let device = precise(device);
    let case = cases().remove(0);
    let (model, batches) = (Mlp::new(&case, &device), batches::<2>(&case, &device));
    let refused = |loss: &dyn Fn(&Mlp, &(Tensor<2>, Tensor<2>)) -> Tensor<1>| {
        CriterionInputs::new().with_gradients(&model, Need::HESSIAN_GRADIENT, &batches, loss).unwrap_err()
    };
    // In single precision from the start, at the end, and in between.
    let single = refused(&|m, (x, _)| m.fc1.forward(x.clone()).square().mean());
    assert!(matches!(&single, InputError::NotDouble { batch: 0, .. }), "{single}");
    let end = refused(&|m, batch| m.loss(batch).cast(DType::F32));
    assert!(matches!(&end, InputError::NotDouble { found, .. } if found.contains("F32")), "{end}");
    let between = refused(&|m, (x, y)| {
        let x = relu(m.fc1.forward(x.clone().cast(DType::F64))).cast(DType::F32).cast(DType::F64);
        cross_entropy(m.fc3.forward(relu(m.fc2.forward(x))), y)
    });
    assert!(matches!(between, InputError::Uncertain { .. }), "{between}");
    // Another loss at every call.
    let calls = Cell::new(0.0);
    let random = refused(&|m, batch| {
        calls.set(calls.get() + 1.0);
        m.loss(batch) * (1.0 + 0.1 * f64::sin(calls.get()))
    });
    assert!(matches!(random, InputError::Uncertain { .. }), "{random}");
    // ReLUs of exactly zero, which some outputs leave on one side and some on the other: no bias, and an example of zeros.
    let mut dark = model.clone();
    dark.fc1.bias = dark.fc1.bias.map(|bias| bias.map(|bias| bias.zeros_like()));
    let rows = Tensor::<2>::from_data([[0.0], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0]], &device);
    let dimmed: Vec<_> = batches.iter().map(|(x, y)| (x.clone() * rows.clone(), y.clone())).collect();
    let kink = CriterionInputs::new().with_gradients(&dark, Need::HESSIAN_GRADIENT, &dimmed, Mlp::loss).unwrap_err();
    assert!(matches!(kink, InputError::Uncertain { .. }), "{kink}");
    // Where nothing bends, there is nothing to be uncertain of.
    let line = |m: &Mlp, (x, _): &(Tensor<2>, Tensor<2>)| m.fc1.forward(x.clone().cast(m.fc1.weight.dtype())).sum();
    assert!(CriterionInputs::new().with_gradients(&model, Need::HESSIAN_GRADIENT, &batches, line).is_ok());
}
