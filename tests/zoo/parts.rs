//! What the networks of the zoo are made of, and what a test asks of each.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2dConfig, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::kind::Basic;
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::shrink::Fields;
use pruning_burn::trace::{Identified, Scope, Trace, Values};
use pruning_tests::models::numbers;

/// A tensor that goes into a network or comes out of it.
pub(crate) trait Port: Clone {
    fn declare(&self, scope: &mut Scope) -> Self;
    fn announce(self, scope: &mut Scope);
    fn values(self) -> Values;
    fn first(values: &Values) -> Self;
    fn data(self) -> TensorData;
}

impl<const D: usize, K: Identified + Basic> Port for Tensor<D, K> {
    fn declare(&self, scope: &mut Scope) -> Self {
        scope.input(self)
    }

    fn announce(self, scope: &mut Scope) {
        scope.output(self);
    }

    fn values(self) -> Values {
        Values::new().with(self)
    }

    fn first(values: &Values) -> Self {
        values.get(0).unwrap()
    }

    fn data(self) -> TensorData {
        self.into_data()
    }
}

/// A network of the zoo.
pub(crate) trait Network: Module + 'static {
    type Input: Port;
    type Output: Port;

    /// Small enough to be run, with weights.
    fn small(device: &Device) -> Self;
    /// An input of the small one.
    fn example(device: &Device) -> Self::Input;
    fn infer(&self, x: Self::Input) -> Self::Output;
    fn fields(&mut self, _: &mut Fields) {}
}

/// Makes networks shrink as the models of the tests of shrinking do.
macro_rules! shrink {
    ($($network:ty),+ $(,)?) => {$(
        impl pruning_tests::shrinking::Shrinks for $network {
            fn new(device: &burn::tensor::Device) -> Self {
                <Self as $crate::parts::Network>::small(device)
            }

            fn forward(&self, scope: &mut pruning_burn::trace::Scope, device: &burn::tensor::Device) {
                use $crate::parts::{Network, Port};
                let x = Self::example(device).declare(scope);
                self.infer(x).announce(scope);
            }

            fn set(&mut self, fields: &mut pruning_burn::shrink::Fields) {
                $crate::parts::Network::fields(self, fields);
            }
        }
    )+};
}
pub(crate) use shrink;

/// The forward pass of a network on inputs like `x`.
pub(crate) fn recorded<N: Network>(network: &N, x: &N::Input) -> Trace {
    let forward = |n: &N, s: &mut Scope| n.infer(x.declare(s)).announce(s);
    Trace::record(network, forward).unwrap()
}

/// Numbers of a shape.
pub(crate) fn data<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product(), 21), shape), device)
}

/// Weights for which signals keep their size through many layers, from `seed`; positive variances.
pub(crate) fn weighted<M: Module>(module: M, seed: u64) -> M {
    struct Fill {
        path: Vec<String>,
        seed: u64,
    }

    impl ModuleMapper for Fill {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.seed += 1;
            let variance = self.path.last().is_some_and(|name| name == "running_var");
            param.map(|old| {
                let shape = old.dims();
                let mut values = numbers(shape.iter().product(), self.seed);
                let fan_in: usize = if D == 2 { shape[0] } else { shape[1.min(D - 1)..].iter().product() };
                let scale = if D == 1 { 1.0 } else { (6.0 / fan_in as f32).sqrt() };
                values.iter_mut().for_each(|v| *v = if variance { 0.2 + v.abs() } else { *v * scale });
                Tensor::from_data(TensorData::new(values, shape), &old.device())
            })
        }
    }

    module.map(&mut Fill { path: Vec::new(), seed: seed * 1000 })
}

/// Ids of all parameters, by path.
pub(crate) fn ids<M: Module>(model: &M) -> Vec<ParamId> {
    struct Ids(Vec<ParamId>);

    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id);
        }
    }

    let mut ids = Ids(Vec::new());
    model.visit(&mut ids);
    ids.0
}

/// A convolution, batch norm and what follows.
#[derive(Module, Debug)]
pub(crate) struct ConvNorm {
    pub(crate) conv: Conv2d,
    pub(crate) norm: BatchNorm,
}

/// Channels, kernel, stride, and groups of a convolution that keeps the size of a picture at stride 1.
#[derive(Clone, Copy)]
pub(crate) struct Shape(pub(crate) usize, pub(crate) usize, pub(crate) usize, pub(crate) usize, pub(crate) usize);

pub(crate) fn conv_of(Shape(from, to, kernel, stride, groups): Shape, bias: bool, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_groups(groups)
        .with_bias(bias)
        .with_initializer(Initializer::Zeros)
        .init(device)
}

impl ConvNorm {
    pub(crate) fn new(from: usize, to: usize, kernel: usize, stride: usize, device: &Device) -> Self {
        Self::of(Shape(from, to, kernel, stride, 1), device)
    }

    pub(crate) fn depthwise(channels: usize, stride: usize, device: &Device) -> Self {
        Self::of(Shape(channels, channels, 3, stride, channels), device)
    }

    fn of(shape: Shape, device: &Device) -> Self {
        Self { conv: conv_of(shape, false, device), norm: BatchNormConfig::new(shape.1).init(device) }
    }

    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

pub(crate) fn linear(from: usize, to: usize, device: &Device) -> Linear {
    LinearConfig::new(from, to).with_initializer(Initializer::Zeros).init(device)
}

/// The mean of each channel.
pub(crate) fn pooled(x: Tensor<4>) -> Tensor<2> {
    AdaptiveAvgPool2dConfig::new([1, 1]).init().forward(x).flatten(1, 3)
}

pub(crate) fn max_pool(x: Tensor<4>, kernel: usize, stride: usize) -> Tensor<4> {
    let pad = if kernel > stride { kernel / 2 } else { 0 };
    MaxPool2dConfig::new([kernel, kernel])
        .with_strides([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .init()
        .forward(x)
}
