//! A small residual network.

use crate::mnist::{CLASSES, SIDE};
use crate::training::Classifier;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Of the stem and of each block. Wide, so that products take most of the time, as they do in networks that are worth making
/// smaller.
pub const CHANNELS: [usize; 4] = [64, 128, 320, 320];

/// A convolution without bias, and a norm behind it.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let edge = kernel / 2;
        let conv = Conv2dConfig::new(channels, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(edge, edge, edge, edge))
            .with_bias(false)
            .init(device);
        Self { conv, norm: BatchNormConfig::new(channels[1]).init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

/// Two convolutions, and what they are added to.
#[derive(Module, Debug)]
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    /// Where the number of channels changes.
    shortcut: Option<ConvNorm>,
}

impl Block {
    /// Halves both sides of the picture where the number of channels changes.
    fn new(channels: [usize; 2], device: &Device) -> Self {
        let [input, output] = channels;
        let stride = if input == output { 1 } else { 2 };
        Self {
            first: ConvNorm::new(channels, 3, stride, device),
            second: ConvNorm::new([output, output], 3, 1, device),
            shortcut: (input != output).then(|| ConvNorm::new(channels, 1, stride, device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.second.forward(relu(self.first.forward(x.clone())));
        let x = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        relu(y + x)
    }
}

/// A stem, residual blocks, a mean over the picture, and a linear layer (He et al. 2016), for images of 28 x 28.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    pool: AdaptiveAvgPool2d,
    head: Linear,
}

impl ResNet {
    /// With random weights; `channels` of the stem, then of each block.
    #[must_use]
    pub fn new(channels: &[usize], device: &Device) -> Self {
        let [first, last] = [channels[0], channels[channels.len() - 1]];
        Self {
            stem: ConvNorm::new([1, first], 7, 4, device),
            blocks: channels.windows(2).map(|pair| Block::new([pair[0], pair[1]], device)).collect(),
            pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            head: LinearConfig::new(last, CLASSES).init(device),
        }
    }
}

impl Classifier for ResNet {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let [batch, _] = images.dims();
        let x = relu(self.stem.forward(images.reshape([batch, 1, SIDE, SIDE])));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(self.pool.forward(x).flatten(1, 3))
    }
}
