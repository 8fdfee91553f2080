//! Pruning during training: [`Session`].
//!
//! # Contract
//!
//! A step is whatever the caller counts. [`Session::step`] first checks that the model is its own: by ids and masks alone where nothing is
//! due, completely otherwise. It prunes if the schedule has an event at this step. The last event of a schedule prunes exactly to the
//! target, whatever a power or curve gives there. A `step` that fails leaves the session unchanged. `initialization = "rewind"`
//! takes a snapshot at its step, and restores it after each pruning: every float parameter, but not the running statistics.
//! `"reinitialize"` restores the weights that [`Session::start_from`] was given, since Burn keeps no initializer. The library sets no
//! learning rate; [`Session::learning_rate_step`] says at which step its schedule is. A session resumes only under the recipe it followed.
//!
//! With `grow`, updates follow the last pruning every so many steps, before `end`. Each layer drops the lowest `round(f(t) n)` of its `n`
//! weights by the recipe's criterion and grows as many by the criterion of `grow`, among all weights that are inactive after the drop
//! (RigL, algorithm 1). So a weight that was just dropped can grow again, and then keeps its value; all others start from zero. `f` anneals
//! by a cosine whose time is counted from the last pruning. Pruned weights need scores too, so gradients through masks are refused. A
//! criterion sees the number of the update, so that `random` draws other scores each time. Only single weights grow, no larger units.

mod advance;
pub(crate) mod file;
mod grow;

pub use crate::optimizer_state::mask_optimizer;

use crate::layers::{Layer, layers};
use crate::mask::attach::put;
use crate::optimizer_state;
use crate::score::needed::at_odds;
use crate::score::{CriterionInputs, Needs};
use crate::snapshot::{Kept, Snapshot};
use crate::targets::Selection;
use crate::{PruneError, Pruner};
use burn::module::{Module, ParamId};
use burn::optim::ModuleOptimizer;
use pruning_core::budget::Sparsity;
use pruning_core::mask::Bits;
use pruning_core::report::Report;
use pruning_core::schedule::{Event, Initialization, Update};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A pruning schedule in progress on one model.
///
/// Call [`step`](Self::step) once for each step of the schedule. You choose what a step is: a batch, an epoch, a round.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # use pruning_burn::mask::finish;
/// let recipe = "sparsity = 0.75\ncriterion = \"magnitude\"\nschedule = { kind = \"iterative\", rounds = 2 }";
/// let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
/// let mut session = pruner.start(&mut model)?;
/// let mut kept = Vec::new();
/// while !session.is_done() {
///     if let Some(report) = session.step(&mut model, None)? {
///         kept.push(report.kept());
///     }
///     // train for an epoch
/// }
/// assert_eq!(kept, [100, 50]);
/// finish(&mut model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With `grow` in the recipe, updates after the last pruning replace active weights by pruned ones:
///
/// ```
/// # use burn::{nn::{Linear, LinearConfig}, optim::AdamConfig, tensor::{Device, Tensor}};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// # use pruning_burn::score::{CriterionInputs, Needs};
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # let mut plugins = Plugins::linked();
/// let recipe = r#"
///     sparsity = 0.9
///     criterion = "magnitude"
///     grow = { criterion = "random", fraction = 0.3, every = 10, end = 75 }
/// "#;
/// let pruner = Pruner::from_toml(recipe, &plugins)?;
/// # let device = Device::flex().autodiff();
/// # let mut model = LinearConfig::new(20, 10).init(&device);
/// # let mut optimizer = AdamConfig::new().init();
/// # let batch = Tensor::<2>::ones([4, 20], &device);
/// # let loss = |model: &Linear, batch: &Tensor<2>| model.forward(batch.clone()).square().mean();
/// let mut session = pruner.start(&mut model)?;
/// # for _ in 0..80 {
/// // Growing by "gradient" would need the gradients of pruned weights too, at the steps that look at them.
/// let inputs = match session.needs() {
///     needs if needs.is_empty() => CriterionInputs::new(),
///     needs => CriterionInputs::new().with_dense_gradients(&model, needs, &[batch.clone()], loss)?,
/// };
/// if session.step(&mut model, &inputs)?.is_some() {
///     // Clears the momentum from before a weight was pruned.
///     optimizer = session.mask_optimizer(&model, &optimizer)?;
/// }
/// // train for a step
/// # }
/// # assert_eq!(pruning_burn::mask::masks(&model).get("weight").unwrap().kept(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    pruner: Pruner,
    /// The number of the next call.
    step: usize,
    targets: Vec<String>,
    /// The ids of the targets, in their order.
    ids: Vec<ParamId>,
    snapshot: Option<Kept>,
    /// Where a snapshot goes that is not kept in memory.
    snapshot_file: Option<PathBuf>,
    /// New weights for the next pruning.
    fresh: Option<Snapshot>,
    /// What the last step brought back.
    grown: BTreeMap<String, Bits>,
}

impl Pruner {
    /// Starts a [`Session`], which prunes the model by the schedule of the recipe.
    ///
    /// This attaches masks that keep every weight, and the session tightens them step by step.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
    /// let mut session = pruner.start(&mut model)?;
    /// assert_eq!(masks(&model).get("weight").unwrap().kept(), 200);
    /// session.step(&mut model, None)?;
    /// assert_eq!(masks(&model).get("weight").unwrap().kept(), 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The recipe does not fit the model, or a target carries a mask or another reparameterization.
    pub fn start<M: Module>(&self, model: &mut M) -> Result<Session, PruneError> {
        Session::start(self, model)
    }
}

impl Session {
    pub(crate) fn start<M: Module>(pruner: &Pruner, model: &mut M) -> Result<Self, PruneError> {
        let all = layers(model)?;
        let selection = Selection::new(pruner.recipe(), &all)?;
        at_odds(pruner.recipe())?;
        #[cfg(feature = "trace")]
        if let Some(trace) = pruner.trace() {
            crate::pruner::channels::counted(trace, &all, &selection)?;
        }
        if let Some(layer) = all.iter().find(|l| l.keep.is_some()) {
            return Err(PruneError::AlreadyAttached { path: layer.path.clone() });
        }
        let open = selection.targets.iter().map(|t| (t.layer, Bits::ones(all[t.layer].layout.len()))).collect();
        let masked = put(model, &all, open)?;
        let snapshot = match pruner.recipe().initialization {
            Initialization::Rewind { step: 0 } => Some(Kept::Memory(Snapshot::of(model))),
            _ => None,
        };
        *model = masked;
        let targets = targets(&selection, &all);
        let ids = selection.targets.iter().map(|t| all[t.layer].id).collect();
        let (grown, pruner) = (BTreeMap::new(), pruner.clone());
        Ok(Self { pruner, step: 0, targets, ids, snapshot, snapshot_file: None, fresh: None, grown })
    }

    /// A session at its first step on a model that carries the masks already.
    pub(crate) fn on<M: Module>(pruner: &Pruner, model: &M) -> Result<Self, PruneError> {
        let all = layers(model)?;
        let selection = Selection::new(pruner.recipe(), &all)?;
        let ids = selection.targets.iter().map(|t| all[t.layer].id).collect();
        let (targets, grown, pruner) = (targets(&selection, &all), BTreeMap::new(), pruner.clone());
        let session = Self { pruner, step: 0, targets, ids, snapshot: None, snapshot_file: None, fresh: None, grown };
        session.check(model)?;
        Ok(session)
    }

    /// Goes to the step of the next pruning or update, and says whether there is one.
    pub(crate) fn forward(&mut self) -> bool {
        let recipe = self.pruner.recipe();
        let (schedule, target) = (&recipe.schedule, self.sparsity());
        let update = || recipe.grow.as_ref().and_then(|grow| grow.next(self.step, schedule.last(target)));
        match schedule.next(self.step, target).or_else(update) {
            Some(step) => {
                self.step = step;
                true
            }
            None => false,
        }
    }

    /// Goes past the next pruning or update, which a model that was loaded has behind it.
    pub(crate) fn skip(&mut self) {
        self.forward();
        self.step += 1;
    }

    /// Takes the weights to go back to from a file: one that is there, or will be.
    pub(crate) fn rewind_from(&mut self, file: PathBuf, there: bool) {
        self.snapshot = there.then(|| Kept::File(file.clone()));
        self.snapshot_file = Some(file);
    }

    /// Whether it has the weights to go back to.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Keeps the weights to go back to.
    pub(crate) fn keep(&mut self, snapshot: Snapshot) -> Result<(), PruneError> {
        self.snapshot = Some(Kept::new(snapshot, self.snapshot_file.as_deref())?);
        Ok(())
    }

    /// Keeps the snapshot to rewind to in a file instead of in memory, for models that do not fit into memory twice.
    ///
    /// The file must exist until the last pruning. A saved session holds the name of the file, not its contents.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("rewind.bpk");
    /// let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"\ninitialization = \"rewind\"";
    /// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
    /// let session = Pruner::from_toml(recipe, &Plugins::linked())?.start(&mut model)?.with_snapshot_file(&file)?;
    /// assert!(file.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn with_snapshot_file(mut self, file: impl AsRef<Path>) -> Result<Self, PruneError> {
        let file = file.as_ref();
        if let Some(Kept::Memory(snapshot)) = self.snapshot {
            self.snapshot = Some(Kept::new(snapshot, Some(file))?);
        }
        self.snapshot_file = Some(file.to_path_buf());
        Ok(self)
    }

    /// Sets the new weights for the next pruning of a recipe with `initialization = "reinitialize"`.
    ///
    /// Call it before each pruning, with a model that is built like the first one from another seed. Burn does not keep the
    /// initializer of a parameter, so the session cannot draw the weights itself.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use pruning_burn::plugin::Plugins;
    /// # use pruning_burn::Pruner;
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"\ninitialization = \"reinitialize\"";
    /// let device = Device::flex();
    /// let mut model = LinearConfig::new(20, 10).init(&device);
    /// let mut session = Pruner::from_toml(recipe, &Plugins::linked())?.start(&mut model)?;
    /// // train
    /// let fresh = LinearConfig::new(20, 10).init(&device);
    /// session.start_from(&fresh);
    /// session.step(&mut model, None)?;
    /// pruning_burn::mask::undo(&mut model)?;
    /// assert_eq!(model.weight.val().into_data(), fresh.weight.val().into_data());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_from<M: Module>(&mut self, fresh: &M) {
        self.fresh = Some(Snapshot::of(fresh));
    }

    /// Counts one step, and prunes the model or updates its masks if that is due.
    ///
    /// It returns a report if it pruned or updated. Every step checks that this is the model of the session; where nothing is due, that
    /// is all it does, and it takes next to no time. A criterion that looks at more than the weights takes inputs:
    /// [`needs`](Self::needs) names those of the next step.
    ///
    /// With `initialization = "rewind"` or `"reinitialize"` a pruning also restores every parameter. Start a new optimizer then, since the
    /// moments of the old one belong to other weights. Running statistics stay as they are.
    ///
    /// # Errors
    /// The model does not carry the masks of the session, an input is missing, or a weight is not finite. Model and session are unchanged.
    pub fn step<'a, M: Module>(
        &mut self,
        model: &mut M,
        inputs: impl Into<Option<&'a CriterionInputs>>,
    ) -> Result<Option<Report>, PruneError> {
        self.advance(model, inputs.into())
    }

    pub(crate) fn sparsity(&self) -> Sparsity {
        self.pruner.recipe().sparsity().unwrap_or(Sparsity::ZERO)
    }

    /// Returns the pruning that the next [`step`](Self::step) will do, if one is due.
    #[must_use]
    pub fn due(&self) -> Option<Event> {
        self.pruner.recipe().schedule.due(self.step, self.sparsity())
    }

    /// Returns the update of dynamic sparse training that the next [`step`](Self::step) will do, if one is due.
    #[must_use]
    pub fn due_update(&self) -> Option<Update> {
        let recipe = self.pruner.recipe();
        recipe.grow.as_ref()?.due(self.step, recipe.schedule.last(self.sparsity()))
    }

    /// Returns the inputs that the next [`step`](Self::step) looks at besides the weights.
    ///
    /// If nothing is due, that is [`Needs::none()`].
    #[must_use]
    pub fn needs(&self) -> Needs {
        match (self.due(), self.due_update(), &self.pruner.recipe().grow) {
            (Some(_), ..) => self.pruner.needs(),
            (None, Some(_), Some(grow)) => self.pruner.needs() | grow.criterion.needs(),
            _ => Needs::none(),
        }
    }

    /// Returns the optimizer with moments of zero for all pruned weights, and for those that the last step grew.
    ///
    /// Call it after each step that returns a report. The function [`mask_optimizer`] clears the moments of pruned weights alone.
    ///
    /// # Errors
    /// The state of the optimizer cannot be read.
    pub fn mask_optimizer<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<ModuleOptimizer, PruneError> {
        optimizer_state::clear(model, optimizer, &self.grown)
    }

    /// Returns the step at which the schedule of the learning rate is, in the training that follows the last [`step`](Self::step).
    ///
    /// With `initialization = "keep"` it runs on. Otherwise each pruning sets it back: to the step of the weights with
    /// `"rewind"`, to the named step with `"rewind_rate"`, to 0 with `"reinitialize"` (Renda et al. 2020,
    /// arXiv:2003.02389, section 2).
    #[must_use]
    pub fn learning_rate_step(&self) -> usize {
        let recipe = self.pruner.recipe();
        let now = self.step.saturating_sub(1);
        let back = match recipe.initialization {
            Initialization::Keep => return now,
            Initialization::Rewind { step } | Initialization::RewindRate { step } => step,
            Initialization::Reinitialize => 0,
        };
        match recipe.schedule.latest(now, self.sparsity()).filter(|_| self.step > 0) {
            Some(pruned) => back + (now - pruned),
            None => now,
        }
    }

    /// Returns whether every pruning and update of the recipe is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let recipe = self.pruner.recipe();
        let last = recipe.schedule.last(self.sparsity());
        self.step > recipe.grow.as_ref().and_then(|grow| grow.last(last)).unwrap_or(last)
    }

    /// Returns the number of steps counted so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Returns the pruner that started the session.
    #[must_use]
    pub fn pruner(&self) -> &Pruner {
        &self.pruner
    }
}

pub(crate) fn targets(selection: &Selection, all: &[Layer]) -> Vec<String> {
    selection.targets.iter().map(|t| all[t.layer].path.clone()).collect()
}
