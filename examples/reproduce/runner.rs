//! What every experiment needs: data, dense networks, training.

use crate::log::{Log, Row};
use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use pruning_burn::Pruner;
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::mnist::{Mnist, Split};
use pruning_examples::training::{Classifier, Rate, Shuffle, Trainer, Training};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What is left of the training and test set in a quick run.
const QUICK: (usize, usize) = (6000, 2000);

/// The dense network that several experiments start from.
pub(crate) const DENSE: Training = Training::new(10, Rate::Cosine(2e-3));
/// Training after a pruning, unless the experiment is about that.
pub(crate) const RETRAIN: Training = Training::new(4, Rate::Cosine(1e-3));

/// The data, and what seeds share.
#[derive(Debug)]
pub struct Runner {
    pub(crate) train: Split,
    validation: Split,
    test: Split,
    pub(crate) device: Device,
    pub(crate) quick: bool,
    dense: Mutex<BTreeMap<u64, Lenet300>>,
    /// Weights are drawn from the one generator of the device.
    drawing: Mutex<()>,
}

impl Runner {
    /// With a few thousand images if it must be quick.
    #[must_use]
    pub fn new(data: Mnist, quick: bool) -> Self {
        let (mut train, validation, mut test) = data.hold_out();
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
    pub runner: &'a Runner,
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
        let validation_error = model.error(&self.runner.validation, &self.runner.device);
        let more = if let Value::Object(more) = more { more } else { Map::new() };
        let seconds = (10.0 * start.elapsed().as_secs_f64()).round() / 10.0;
        let (experiment, variant, seed) = (self.experiment.to_string(), variant.to_string(), self.seed);
        self.log.add(Row { experiment, variant, seed, sparsity, test_error, validation_error, seconds, more })?;
        Ok(test_error)
    }

    /// Percentage of test images that are taken for another digit.
    pub(crate) fn error<M: Classifier>(&self, model: &M) -> f64 {
        model.error(&self.runner.test, &self.runner.device)
    }

    /// `full` epochs, or what a quick run has instead.
    pub(crate) fn epochs(&self, full: usize, quick: usize) -> usize {
        if self.runner.quick { quick } else { full }
    }

    /// A network with the weights of `seed`.
    pub(crate) fn drawn<M: Classifier>(&self, seed: u64, new: impl Fn(&Device) -> M) -> M {
        let _alone = self.runner.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        self.runner.device.seed(seed);
        let model = new(&self.runner.device);
        // Burn draws a parameter when it is first looked at.
        model.visit(&mut Look);
        model
    }

    /// The trained network that several experiments start from; the same for a seed in each of them.
    pub(crate) fn dense(&self) -> Lenet300 {
        let kept =
            |runner: &Runner| runner.dense.lock().unwrap_or_else(PoisonError::into_inner).get(&self.seed).cloned();
        if let Some(model) = kept(self.runner) {
            return model;
        }
        let model = self.fit(self.drawn(self.seed, Lenet300::new), &DENSE.with_epochs(self.epochs(DENSE.epochs, 5)));
        self.runner.dense.lock().unwrap_or_else(PoisonError::into_inner).insert(self.seed, model.clone());
        model
    }

    /// Draws the order of the images, which depends on the seed alone.
    pub(crate) fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    /// A training on the images of the runner.
    pub(crate) fn trainer<'a, M: Classifier + 'a>(&'a self, how: &Training, random: &'a mut StdRng) -> Trainer<'a, M> {
        // The numbers of docs/results.md come from this order.
        let how = Training { shuffle: Shuffle::Shuffled, ..*how };
        Trainer::new(how, &self.runner.train, &self.runner.device, random)
    }

    /// Trains, with the images in an order that depends on the seed alone.
    pub(crate) fn fit<M: Classifier>(&self, model: M, how: &Training) -> M {
        self.trainer(how, &mut self.random()).run(model)
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
    use pruning_examples::mnist::default_dir;

    #[test]
    fn seeds_that_run_at_the_same_time_draw_the_weights_they_draw_alone() {
        let runner = Runner::new(Mnist::load(&default_dir()).unwrap(), true);
        let log = Log::in_memory(true);
        let error = |seed| {
            let run = Run { runner: &runner, log: &log, experiment: "none", seed };
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
