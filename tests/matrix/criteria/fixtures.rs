//! The models of `vectors/criteria.py`, with their weights and batches.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::{log_softmax, relu, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::score::{CriterionInputs, Need};
use pruning_tests::devices::precise;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Deserialize)]
pub(crate) struct Parameter {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
pub(crate) struct Batch {
    pub(crate) x: Vec<f32>,
    pub(crate) y: Vec<f32>,
}

/// A model of the script, and its data.
#[derive(Deserialize)]
pub(crate) struct Given {
    pub(crate) model: String,
    rate: f64,
    inputs: Vec<usize>,
    outputs: usize,
    parameters: BTreeMap<String, Parameter>,
    batches: Vec<Batch>,
}

impl Given {
    /// Whether the model is the Cnn.
    pub(crate) fn has_images(&self) -> bool {
        self.inputs.len() == 4
    }
}

#[derive(Module, Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    smooth: bool,
}

impl Mlp {
    /// With the values of the script, and all that criteria look at.
    pub(crate) fn new(given: &Given, device: &Device) -> (Self, CriterionInputs) {
        let model = Self {
            fc1: LinearConfig::new(6, 7).init(device),
            fc2: LinearConfig::new(7, 4).init(device),
            smooth: given.model == "mlp_tanh",
        };
        let model = filled(model, &given.parameters);
        let inputs = collected(&model, given, device, Self::loss, Self::forward);
        (model, inputs)
    }

    fn loss(&self, (x, y): &(Tensor<2>, Tensor<2>)) -> Tensor<1> {
        (self.forward(x.clone()) - y.clone().cast(self.fc1.weight.dtype())).square().mean()
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.fc1.forward(x.cast(self.fc1.weight.dtype()));
        self.fc2.forward(if self.smooth { tanh(hidden) } else { relu(hidden) })
    }
}

#[derive(Module, Debug)]
pub(crate) struct Cnn {
    conv1: Conv2d,
    norm: BatchNorm,
    conv2: Conv2d,
    head: Linear,
}

impl Cnn {
    /// As [`Mlp::new`].
    pub(crate) fn new(given: &Given, device: &Device) -> (Self, CriterionInputs) {
        let model = Self {
            conv1: Conv2dConfig::new([2, 4], [3, 3]).init(device),
            norm: BatchNormConfig::new(4).init(device),
            conv2: Conv2dConfig::new([4, 5], [3, 2]).with_bias(false).init(device),
            head: LinearConfig::new(5, 3).init(device),
        };
        let model = filled(model, &given.parameters);
        let inputs = collected(&model, given, device, Self::loss, Self::forward);
        (model, inputs)
    }

    fn loss(&self, (x, y): &(Tensor<4>, Tensor<2>)) -> Tensor<1> {
        let examples = y.dims()[0] as f64;
        (log_softmax(self.forward(x.clone()), 1) * y.clone().cast(self.head.weight.dtype())).sum().neg() / examples
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = x.cast(self.conv1.weight.dtype());
        let x = tanh(self.norm.forward(self.conv1.forward(x)));
        let x = tanh(self.conv2.forward(x));
        self.head.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3))
    }
}

/// A module with the values of the script; a Linear is `[out, in]` there and `[in, out]` here.
pub(crate) fn filled<M: Module>(module: M, values: &BTreeMap<String, Parameter>) -> M {
    struct Fill {
        path: Vec<String>,
        values: BTreeMap<String, Parameter>,
    }

    impl ModuleMapper for Fill {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join(".");
            let Parameter { shape, values } = self.values.remove(&path).unwrap_or_else(|| panic!("{path}"));
            param.map(|old| {
                let new = Tensor::<D>::from_data(TensorData::new(values, shape), &old.device());
                let new = if D == 2 { new.swap_dims(0, 1) } else { new };
                assert_eq!(new.dims(), old.dims(), "{path}");
                Tensor::from_inner(new.without_autodiff()).set_require_grad(old.is_require_grad())
            })
        }
    }

    let mut fill = Fill { path: Vec::new(), values: values.clone() };
    let module = module.map(&mut fill);
    assert!(fill.values.is_empty(), "{:?}", fill.values.keys());
    module
}

/// Everything that criteria look at, collected as a user does, from the data of the script.
fn collected<M: Module, const D: usize>(
    model: &M,
    given: &Given,
    device: &Device,
    loss: impl Fn(&M, &(Tensor<D>, Tensor<2>)) -> Tensor<1>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<2>,
) -> CriterionInputs {
    let tensor = |values: &[f32], shape: &[usize]| TensorData::new(values.to_vec(), shape.to_vec());
    let batches = |device: &Device| -> Vec<_> {
        let batch = |batch: &Batch| {
            let y = tensor(&batch.y, &[given.inputs[0], given.outputs]);
            (Tensor::<D>::from_data(tensor(&batch.x, &given.inputs), device), Tensor::<2>::from_data(y, device))
        };
        given.batches.iter().map(batch).collect()
    };
    let exact = precise(device);
    let copy = model.valid().to_device(&exact).train();
    let inputs = CriterionInputs::new().with_gradients(&copy, Need::HESSIAN_GRADIENT, &batches(&exact), &loss).unwrap();
    let (first, batches) = (Need::GRADIENT | Need::SQUARED_GRADIENT, batches(device));
    let inputs = inputs.with_gradients(model, first, &batches, &loss).unwrap();
    let mut one = given.inputs.clone();
    one[0] = 1;
    let mut inputs = inputs.with_flow(model, |m: &M| forward(m, Tensor::ones(one.clone(), device))).unwrap();
    let (mut trained, mut optimizer) = (model.clone(), SgdConfig::new().init());
    for batch in &batches {
        let gradients = GradientsParams::from_grads(loss(&trained, batch).backward(), &trained);
        inputs.record_movement(&trained, &gradients);
        trained = optimizer.step(given.rate, trained, gradients);
    }
    inputs
}
