//! LeNet-5, as Caffe has it.

use crate::mnist::{CLASSES, SIDE};
use crate::training::Classifier;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Two convolutions of 5 x 5 and two linear layers, 20-50-500-10, with a single ReLU: 431,080 parameters. The network that papers on pruning
/// call LeNet-5 is this one, not that of LeCun et al. 1998.
#[derive(Module, Debug)]
pub struct Lenet5 {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
    pool: MaxPool2d,
}

impl Lenet5 {
    /// With random weights.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([1, 20], [5, 5]).init(device),
            conv2: Conv2dConfig::new([20, 50], [5, 5]).init(device),
            fc1: LinearConfig::new(50 * 16, 500).init(device),
            fc2: LinearConfig::new(500, CLASSES).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }
}

impl Classifier for Lenet5 {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let count = images.dims()[0];
        let x = images.reshape([count, 1, SIDE, SIDE]);
        let x = self.pool.forward(self.conv1.forward(x));
        let x = self.pool.forward(self.conv2.forward(x));
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        self.fc2.forward(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_size_that_papers_give() {
        let model = Lenet5::new(&Device::flex());
        assert_eq!(model.num_params(), 431_080);
        assert_eq!(model.forward(Tensor::zeros([2, SIDE * SIDE], &Device::flex())).dims(), [2, CLASSES]);
    }
}
