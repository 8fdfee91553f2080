//! How the networks here are trained and tested: [`Training`] says how, [`Trainer`] is the one loop that does it.

use crate::mnist::{PIXELS, Split};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::convert::Infallible;
use std::f64::consts::PI;
use std::fmt;

/// Images `[batch, 784]` and labels `[batch]`.
pub type Batch = (Tensor<2>, Tensor<1, Int>);

/// The images of a split at `indices`, on a device.
///
/// # Panics
/// If an index is not below [`Split::len`].
#[must_use]
pub fn batch(split: &Split, indices: &[usize], device: &Device) -> Batch {
    let (pixels, labels) = split.gather(indices);
    let count = indices.len();
    (
        Tensor::from_data(TensorData::new(pixels, [count, PIXELS]), device),
        Tensor::from_data(TensorData::new(labels, [count]), device),
    )
}

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

/// The mean cross entropy of a batch.
#[must_use]
pub fn cross_entropy<M: Classifier>(model: &M, (images, labels): &Batch) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&images.device()).forward(model.forward(images.clone()), labels.clone())
}

/// How to train, with AdamW; without decay that is Adam.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Passes over the images.
    pub epochs: usize,
    /// Learning rate.
    pub rate: Rate,
    /// Images in a batch.
    pub batch: usize,
    /// Weight decay.
    pub decay: f32,
    /// What each epoch shuffles.
    pub shuffle: Shuffle,
}

/// Learning rate over the epochs.
#[derive(Clone, Copy, Debug)]
pub enum Rate {
    /// It stays.
    Constant(f64),
    /// It falls to zero along half a cosine.
    Cosine(f64),
    /// It is a tenth from half of all epochs on, and a hundredth in the last quarter.
    Steps {
        /// At the start of all epochs.
        rate: f64,
        /// The epoch that this training starts at.
        from: usize,
        /// All epochs, of this training and those before it.
        of: usize,
    },
}

/// What each epoch shuffles. Both draw every order with equal chance; results of the same seed differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// The images as they lie in the split.
    Sorted,
    /// The order of the epoch before.
    Shuffled,
}

impl Training {
    /// In batches of 128, with a weight decay of 0.05.
    #[must_use]
    pub const fn new(epochs: usize, rate: Rate) -> Self {
        Self { epochs, rate, batch: 128, decay: 0.05, shuffle: Shuffle::Sorted }
    }

    /// The same for another number of epochs.
    #[must_use]
    pub const fn with_epochs(self, epochs: usize) -> Self {
        Self { epochs, ..self }
    }

    /// Creates an optimizer.
    #[must_use]
    pub fn optimizer(&self) -> ModuleOptimizer {
        AdamWConfig::new().with_weight_decay(self.decay).init()
    }

    /// The learning rate after so many epochs, and parts of one.
    #[must_use]
    pub fn rate(&self, epoch: f64) -> f64 {
        match self.rate {
            Rate::Constant(rate) => rate,
            Rate::Cosine(rate) => rate * 0.5 * (1.0 + (PI * epoch / self.epochs as f64).cos()),
            Rate::Steps { rate, from, of } => match (from as f64 + epoch) / of as f64 {
                ..0.5 => rate,
                ..0.75 => 0.1 * rate,
                _ => 0.01 * rate,
            },
        }
    }
}

type Loss<'a, M> = Box<dyn Fn(&M, &Batch) -> Tensor<1> + 'a>;
type Watch<'a, M> = Box<dyn FnMut(usize, &M) + 'a>;

/// One training: how, on which images, and what else happens in it.
pub struct Trainer<'a, M> {
    how: Training,
    split: &'a Split,
    device: &'a Device,
    random: &'a mut StdRng,
    optimizer: Option<&'a mut ModuleOptimizer>,
    loss: Loss<'a, M>,
    after_epoch: Watch<'a, M>,
    bar: ProgressBar,
}

impl<'a, M: Classifier + 'a> Trainer<'a, M> {
    /// By cross entropy, with a new optimizer, on an autodiff device; `random` draws the order of the images.
    #[must_use]
    pub fn new(how: Training, split: &'a Split, device: &'a Device, random: &'a mut StdRng) -> Self {
        Self {
            how,
            split,
            device,
            random,
            optimizer: None,
            loss: Box::new(cross_entropy),
            after_epoch: Box::new(|_, _| {}),
            bar: ProgressBar::hidden(),
        }
    }

    /// Goes on with an optimizer instead of a new one.
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: &'a mut ModuleOptimizer) -> Self {
        self.optimizer = Some(optimizer);
        self
    }

    /// Minimizes another loss than [`cross_entropy`].
    #[must_use]
    pub fn with_loss(mut self, loss: impl Fn(&M, &Batch) -> Tensor<1> + 'a) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Calls `watch` after each epoch with its number, from 1, and the model.
    #[must_use]
    pub fn with_after_epoch(mut self, watch: impl FnMut(usize, &M) + 'a) -> Self {
        self.after_epoch = Box::new(watch);
        self
    }

    /// Shows how far it is; the bar is cleared at the end.
    #[must_use]
    pub fn with_bar(mut self, bar: ProgressBar) -> Self {
        self.bar = bar;
        self
    }

    /// Trains a model.
    #[must_use]
    pub fn run(self, model: M) -> M {
        let Ok(model) = self.run_with(model, |_, _, _| Ok::<_, Infallible>(()));
        model
    }

    /// Trains a model; `before` is called before each step, and may change the model and the optimizer.
    ///
    /// # Errors
    /// What `before` fails with.
    pub fn run_with<E>(
        mut self,
        mut model: M,
        mut before: impl FnMut(&mut M, &mut ModuleOptimizer, &Batch) -> Result<(), E>,
    ) -> Result<M, E> {
        let mut new = self.how.optimizer();
        let optimizer = self.optimizer.unwrap_or(&mut new);
        let batches = self.split.len().div_ceil(self.how.batch);
        self.bar.set_length((self.how.epochs * batches) as u64);
        let sorted: Vec<usize> = (0..self.split.len()).collect();
        let mut order = sorted.clone();
        for epoch in 0..self.how.epochs {
            if self.how.shuffle == Shuffle::Sorted {
                order.clone_from(&sorted);
            }
            order.shuffle(self.random);
            for (i, indices) in order.chunks(self.how.batch).enumerate() {
                let batch = batch(self.split, indices, self.device);
                before(&mut model, optimizer, &batch)?;
                let gradients = GradientsParams::from_grads((self.loss)(&model, &batch).backward(), &model);
                let rate = self.how.rate(epoch as f64 + i as f64 / batches as f64);
                model = optimizer.step(rate, model, gradients);
                self.bar.inc(1);
            }
            (self.after_epoch)(epoch + 1, &model);
        }
        self.bar.finish_and_clear();
        Ok(model)
    }
}

impl<M> fmt::Debug for Trainer<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer").field("how", &self.how).field("split", self.split).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_as_they_say() {
        let rates = |rate, epochs| [0.0, 1.0, 2.0, 3.0].map(|epoch| Training::new(epochs, rate).rate(epoch));
        assert_eq!(rates(Rate::Constant(3.0), 4), [3.0; 4]);
        let cosine = rates(Rate::Cosine(2.0), 4);
        assert_eq!(cosine[0], 2.0);
        assert!((cosine[2] - 1.0).abs() < 1e-12 && cosine[1] > cosine[2] && cosine[2] > cosine[3]);
        assert_eq!(rates(Rate::Steps { rate: 100.0, from: 1, of: 4 }, 3), [100.0, 10.0, 1.0, 1.0]);
    }

    #[test]
    fn both_orders_show_every_image_once_an_epoch_and_part_after_the_first() {
        use crate::lenet::Lenet300;
        use crate::mnist::{Mnist, default_dir};
        use rand::SeedableRng;

        let split = Mnist::load(&default_dir()).unwrap().test.split_at(300).0;
        let device = Device::flex().autodiff();
        let [sorted, shuffled] = [Shuffle::Sorted, Shuffle::Shuffled].map(|shuffle| {
            let (mut seen, mut epochs) = (Vec::new(), Vec::new());
            let how = Training { shuffle, ..Training::new(2, Rate::Constant(1e-3)) };
            let mut random = StdRng::seed_from_u64(1);
            let trainer =
                Trainer::new(how, &split, &device, &mut random).with_after_epoch(|epoch, _| epochs.push(epoch));
            let before = |_: &mut Lenet300, _: &mut ModuleOptimizer, (_, labels): &Batch| {
                seen.push(labels.to_data().iter::<u8>().collect::<Vec<_>>());
                Ok::<_, Infallible>(())
            };
            let Ok(_) = trainer.run_with(Lenet300::new(&device), before);
            assert_eq!(epochs, [1, 2]);
            assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44, 128, 128, 44]);
            [seen[..3].concat(), seen[3..].concat()]
        });
        assert_eq!(sorted[0], shuffled[0]);
        assert_ne!(sorted[1], shuffled[1]);
        let mut all = split.labels().to_vec();
        all.sort_unstable();
        for mut labels in sorted.into_iter().chain(shuffled) {
            labels.sort_unstable();
            assert_eq!(labels, all);
        }
    }
}
