//! What every experiment needs: data, dense networks, training.

use super::log::{Log, Row};
use crate::lenet::Lenet300;
use crate::mnist::{Mnist, PIXELS, Split};
use crate::training::Classifier;
use burn::module::{ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_burn::Pruner;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::f64::consts::PI;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Why an experiment stopped.
pub type Failed = Box<dyn Error + Send + Sync>;

/// Images `[batch, 784]` and labels.
pub(crate) type Batch = (Tensor<2>, Tensor<1, Int>);

/// Images at the end of the training set that are not trained on, as in the example `lenet`.
const VALIDATION: usize = 5000;
/// What is left of the training and test set in a quick run.
const QUICK: (usize, usize) = (6000, 2000);

/// The dense network that several experiments start from.
pub(crate) const DENSE: Plan = Plan { batch: 128, epochs: 10, rate: Rate::Cosine(2e-3), decay: 0.05 };
/// Training after a pruning, unless the experiment is about that.
pub(crate) const RETRAIN: Plan = Plan { batch: 128, epochs: 4, rate: Rate::Cosine(1e-3), decay: 0.05 };

/// How to train, with AdamW; without decay that is Adam.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
    pub(crate) rate: Rate,
    pub(crate) decay: f32,
}

/// Learning rate over the epochs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate {
    Constant(f64),
    /// Falls to zero along half a cosine.
    Cosine(f64),
    /// A tenth of it from half of all epochs on, a hundredth in the last quarter; training starts at epoch `from` of `of`.
    Steps {
        rate: f64,
        from: usize,
        of: usize,
    },
}

impl Plan {
    pub(crate) fn epochs(self, epochs: usize) -> Self {
        Self { epochs, ..self }
    }

    fn rate(&self, epoch: f64) -> f64 {
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

/// The data, and what seeds share.
#[derive(Debug)]
pub struct Lab {
    pub(crate) train: Split,
    validation: Split,
    test: Split,
    pub(crate) device: Device,
    pub(crate) quick: bool,
    dense: Mutex<BTreeMap<u64, Lenet300>>,
    /// Weights are drawn from the one generator of the device.
    drawing: Mutex<()>,
}

impl Lab {
    /// With a few thousand images if it must be quick.
    #[must_use]
    pub fn new(data: Mnist, quick: bool) -> Self {
        let Mnist { mut train, mut test } = data;
        let at = train.len() - VALIDATION;
        let validation;
        (train, validation) = train.split_at(at);
        if quick {
            (train, _) = train.split_at(QUICK.0);
            (test, _) = test.split_at(QUICK.1);
        }
        let device = Device::flex().autodiff();
        Self { train, validation, test, device, quick, dense: Mutex::default(), drawing: Mutex::default() }
    }
}

/// One experiment with one seed.
#[derive(Debug)]
pub struct Run<'a> {
    /// What it runs with.
    pub lab: &'a Lab,
    /// Where its rows go.
    pub log: &'a Log,
    /// Its name.
    pub experiment: &'static str,
    /// Of the weights at the start and the order of the images.
    pub seed: u64,
}

impl Run<'_> {
    /// Whether a row is still to be made.
    pub(crate) fn missing(&self, variant: &str) -> bool {
        !self.log.has(self.experiment, variant, self.seed)
    }

    /// Measures a model, and logs it.
    pub(crate) fn add<M: Classifier>(
        &self,
        variant: &str,
        sparsity: f64,
        model: &M,
        start: Instant,
        more: Value,
    ) -> Result<f64, Failed> {
        let test_error = self.error(model);
        let validation_error = model.error(&self.lab.validation, &self.lab.device);
        let more = if let Value::Object(more) = more { more } else { Map::new() };
        let seconds = (10.0 * start.elapsed().as_secs_f64()).round() / 10.0;
        let (experiment, variant, seed) = (self.experiment.to_string(), variant.to_string(), self.seed);
        self.log.add(Row { experiment, variant, seed, sparsity, test_error, validation_error, seconds, more })?;
        Ok(test_error)
    }

    /// Percentage of test images that are taken for another digit.
    pub(crate) fn error<M: Classifier>(&self, model: &M) -> f64 {
        model.error(&self.lab.test, &self.lab.device)
    }

    /// `full` epochs, or what a quick run has instead.
    pub(crate) fn epochs(&self, full: usize, quick: usize) -> usize {
        if self.lab.quick { quick } else { full }
    }

    /// A network with the weights of `seed`.
    pub(crate) fn drawn<M: Classifier>(&self, seed: u64, new: impl Fn(&Device) -> M) -> M {
        let _alone = self.lab.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lab.device.seed(seed);
        let model = new(&self.lab.device);
        // Burn draws a parameter when it is first looked at.
        model.visit(&mut Look);
        model
    }

    /// The trained network that several experiments start from; the same for a seed in each of them.
    pub(crate) fn dense(&self) -> Lenet300 {
        let kept = |lab: &Lab| lab.dense.lock().unwrap_or_else(PoisonError::into_inner).get(&self.seed).cloned();
        if let Some(model) = kept(self.lab) {
            return model;
        }
        let model = self.fit(self.drawn(self.seed, Lenet300::new), &DENSE.epochs(self.epochs(DENSE.epochs, 5)));
        self.lab.dense.lock().unwrap_or_else(PoisonError::into_inner).insert(self.seed, model.clone());
        model
    }

    /// Trains, with the images in an order that depends on the seed alone.
    pub(crate) fn fit<M: Classifier>(&self, model: M, plan: &Plan) -> M {
        self.fit_watched(model, plan, |_, _| {})
    }

    /// The same; after each epoch `watch` sees its number, from 1, and the model.
    pub(crate) fn fit_watched<M: Classifier>(&self, model: M, plan: &Plan, watch: impl FnMut(usize, &M)) -> M {
        let Ok(model) = self.fit_stepped(model, plan, |_, _, _| Ok::<_, Infallible>(()), watch);
        model
    }

    /// The same; before each step `before` sees the model, the optimizer and the batch, and may change the first two.
    pub(crate) fn fit_stepped<M: Classifier, E>(
        &self,
        model: M,
        plan: &Plan,
        before: impl FnMut(&mut M, &mut ModuleOptimizer, &Batch) -> Result<(), E>,
        watch: impl FnMut(usize, &M),
    ) -> Result<M, E> {
        self.fit_by(model, plan, |_| None, before, watch)
    }

    /// Trains with something that is added to the loss.
    pub(crate) fn fit_penalized<M: Classifier>(
        &self,
        model: M,
        plan: &Plan,
        penalty: impl Fn(&M) -> Option<Tensor<1>>,
    ) -> M {
        let Ok(model) = self.fit_by(model, plan, penalty, |_, _, _| Ok::<_, Infallible>(()), |_, _| {});
        model
    }

    fn fit_by<M: Classifier, E>(
        &self,
        mut model: M,
        plan: &Plan,
        penalty: impl Fn(&M) -> Option<Tensor<1>>,
        mut before: impl FnMut(&mut M, &mut ModuleOptimizer, &Batch) -> Result<(), E>,
        mut watch: impl FnMut(usize, &M),
    ) -> Result<M, E> {
        let (split, device) = (&self.lab.train, &self.lab.device);
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut optimizer = AdamWConfig::new().with_weight_decay(plan.decay).init();
        let mut order: Vec<usize> = (0..split.len()).collect();
        let loss_of = CrossEntropyLossConfig::new().init(device);
        let batches = split.len().div_ceil(plan.batch);
        for epoch in 0..plan.epochs {
            order.shuffle(&mut random);
            for (i, indices) in order.chunks(plan.batch).enumerate() {
                let batch = self.batch(indices);
                before(&mut model, &mut optimizer, &batch)?;
                let (images, labels) = batch;
                let loss = loss_of.forward(model.forward(images), labels);
                let loss = match penalty(&model) {
                    Some(penalty) => loss + penalty,
                    None => loss,
                };
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                let rate = plan.rate(epoch as f64 + i as f64 / batches as f64);
                model = optimizer.step(rate, model, gradients);
            }
            watch(epoch + 1, &model);
        }
        Ok(model)
    }

    /// Images and labels of the training set.
    pub(crate) fn batch(&self, indices: &[usize]) -> Batch {
        let (pixels, labels) = self.lab.train.gather(indices);
        let count = indices.len();
        (
            Tensor::from_data(TensorData::new(pixels, [count, PIXELS]), &self.lab.device),
            Tensor::from_data(TensorData::new(labels, [count]), &self.lab.device),
        )
    }
}

/// A pruner by the text of a recipe.
pub(crate) fn pruner(recipe: &str) -> Result<Pruner, Failed> {
    Ok(Pruner::from_toml(recipe, &pruning_plugins::all())?)
}

struct Look;

impl ModuleVisitor for Look {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mnist::default_dir;

    #[test]
    fn seeds_that_run_at_the_same_time_draw_the_weights_they_draw_alone() {
        let lab = Lab::new(Mnist::load(&default_dir()).unwrap(), true);
        let log = Log::in_memory(true);
        let error = |seed| {
            let run = Run { lab: &lab, log: &log, experiment: "none", seed };
            let model = run.drawn(seed, Lenet300::new);
            run.error(&model)
        };
        let alone: Vec<f64> = (1..5).map(error).collect();
        let together: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..5).map(|seed| scope.spawn(move || error(seed))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(alone, together);
        assert_ne!(alone[0], alone[1]);
    }
}
