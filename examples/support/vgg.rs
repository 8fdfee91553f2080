//! VGG-16 for images of 32 x 32, and MNIST brought to that size.

use crate::mnist::{CLASSES, PIXELS, SIDE, Split};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Pixels along one side of an image.
pub const WIDTH: usize = 32;

/// Channels of the convolutions; a stage ends with a pooling.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

/// A convolution of 3 x 3 with batch norm; it has no bias, which the norm would take away again.
#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: BatchNorm,
}

/// 13 convolutions with batch norm and one linear layer (Simonyan & Zisserman 2015, in the form of Tanaka et al. 2020): 14.7 million weights.
#[derive(Module, Debug)]
pub struct Vgg16 {
    stages: Vec<Vec<Block>>,
    classifier: Linear,
    max: MaxPool2d,
    mean: AvgPool2d,
}

impl Vgg16 {
    /// With random weights and a fraction `1 / narrower` of the channels, drawn as by Tanaka et al.: He et al.'s normal distribution.
    #[must_use]
    pub fn new(narrower: usize, device: &Device) -> Self {
        let init = Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: false };
        let mut from = 3;
        let mut block = |channels: usize| {
            let to = channels / narrower;
            let conv = Conv2dConfig::new([from, to], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            from = to;
            Block {
                conv: conv.with_bias(false).with_initializer(init.clone()).init(device),
                norm: BatchNormConfig::new(to).init(device),
            }
        };
        let stages = STAGES.map(|stage| stage.iter().map(|&channels| block(channels)).collect()).into();
        Self {
            stages,
            classifier: LinearConfig::new(from, CLASSES).with_initializer(init).init(device),
            max: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            mean: AvgPool2dConfig::new([2, 2]).init(),
        }
    }

    /// Logits `[batch, 10]` of images `[batch, 3, 32, 32]`.
    #[must_use]
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        // In the type of the weights: `grasp` looks at the network in double precision.
        let mut x = images.cast(self.classifier.weight.dtype());
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| relu(block.norm.forward(block.conv.forward(x))));
            x = if i + 1 < self.stages.len() { self.max.forward(x) } else { self.mean.forward(x) };
        }
        self.classifier.forward(x.flatten(1, 3))
    }
}

/// Images and labels of MNIST as a color data set has them: two pixels of background all around, three equal channels.
#[must_use]
pub fn padded(split: &Split, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    const EDGE: usize = (WIDTH - SIDE) / 2;
    let (pixels, labels) = split.gather(indices);
    let background = pixels.iter().copied().fold(f32::INFINITY, f32::min);
    let mut images = Vec::with_capacity(indices.len() * 3 * WIDTH * WIDTH);
    for image in pixels.chunks_exact(PIXELS) {
        let mut channel = vec![background; WIDTH * WIDTH];
        for (y, row) in image.chunks_exact(SIDE).enumerate() {
            let at = (y + EDGE) * WIDTH + EDGE;
            channel[at..at + SIDE].copy_from_slice(row);
        }
        images.extend(channel.repeat(3));
    }
    let count = indices.len();
    let images = Tensor::from_data(TensorData::new(images, [count, 3, WIDTH, WIDTH]), device);
    (images, Tensor::from_data(TensorData::new(labels, [count]), device))
}
