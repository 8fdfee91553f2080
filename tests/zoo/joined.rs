//! Networks that put channels beside each other: DenseNet, ShuffleNetV2, U-Net.

use crate::parts::{ConvNorm, Network, Shape, conv_of, data, linear, max_pool, pooled, shrink, weighted};
use burn::module::Module;
use burn::nn::conv::{Conv2d, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::AvgPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink::Fields;

/// Batch norm, ReLU, convolution.
#[derive(Module, Debug)]
struct NormConv {
    norm: BatchNorm,
    conv: Conv2d,
}

impl NormConv {
    fn new(from: usize, to: usize, kernel: usize, device: &Device) -> Self {
        let conv = conv_of(Shape(from, to, kernel, 1, 1), false, device);
        Self { norm: BatchNormConfig::new(from).init(device), conv }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(relu(self.norm.forward(x)))
    }
}

/// A block of DenseNet and the transition after it.
#[derive(Module, Debug)]
struct DenseBlock {
    narrow: Vec<NormConv>,
    grow: Vec<NormConv>,
    transition: Option<NormConv>,
}

/// DenseNet with bottlenecks and transitions that halve.
#[derive(Module, Debug)]
pub(crate) struct DenseNet {
    stem: ConvNorm,
    blocks: Vec<DenseBlock>,
    norm: BatchNorm,
    head: Linear,
}

impl DenseNet {
    pub(crate) fn of(stem: usize, growth: usize, blocks: &[usize], classes: usize, device: &Device) -> Self {
        let mut width = stem;
        let count = blocks.len();
        let blocks = blocks.iter().enumerate().map(|(i, &layers)| {
            let at = |l: usize| width + l * growth;
            let narrow = (0..layers).map(|l| NormConv::new(at(l), 4 * growth, 1, device)).collect();
            let grow = (0..layers).map(|_| NormConv::new(4 * growth, growth, 3, device)).collect();
            width = at(layers);
            let transition = (i + 1 < count).then(|| {
                let from = width;
                width /= 2;
                NormConv::new(from, width, 1, device)
            });
            DenseBlock { narrow, grow, transition }
        });
        let blocks = blocks.collect();
        let norm = BatchNormConfig::new(width).init(device);
        Self { stem: ConvNorm::new(3, stem, 7, 2, device), blocks, norm, head: linear(width, classes, device) }
    }
}

impl Network for DenseNet {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn small(device: &Device) -> Self {
        weighted(Self::of(6, 3, &[2, 3], 5, device), 6)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 3, 32, 32], device)
    }

    fn infer(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = max_pool(relu(self.stem.forward(x)), 3, 2);
        for block in &self.blocks {
            for (narrow, grow) in block.narrow.iter().zip(&block.grow) {
                x = Tensor::cat(vec![x.clone(), grow.forward(narrow.forward(x))], 1);
            }
            if let Some(transition) = &block.transition {
                let pool = AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
                x = pool.forward(transition.forward(x));
            }
        }
        self.head.forward(pooled(relu(self.norm.forward(x))))
    }
}

/// Narrow, depthwise, narrow.
#[derive(Module, Debug)]
struct Branch {
    first: ConvNorm,
    depthwise: ConvNorm,
    last: ConvNorm,
}

/// Depthwise, then narrow.
#[derive(Module, Debug)]
struct Shortcut {
    depthwise: ConvNorm,
    point: ConvNorm,
}

/// A unit of ShuffleNetV2: on half of the channels, or on all of them at stride 2.
#[derive(Module, Debug)]
struct Unit {
    shortcut: Option<Shortcut>,
    branch: Branch,
}

/// ShuffleNetV2.
#[derive(Module, Debug)]
pub(crate) struct ShuffleNet {
    stem: ConvNorm,
    units: Vec<Unit>,
    last: ConvNorm,
    head: Linear,
}

impl ShuffleNet {
    /// Width of the stem, widths and units of the stages, width of the last layer.
    pub(crate) fn of(stem: usize, stages: &[(usize, usize)], last: usize, classes: usize, device: &Device) -> Self {
        let (mut from, mut units) = (stem, Vec::new());
        for &(to, count) in stages {
            let half = to / 2;
            for i in 0..count {
                let (input, stride) = if i == 0 { (from, 2) } else { (half, 1) };
                units.push(Unit {
                    shortcut: (i == 0).then(|| Shortcut {
                        depthwise: ConvNorm::depthwise(from, 2, device),
                        point: ConvNorm::new(from, half, 1, 1, device),
                    }),
                    branch: Branch {
                        first: ConvNorm::new(input, half, 1, 1, device),
                        depthwise: ConvNorm::depthwise(half, stride, device),
                        last: ConvNorm::new(half, half, 1, 1, device),
                    },
                });
            }
            from = to;
        }
        Self {
            stem: ConvNorm::new(3, stem, 3, 2, device),
            units,
            last: ConvNorm::new(from, last, 1, 1, device),
            head: linear(last, classes, device),
        }
    }
}

/// Channels of two halves in turn.
fn shuffled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let x = x.reshape([batch, 2, channels / 2, height, width]).swap_dims(1, 2);
    x.reshape([batch, channels, height, width])
}

impl Network for ShuffleNet {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn small(device: &Device) -> Self {
        weighted(Self::of(6, &[(12, 3), (16, 2)], 14, 5, device), 7)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 3, 32, 32], device)
    }

    fn infer(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = max_pool(relu(self.stem.forward(x)), 3, 2);
        for unit in &self.units {
            let (left, right) = match &unit.shortcut {
                Some(s) => (relu(s.point.forward(s.depthwise.forward(x.clone()))), x),
                None => {
                    let halves = x.chunk(2, 1);
                    (halves[0].clone(), halves[1].clone())
                }
            };
            let b = &unit.branch;
            let right = b.depthwise.forward(relu(b.first.forward(right)));
            x = shuffled(Tensor::cat(vec![left, relu(b.last.forward(right))], 1));
        }
        self.head.forward(pooled(relu(self.last.forward(x))))
    }

    fn fields(&mut self, fields: &mut Fields) {
        for (i, unit) in self.units.iter_mut().enumerate() {
            if let Some(s) = &mut unit.shortcut {
                fields.set(&format!("units.{i}.shortcut.depthwise.conv.groups"), &mut s.depthwise.conv.groups);
            }
            let groups = &mut unit.branch.depthwise.conv.groups;
            fields.set(&format!("units.{i}.branch.depthwise.conv.groups"), groups);
        }
    }
}

/// Two convolutions.
#[derive(Module, Debug)]
struct Double {
    first: ConvNorm,
    second: ConvNorm,
}

impl Double {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        Self { first: ConvNorm::new(from, to, 3, 1, device), second: ConvNorm::new(to, to, 3, 1, device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        relu(self.second.forward(relu(self.first.forward(x))))
    }
}

/// A U-Net.
#[derive(Module, Debug)]
pub(crate) struct UNet {
    down: Vec<Double>,
    up: Vec<ConvTranspose2d>,
    join: Vec<Double>,
    last: Conv2d,
}

impl UNet {
    /// Widths from the top to the bottom.
    pub(crate) fn of(widths: &[usize], classes: usize, device: &Device) -> Self {
        let mut from = 1;
        let down = widths.iter().map(|&to| Double::new(std::mem::replace(&mut from, to), to, device)).collect();
        let pairs: Vec<_> = widths.windows(2).rev().map(|w| (w[1], w[0])).collect();
        let up = |&(from, to): &(usize, usize)| {
            let config = ConvTranspose2dConfig::new([from, to], [2, 2]).with_stride([2, 2]);
            config.with_initializer(Initializer::Zeros).init(device)
        };
        Self {
            down,
            up: pairs.iter().map(up).collect(),
            join: pairs.iter().map(|&(_, to)| Double::new(2 * to, to, device)).collect(),
            last: conv_of(Shape(widths[0], classes, 1, 1, 1), true, device),
        }
    }
}

impl Network for UNet {
    type Input = Tensor<4>;
    type Output = Tensor<4>;

    fn small(device: &Device) -> Self {
        weighted(Self::of(&[4, 6, 8], 2, device), 8)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 1, 16, 16], device)
    }

    fn infer(&self, mut x: Tensor<4>) -> Tensor<4> {
        let mut levels = Vec::new();
        for (i, down) in self.down.iter().enumerate() {
            x = down.forward(if i > 0 { max_pool(x, 2, 2) } else { x });
            levels.push(x.clone());
        }
        levels.pop();
        for (up, join) in self.up.iter().zip(&self.join) {
            let level = levels.pop().expect("a level for each way up");
            x = join.forward(Tensor::cat(vec![level, up.forward(x)], 1));
        }
        self.last.forward(x)
    }
}

shrink!(DenseNet, ShuffleNet, UNet);
