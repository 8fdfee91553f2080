//! LeNet-300-100.

use crate::mnist::{CLASSES, PIXELS};
use crate::training::Classifier;
use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Three linear layers, 784-300-100-10 (LeCun et al. 1998): 266,610 parameters.
#[derive(Module, Debug)]
pub struct Lenet300 {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Lenet300 {
    /// With random weights.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(PIXELS, 300).init(device),
            fc2: LinearConfig::new(300, 100).init(device),
            fc3: LinearConfig::new(100, CLASSES).init(device),
        }
    }

    /// Drawn as Glorot & Bengio 2010 do, which Frankle & Carbin 2019 start from.
    #[must_use]
    pub fn glorot(device: &Device) -> Self {
        let layer = |from, to| {
            let init = Initializer::XavierNormal { gain: 1.0 };
            LinearConfig::new(from, to).with_initializer(init).init(device)
        };
        Self { fc1: layer(PIXELS, 300), fc2: layer(300, 100), fc3: layer(100, CLASSES) }
    }
}

impl Classifier for Lenet300 {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        // In the type of the weights: `grasp` looks at the network in double precision.
        let x = relu(self.fc1.forward(images.cast(self.fc1.weight.dtype())));
        let x = relu(self.fc2.forward(x));
        self.fc3.forward(x)
    }
}
