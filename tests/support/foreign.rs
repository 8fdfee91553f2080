//! A network as another crate has it: its layers and their sizes are private, so no test can set them.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::AdaptiveAvgPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

/// A small MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, section 3): inverted residuals with depthwise convolutions.
#[derive(Module, Debug)]
pub struct MobileNet {
    stem: Conv2d,
    blocks: Vec<Inverted>,
    last: Conv2d,
    head: Linear,
}

/// Wider, filtered channel by channel, narrower again.
#[derive(Module, Debug)]
struct Inverted {
    expand: Conv2d,
    first: BatchNorm,
    depthwise: Depthwise,
    second: BatchNorm,
    project: Conv2d,
    third: BatchNorm,
}

/// A depthwise convolution: Burn's, or with a number of groups of its own.
#[derive(Module, Debug)]
enum Depthwise {
    Stock(Conv2d),
    Own(Own),
}

/// A convolution without bias that keeps its number of groups.
#[derive(Module, Debug)]
struct Own {
    weight: Param<Tensor<4>>,
    groups: usize,
}

impl Own {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(x, self.weight.val(), None, ConvOptions::new([1, 1], [1, 1], [1, 1], self.groups))
    }
}

fn conv(from: usize, to: usize, kernel: usize, device: &Device) -> Conv2d {
    let config = Conv2dConfig::new([from, to], [kernel, kernel]).with_padding(PaddingConfig2d::Same);
    config.with_bias(false).init(device)
}

impl Inverted {
    fn new(from: usize, to: usize, stock: bool, device: &Device) -> Self {
        let wide = 3 * from;
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let depthwise = if stock {
            let config = Conv2dConfig::new([wide, wide], [3, 3]).with_padding(PaddingConfig2d::Same).with_groups(wide);
            Depthwise::Stock(config.init(device))
        } else {
            let weight = Param::from_tensor(Tensor::zeros([wide, 1, 3, 3], device));
            Depthwise::Own(Own { weight, groups: wide })
        };
        Self {
            expand: conv(from, wide, 1, device),
            first: norm(wide),
            depthwise,
            second: norm(wide),
            project: conv(wide, to, 1, device),
            third: norm(to),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let wide = self.first.forward(self.expand.forward(x.clone())).clamp(0.0, 6.0);
        let filtered = match &self.depthwise {
            Depthwise::Stock(conv) => conv.forward(wide),
            Depthwise::Own(own) => own.forward(wide),
        };
        let y = self.third.forward(self.project.forward(self.second.forward(filtered).clamp(0.0, 6.0)));
        if x.dims() == y.dims() { x + y } else { y }
    }
}

impl MobileNet {
    /// With weights from `seed`.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        let blocks = [(6, 6, true), (6, 8, false), (8, 8, true)];
        let model = Self {
            stem: conv(3, 6, 3, device),
            blocks: blocks.map(|(from, to, stock)| Inverted::new(from, to, stock, device)).into(),
            last: conv(8, 12, 1, device),
            head: LinearConfig::new(12, 4).init(device),
        };
        crate::models::filled(model, seed)
    }

    /// `[batch, 3, 8, 8]` to `[batch, 4]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.blocks.iter().fold(self.stem.forward(x), |x, block| block.forward(x));
        let x = self.last.forward(x).clamp(0.0, 6.0);
        self.head.forward(AdaptiveAvgPool2dConfig::new([1, 1]).init().forward(x).flatten(1, 3))
    }

    /// An input `[batch, 3, 8, 8]`.
    #[must_use]
    pub fn input(batch: usize, device: &Device) -> Tensor<4> {
        let numbers = crate::models::numbers(batch * 3 * 64, 21);
        Tensor::<1>::from_floats(numbers.as_slice(), device).reshape([batch, 3, 8, 8])
    }
}
