//! Residual networks: ResNet for pictures of 224 and of 32, MobileNetV2.

use crate::parts::{ConvNorm, Network, data, linear, max_pool, pooled, shrink, weighted};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Slice, Tensor};
use pruning_burn::shrink::Fields;

/// A residual block, basic or with a bottleneck.
#[derive(Module, Debug)]
pub(crate) struct Block {
    first: ConvNorm,
    rest: Vec<ConvNorm>,
    down: Option<ConvNorm>,
}

impl Block {
    fn basic(from: usize, to: usize, stride: usize, device: &Device) -> Self {
        Self {
            first: ConvNorm::new(from, to, 3, stride, device),
            rest: vec![ConvNorm::new(to, to, 3, 1, device)],
            down: None,
        }
    }

    fn bottleneck(from: usize, to: usize, stride: usize, device: &Device) -> Self {
        let inner = to / 4;
        Self {
            first: ConvNorm::new(from, inner, 1, 1, device),
            rest: vec![ConvNorm::new(inner, inner, 3, stride, device), ConvNorm::new(inner, to, 1, 1, device)],
            down: None,
        }
    }

    /// With a projection where the shape changes (option B).
    fn projecting(mut self, from: usize, to: usize, stride: usize, device: &Device) -> Self {
        self.down = (from != to || stride != 1).then(|| ConvNorm::new(from, to, 1, stride, device));
        self
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.rest.iter().fold(self.first.forward(x.clone()), |y, layer| layer.forward(relu(y)));
        let x = match &self.down {
            Some(down) => down.forward(x),
            None => padded(x, &y),
        };
        relu(x + y)
    }
}

/// Every other position, and channels of zeros at the end (option A); as it is where the shapes are the same.
fn padded(x: Tensor<4>, like: &Tensor<4>) -> Tensor<4> {
    let [batch, wanted, height, width] = like.dims();
    let [_, channels, from, _] = x.dims();
    if from == height {
        return x;
    }
    let step = Slice::new(0, None, from.div_ceil(height) as isize);
    let x = x.slice_dim(2, step).slice_dim(3, step);
    let zeros = Tensor::zeros([batch, wanted - channels, height, width], &x.device());
    Tensor::cat(vec![x, zeros], 1)
}

/// What a residual network is made of.
pub(crate) struct ResNetSize {
    pub(crate) blocks: [usize; 4],
    /// Width of the stem.
    pub(crate) stem: usize,
    pub(crate) bottleneck: bool,
    pub(crate) classes: usize,
}

/// ResNet of four stages.
#[derive(Module, Debug)]
pub(crate) struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    head: Linear,
}

impl ResNet {
    pub(crate) fn of(size: &ResNetSize, device: &Device) -> Self {
        let mut from = size.stem;
        let stages = size.blocks.iter().enumerate().map(|(s, &blocks)| {
            let to = (size.stem << s) * if size.bottleneck { 4 } else { 1 };
            let blocks = (0..blocks).map(|b| {
                let stride = if s > 0 && b == 0 { 2 } else { 1 };
                let from = std::mem::replace(&mut from, to);
                let new = if size.bottleneck { Block::bottleneck } else { Block::basic };
                new(from, to, stride, device).projecting(from, to, stride, device)
            });
            blocks.collect()
        });
        let stages = stages.collect();
        Self { stem: ConvNorm::new(3, size.stem, 7, 2, device), stages, head: linear(from, size.classes, device) }
    }

    fn run(&self, x: Tensor<4>) -> Tensor<2> {
        let x = max_pool(relu(self.stem.forward(x)), 3, 2);
        self.head.forward(pooled(self.stages.iter().flatten().fold(x, |x, block| block.forward(x))))
    }
}

macro_rules! resnet {
    ($(#[$doc:meta] $name:ident: $blocks:expr, $bottleneck:expr;)+) => {$(
        #[$doc]
        #[derive(Module, Debug)]
        pub(crate) struct $name {
            net: ResNet,
        }

        impl $name {
            pub(crate) fn of(stem: usize, classes: usize, device: &Device) -> Self {
                let size = ResNetSize { blocks: $blocks, stem, bottleneck: $bottleneck, classes };
                Self { net: ResNet::of(&size, device) }
            }
        }

        impl Network for $name {
            type Input = Tensor<4>;
            type Output = Tensor<2>;

            fn small(device: &Device) -> Self {
                weighted(Self::of(4, 5, device), 3)
            }

            fn example(device: &Device) -> Tensor<4> {
                data([2, 3, 32, 32], device)
            }

            fn infer(&self, x: Tensor<4>) -> Tensor<2> {
                self.net.run(x)
            }
        }
    )+};
}

resnet! {
    /// Of basic blocks.
    ResNet18: [2, 2, 2, 2], false;
    /// Of bottlenecks.
    ResNet50: [3, 4, 6, 3], true;
}

/// ResNet for small pictures: three stages, shortcuts without parameters.
#[derive(Module, Debug)]
pub(crate) struct CifarResNet {
    stem: ConvNorm,
    stage1: Vec<Block>,
    stage2: Vec<Block>,
    stage3: Vec<Block>,
    head: Linear,
}

impl CifarResNet {
    /// Of `6 * blocks + 2` layers: 3 blocks in each stage for ResNet-20, 9 for ResNet-56.
    pub(crate) fn of(blocks: usize, width: usize, device: &Device) -> Self {
        let mut from = width;
        let mut stage = |to: usize| {
            let blocks = (0..blocks).map(|_| {
                let stride = if from == to { 1 } else { 2 };
                Block::basic(std::mem::replace(&mut from, to), to, stride, device)
            });
            blocks.collect()
        };
        let (stage1, stage2, stage3) = (stage(width), stage(2 * width), stage(4 * width));
        Self {
            stem: ConvNorm::new(3, width, 3, 1, device),
            stage1,
            stage2,
            stage3,
            head: linear(4 * width, 10, device),
        }
    }

    pub(crate) fn run(&self, x: Tensor<4>) -> Tensor<2> {
        let blocks = self.stage1.iter().chain(&self.stage2).chain(&self.stage3);
        self.head.forward(pooled(blocks.fold(relu(self.stem.forward(x)), |x, block| block.forward(x))))
    }
}

macro_rules! cifar {
    ($(#[$doc:meta] $name:ident: $blocks:expr;)+) => {$(
        #[$doc]
        #[derive(Module, Debug)]
        pub(crate) struct $name {
            net: CifarResNet,
        }

        impl $name {
            pub(crate) fn of(width: usize, device: &Device) -> Self {
                Self { net: CifarResNet::of($blocks, width, device) }
            }
        }

        impl Network for $name {
            type Input = Tensor<4>;
            type Output = Tensor<2>;

            fn small(device: &Device) -> Self {
                weighted(Self::of(4, device), 4)
            }

            fn example(device: &Device) -> Tensor<4> {
                data([2, 3, 16, 16], device)
            }

            fn infer(&self, x: Tensor<4>) -> Tensor<2> {
                self.net.run(x)
            }
        }
    )+};
}

cifar! {
    /// 20 layers.
    ResNet20: 3;
    /// 56 layers.
    ResNet56: 9;
}

/// An inverted residual: wide, depthwise, narrow.
#[derive(Module, Debug)]
struct Inverted {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    residual: bool,
}

/// MobileNetV2.
#[derive(Module, Debug)]
pub(crate) struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<Inverted>,
    last: ConvNorm,
    head: Linear,
}

/// Expansion, channels, repetitions, and stride of the first.
type Row = (usize, usize, usize, usize);

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}

impl MobileNet {
    /// The rows of table 2 of [Sandler et al. 2018](https://arxiv.org/abs/1801.04381).
    pub(crate) const REAL: [Row; 7] =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

    pub(crate) fn of(stem: usize, rows: &[Row], last: usize, classes: usize, device: &Device) -> Self {
        let (mut from, mut blocks) = (stem, Vec::new());
        for &(expansion, to, repetitions, first) in rows {
            for i in 0..repetitions {
                let (stride, inner) = (if i == 0 { first } else { 1 }, from * expansion);
                blocks.push(Inverted {
                    expand: (expansion > 1).then(|| ConvNorm::new(from, inner, 1, 1, device)),
                    depthwise: ConvNorm::depthwise(inner, stride, device),
                    project: ConvNorm::new(inner, to, 1, 1, device),
                    residual: stride == 1 && from == to,
                });
                from = to;
            }
        }
        Self {
            stem: ConvNorm::new(3, stem, 3, 2, device),
            blocks,
            last: ConvNorm::new(from, last, 1, 1, device),
            head: linear(last, classes, device),
        }
    }
}

impl Network for MobileNet {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn small(device: &Device) -> Self {
        weighted(Self::of(6, &[(1, 4, 1, 1), (3, 6, 2, 2), (2, 8, 2, 1)], 12, 5, device), 5)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 3, 16, 16], device)
    }

    fn infer(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = relu6(self.stem.forward(x));
        for block in &self.blocks {
            let wide = block.expand.as_ref().map_or(x.clone(), |expand| relu6(expand.forward(x.clone())));
            let y = block.project.forward(relu6(block.depthwise.forward(wide)));
            x = if block.residual { x + y } else { y };
        }
        self.head.forward(pooled(relu6(self.last.forward(x))))
    }

    fn fields(&mut self, fields: &mut Fields) {
        for (i, block) in self.blocks.iter_mut().enumerate() {
            fields.set(&format!("blocks.{i}.depthwise.conv.groups"), &mut block.depthwise.conv.groups);
        }
    }
}

shrink!(ResNet18, ResNet50, ResNet20, ResNet56, MobileNet);
