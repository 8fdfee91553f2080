//! Pruning inside Burn's `Learner`: [`Pruned`].
//!
//! # Contract
//!
//! The session takes its first step when the model is wrapped, and one after each step of the optimizer, as in a training loop of your
//! own. Before a step that looks at gradients, the batch runs through an opened copy (zeros in the base, masks that keep all), and
//! the optimizer gets the gradients through the masks. Records of Burn hold tensors alone, so they hold the session as the bytes of its
//! text, under `pruning.session`, and `pruning.crc32` is the checksum of all tensors: of the model, the session and its snapshot.

mod metric;
mod record;

pub use metric::SparsityMetric;

use crate::layers::{Layer, first_layers};
use crate::mask::PruningMask;
use crate::score::CriterionInputs;
use crate::walk::{self, Position, Visit};
use crate::{PruneError, Session};
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param, Reparameterization};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Device, Tensor};
use burn_train::{InferenceStep, Interrupter, TrainOutput, TrainStep};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A model that a [`Session`] prunes while Burn's `Learner` trains it.
///
/// It has the parameters of the model under their own paths, and trains and validates as the model does. The session takes its first
/// step at once and one more after each step of the optimizer, so a step is a batch (or several batches, if gradients are accumulated).
/// After a pruning or update, the optimizer's moments of weights that were pruned or came back are cleared.
///
/// A checkpoint holds the session and a checksum of everything, so a training that resumes from it goes on with the schedule: build the
/// model, start a session, wrap both, and let the training load the checkpoint. A damaged checkpoint is an error.
///
/// Criteria that look at gradients get the gradients of the batch that was just trained on, for pruned weights too. No other inputs are
/// available.
///
/// With several workers (`ExecutionStrategy::MultiDevice`, whose list may name one device more than once, such as the only CPU of Flex),
/// each step is that of one device that accumulates the batches of all workers: gradients are added up, and the session takes its steps on
/// the first device, whose masks go to every worker with the model. The optimizer takes its steps there too (`OptimMainDevice`) or shares
/// the parameters out over the devices (`OptimSharded`). If the recipe looks at gradients, both do the former, since all gradients have
/// to be on one device. `DistributedDataParallel` needs collective operations, which the CPU backends of Burn 0.22 and its remote devices
/// lack (`all_reduce` panics there).
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::{learner::Pruned, prelude::*};
/// let recipe = "sparsity = 0.75\ncriterion = \"magnitude\"\nschedule = { kind = \"iterative\", rounds = 2 }";
/// let mut model = LinearConfig::new(20, 10).init(&Device::flex().autodiff());
/// let session = Pruner::from_toml(recipe, &Plugins::linked())?.start(&mut model)?;
/// let pruned = Pruned::new(model, session)?;
/// // Give `pruned` to the `Learner`, and `pruned.metric()` to the training. It returns the trained `Pruned`:
/// let (model, session) = pruned.into_parts()?;
/// assert_eq!((session.steps(), masks(&model).get("weight").unwrap().kept()), (1, 100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pruned<M> {
    model: M,
    session: Session,
    state: Arc<Mutex<State>>,
}

/// What all clones of a model share.
#[derive(Clone, Debug, Default)]
struct State {
    sparsity: f64,
    failed: Option<PruneError>,
    interrupter: Option<Interrupt>,
}

#[derive(Clone)]
struct Interrupt(Interrupter);

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}

impl<M: Module> Pruned<M> {
    /// Wraps a model and its session, and takes the first step of a session that has taken none.
    ///
    /// # Errors
    /// The first step fails.
    pub fn new(model: M, session: Session) -> Result<Self, PruneError> {
        Self::with_inputs(model, session, &CriterionInputs::new())
    }

    /// Wraps a model and its session like [`new`](Self::new), with inputs for the first step.
    ///
    /// A criterion that looks at more than the weights needs them.
    ///
    /// # Errors
    /// The first step fails.
    pub fn with_inputs(mut model: M, mut session: Session, inputs: &CriterionInputs) -> Result<Self, PruneError> {
        if session.steps() == 0 {
            session.step(&mut model, inputs)?;
        }
        let state = State { sparsity: session.pruner().report(&model)?.sparsity(), ..State::default() };
        Ok(Self { model, session, state: Arc::new(Mutex::new(state)) })
    }

    /// Sets an interrupter, which ends the training when a step of the session fails.
    ///
    /// Without it, training goes on with the masks from before that step.
    #[must_use]
    pub fn with_interrupter(self, interrupter: Interrupter) -> Self {
        self.state(|state| state.interrupter = Some(Interrupt(interrupter)));
        self
    }

    /// Returns the wrapped model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Returns the session that prunes the model.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Creates a metric of the sparsity of the masks, for `metric_train_numeric` and `metric_valid_numeric`.
    #[must_use]
    pub fn metric(&self) -> SparsityMetric {
        SparsityMetric { state: self.state.clone(), now: None }
    }

    /// Returns the model and its session.
    ///
    /// # Errors
    /// A step of the session failed during the training. The error is that of the first such step.
    pub fn into_parts(self) -> Result<(M, Session), PruneError> {
        match self.state(|state| state.failed.clone()) {
            Some(error) => Err(error),
            None => Ok((self.model, self.session)),
        }
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_model(&self, model: M) -> Self {
        Self { model, session: self.session.clone(), state: self.state.clone() }
    }

    /// The step of the session that follows a step of the optimizer.
    fn advance(mut self, optimizer: &mut ModuleOptimizer, inputs: &CriterionInputs) -> Self {
        // Later steps would come at other times than the schedule says.
        if self.state(|state| state.failed.is_some()) {
            return self;
        }
        let done = self.session.step(&mut self.model, inputs).and_then(|report| {
            if report.is_some() {
                *optimizer = self.session.mask_optimizer(&self.model, optimizer)?;
            }
            Ok(report)
        });
        match done {
            Ok(None) => {}
            Ok(Some(report)) => self.state(|state| state.sparsity = report.sparsity()),
            Err(error) => self.state(|state| {
                if let Some(Interrupt(interrupter)) = &state.interrupter {
                    interrupter.stop(Some(&error.to_string()));
                }
                state.failed.get_or_insert(error);
            }),
        }
        self
    }
}

impl<M: Module> Module for Pruned<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        let model = self.model.clone().fork(device);
        self.with_model(model)
    }

    fn to_device(self, device: &Device) -> Self {
        let model = self.model.clone().to_device(device);
        self.with_model(model)
    }

    fn train(self) -> Self {
        let model = self.model.clone().train();
        self.with_model(model)
    }

    fn valid(&self) -> Self {
        self.with_model(self.model.valid())
    }

    fn materialize(self) -> Self {
        let model = self.model.clone().materialize();
        self.with_model(model)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.model.visit(visitor);
    }

    fn map<T: ModuleMapper>(self, mapper: &mut T) -> Self {
        let Self { model, session, state } = self;
        Self { model: model.map(mapper), session, state }
    }

    /// The record of the model, with the session in it.
    fn into_record(self) -> ModuleRecord {
        let Self { model, session, .. } = self;
        // Running statistics have their last update in the record of a validation model alone.
        record::with_session(model.valid().into_record(), &session)
    }

    fn try_load_record(self, record: ModuleRecord) -> Result<Self, RecordError> {
        let Self { model, session, state } = self;
        let (model, session) = record::load(model, record, &session)?;
        let loaded = Self { model, session, state };
        // The checkpoint fits the session, so its targets are there.
        if let Ok(report) = loaded.session.pruner().report(&loaded.model) {
            loaded.state(|state| state.sparsity = report.sparsity());
        }
        Ok(loaded)
    }
}

impl<M: fmt::Display> fmt::Display for Pruned<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

impl<M: TrainStep + Module> TrainStep for Pruned<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> TrainOutput<Self::Output> {
        // Gradients of pruned weights, where the next step of the session looks at them.
        if self.session.needs().is_empty() {
            self.model.step(item)
        } else {
            crate::mask::attach::opened(&self.model).step(item)
        }
    }

    fn optimize(mut self, optim: &mut ModuleOptimizer, lr_module: ModuleLearningRate, grads: GradientsParams) -> Self {
        let (grads, inputs) = if self.session.needs().is_empty() {
            (grads, CriterionInputs::new())
        } else {
            let inputs = CriterionInputs::new().of_step(&self.model, &grads);
            (masked(&self.model, grads), inputs)
        };
        self.model = self.model.optimize(optim, lr_module, grads);
        self.advance(optim, &inputs)
    }

    fn optimize_multi(
        mut self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: MultiGradientsParams,
    ) -> Self {
        let Some(main) = grads.grads.first().map(|(_, device)| device.clone()) else { return self };
        if !self.session.needs().is_empty() {
            // The session looks at the gradients of all workers, which go through the masks on the device of the masks.
            let grads = summed(&self.model, grads, &main);
            return self.optimize(optim, lr_module, grads);
        }
        // Each parameter comes out on the device that took its step; the session, and the masks, are on the first one.
        self.model = self.model.optimize_multi(optim, lr_module, grads).fork(&main);
        self.advance(optim, &CriterionInputs::new())
    }
}

impl<M: InferenceStep + Module> InferenceStep for Pruned<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> Self::Output {
        self.model.step(item)
    }
}

/// The gradients of all workers, added up on one device.
fn summed<M: Module>(model: &M, gradients: MultiGradientsParams, device: &Device) -> GradientsParams {
    let mut sum = GradientsAccumulator::new();
    for (gradients, _) in gradients.grads {
        sum.accumulate(model, gradients.to_device(&device.clone().inner(), model));
    }
    sum.grads()
}

/// The gradients as they come through the masks.
fn masked<M: Module>(model: &M, gradients: GradientsParams) -> GradientsParams {
    struct Through {
        gradients: GradientsParams,
        /// By path.
        carrying: HashMap<String, Layer>,
    }

    impl Visit for Through {
        fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
            let path = at.path();
            if let Some(layer) = self.carrying.get(&path)
                && let Some(keep) = layer.keep.clone().filter(|keep| keep.dims()[0] == layer.layout.len())
                && let Some(gradient) = self.gradients.remove::<D>(param.id)
            {
                let gradient = PruningMask::new(keep, None).apply(gradient);
                self.gradients.register(param.id, gradient);
            }
        }
    }

    let carrying = first_layers(model).into_iter().filter(|layer| layer.keep.is_some());
    let carrying = carrying.map(|layer| (layer.path.clone(), layer)).collect();
    let mut through = Through { gradients, carrying };
    walk::visit(model, &mut through);
    through.gradients
}
