//! LeNet-300-100 and how it is trained: AdamW, cosine learning rate, shuffled batches.

use crate::mnist::{CLASSES, PIXELS, Split};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::f64::consts::PI;

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

    /// Logits `[batch, 10]` of images `[batch, 784]`.
    #[must_use]
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let x = relu(self.fc1.forward(images));
        let x = relu(self.fc2.forward(x));
        self.fc3.forward(x)
    }

    /// Percentage of images that are taken for another digit.
    #[must_use]
    pub fn error(&self, split: &Split, device: &Device) -> f64 {
        const BATCH: usize = 1000;
        let model = self.valid();
        let device = device.clone().without_autodiff();
        let mut wrong = 0;
        for start in (0..split.len()).step_by(BATCH) {
            let range = start..(start + BATCH).min(split.len());
            let labels = &split.labels()[range.clone()];
            let images = TensorData::new(split.pixels(range), [labels.len(), PIXELS]);
            let guess = model.forward(Tensor::from_data(images, &device)).argmax(1).into_data();
            wrong += guess.iter::<i64>().zip(labels).filter(|(guess, label)| *guess != i64::from(**label)).count();
        }
        100.0 * wrong as f64 / split.len() as f64
    }
}

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Images in a batch.
    pub batch: usize,
    /// Learning rate at the start of a phase; it falls to zero along half a cosine.
    pub rate: f64,
    /// Weight decay of AdamW.
    pub decay: f32,
}

impl Training {
    /// A fresh optimizer.
    #[must_use]
    pub fn optimizer(&self) -> ModuleOptimizer {
        AdamWConfig::new().with_weight_decay(self.decay).init()
    }

    /// Trains for epoch `epoch` of a phase of `epochs`, on an autodiff device; `tick` is called for each batch.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a loop body, called from two places")]
    pub fn epoch(
        &self,
        mut model: Lenet300,
        optimizer: &mut ModuleOptimizer,
        split: &Split,
        (epoch, epochs): (usize, usize),
        random: &mut StdRng,
        device: &Device,
        tick: &dyn Fn(),
    ) -> Lenet300 {
        let mut order: Vec<usize> = (0..split.len()).collect();
        order.shuffle(random);
        let batches = split.len().div_ceil(self.batch);
        let loss_of = CrossEntropyLossConfig::new().init(device);
        for (i, indices) in order.chunks(self.batch).enumerate() {
            let (pixels, labels) = split.gather(indices);
            let images = Tensor::<2>::from_data(TensorData::new(pixels, [indices.len(), PIXELS]), device);
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [indices.len()]), device);
            let loss = loss_of.forward(model.forward(images), labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let progress = (epoch * batches + i) as f64 / (epochs * batches) as f64;
            let rate = self.rate * 0.5 * (1.0 + (PI * progress).cos());
            model = optimizer.step(rate, model, gradients);
            tick();
        }
        model
    }
}
