//! How the networks here are trained and tested: AdamW, cosine learning rate, shuffled batches.

use crate::mnist::{PIXELS, Split};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::f64::consts::PI;

/// A network that tells digits apart.
pub trait Classifier: Module {
    /// Logits `[batch, 10]` of images `[batch, 784]`.
    #[must_use]
    fn forward(&self, images: Tensor<2>) -> Tensor<2>;

    /// Percentage of images that are taken for another digit.
    #[must_use]
    fn error(&self, split: &Split, device: &Device) -> f64 {
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
    #[expect(clippy::too_many_arguments, reason = "a loop body, called from every example that trains")]
    pub fn epoch<M: Classifier>(
        &self,
        model: M,
        optimizer: &mut ModuleOptimizer,
        split: &Split,
        at: (usize, usize),
        random: &mut StdRng,
        device: &Device,
        tick: &dyn Fn(),
    ) -> M {
        let cross_entropy = CrossEntropyLossConfig::new().init(device);
        let loss = |model: &M, images, labels| cross_entropy.forward(model.forward(images), labels);
        self.epoch_by(model, optimizer, split, at, random, device, tick, &loss)
    }

    /// The same with a loss of one's own: of the model, images `[batch, 784]` and labels `[batch]`.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a loop body, called from few places")]
    pub fn epoch_by<M: Classifier>(
        &self,
        mut model: M,
        optimizer: &mut ModuleOptimizer,
        split: &Split,
        (epoch, epochs): (usize, usize),
        random: &mut StdRng,
        device: &Device,
        tick: &dyn Fn(),
        loss_of: &dyn Fn(&M, Tensor<2>, Tensor<1, Int>) -> Tensor<1>,
    ) -> M {
        let mut order: Vec<usize> = (0..split.len()).collect();
        order.shuffle(random);
        let batches = split.len().div_ceil(self.batch);
        for (i, indices) in order.chunks(self.batch).enumerate() {
            let (pixels, labels) = split.gather(indices);
            let images = Tensor::<2>::from_data(TensorData::new(pixels, [indices.len(), PIXELS]), device);
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [indices.len()]), device);
            let loss = loss_of(&model, images, labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let progress = (epoch * batches + i) as f64 / (epochs * batches) as f64;
            let rate = self.rate * 0.5 * (1.0 + (PI * progress).cos());
            model = optimizer.step(rate, model, gradients);
            tick();
        }
        model
    }
}
