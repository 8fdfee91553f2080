//! Networks without branches: LeNet-5 and VGG.

use crate::parts::{Network, Shape, conv_of, data, linear, max_pool, shrink, weighted};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// LeNet-5 in the variant of Caffe: two convolutions of 5 by 5, two linear layers.
#[derive(Module, Debug)]
pub(crate) struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}

impl LeNet {
    /// Widths of the convolutions and the hidden layer.
    pub(crate) fn of([a, b, hidden]: [usize; 3], device: &Device) -> Self {
        let conv = |from, to| Conv2dConfig::new([from, to], [5, 5]).with_initializer(Initializer::Zeros).init(device);
        Self {
            conv1: conv(1, a),
            conv2: conv(a, b),
            fc1: linear(b * 16, hidden, device),
            fc2: linear(hidden, 10, device),
        }
    }
}

impl Network for LeNet {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn small(device: &Device) -> Self {
        weighted(Self::of([6, 10, 16], device), 1)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 1, 28, 28], device)
    }

    fn infer(&self, x: Tensor<4>) -> Tensor<2> {
        let x = max_pool(self.conv1.forward(x), 2, 2);
        let x = max_pool(self.conv2.forward(x), 2, 2);
        self.fc2.forward(relu(self.fc1.forward(x.flatten(1, 3))))
    }
}

/// A convolution of VGG.
#[derive(Module, Debug)]
struct Layer {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

/// VGG-16, with or without batch norm.
#[derive(Module, Debug)]
pub(crate) struct Vgg {
    stages: Vec<Vec<Layer>>,
    head: Vec<Linear>,
}

impl Vgg {
    /// Widths of the five stages and of the hidden layers; side of the last map.
    pub(crate) fn of(
        widths: [usize; 5],
        hidden: usize,
        side: usize,
        classes: usize,
        norm: bool,
        device: &Device,
    ) -> Self {
        let mut from = 3;
        let stages = widths.iter().zip([2, 2, 3, 3, 3]).map(|(&to, layers)| {
            let layers = (0..layers).map(|_| Layer {
                conv: conv_of(Shape(std::mem::replace(&mut from, to), to, 3, 1, 1), !norm, device),
                norm: norm.then(|| BatchNormConfig::new(to).init(device)),
            });
            layers.collect()
        });
        let stages = stages.collect();
        let head = [(from * side * side, hidden), (hidden, hidden), (hidden, classes)];
        Self { stages, head: head.iter().map(|&(from, to)| linear(from, to, device)).collect() }
    }
}

impl Network for Vgg {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn small(device: &Device) -> Self {
        weighted(Self::of([4, 6, 8, 10, 10], 12, 1, 5, true, device), 2)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 3, 32, 32], device)
    }

    fn infer(&self, mut x: Tensor<4>) -> Tensor<2> {
        for stage in &self.stages {
            for layer in stage {
                x = layer.conv.forward(x);
                x = relu(layer.norm.as_ref().map_or(x.clone(), |norm| norm.forward(x)));
            }
            x = max_pool(x, 2, 2);
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (i, layer) in self.head.iter().enumerate() {
            x = layer.forward(if i > 0 { relu(x) } else { x });
        }
        x
    }
}

shrink!(LeNet, Vgg);
