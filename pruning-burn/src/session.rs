//! Pruning while training goes on: [`Session`].

use crate::attach::put;
use crate::layers::{Layer, layers};
use crate::select::{Amounts, Selection, select};
use crate::snapshot::Snapshot;
use crate::{Inputs, PruneError, Pruner};
use burn::module::Module;
use pruning_core::{Amount, Bits, Budget, Event, Initialization, Report, Sparsity};

/// A pruning schedule under way on one model.
///
/// Call [`step`](Self::step) once for each step of the schedule, whatever you count: batches, epochs, rounds.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// # use pruning_burn::{Plugins, Pruner, finish};
/// let recipe = "sparsity = 0.75\ncriterion = \"magnitude\"\nschedule = { kind = \"iterative\", rounds = 2 }";
/// let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
/// let mut session = pruner.attach(&mut model)?;
/// while !session.is_done() {
///     if let Some(report) = session.step(&mut model)? {
///         println!("{report}");
///     }
///     // train for an epoch
/// }
/// finish(&mut model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) pruner: Pruner,
    /// The number of the next call.
    pub(crate) step: usize,
    pub(crate) targets: Vec<String>,
    pub(crate) snapshot: Option<Snapshot>,
}

impl Session {
    pub(crate) fn start<M: Module>(pruner: &Pruner, model: &mut M) -> Result<Self, PruneError> {
        let all = layers(model);
        let selection = Selection::new(pruner.recipe(), &all)?;
        if let Some(layer) = all.iter().find(|l| l.keep.is_some()) {
            return Err(PruneError::AlreadyAttached { path: layer.path.clone() });
        }
        let open = selection.targets.iter().map(|t| (t.layer, Bits::ones(all[t.layer].layout.len()))).collect();
        let snapshot = match pruner.recipe().initialization {
            Initialization::Rewind { step: 0 } => Some(Snapshot::of(model)),
            _ => None,
        };
        *model = put(model, &all, open);
        Ok(Self { pruner: pruner.clone(), step: 0, targets: targets(&selection, &all), snapshot })
    }

    /// Counts one step, and prunes if one is due. Nothing but a few comparisons otherwise.
    ///
    /// With `initialization = "rewind"` a pruning also sets every parameter back; start a new optimizer then, since the
    /// moments of the old one belong to other weights. Running statistics stay as they are.
    ///
    /// # Errors
    /// The masks of the session are not on this model (any more), or a weight is not finite. Model and session are what they
    /// were.
    pub fn step<M: Module>(&mut self, model: &mut M) -> Result<Option<Report>, PruneError> {
        self.advance(model, None)
    }

    /// The same for a criterion that looks at more than the weights. Inputs are used if a pruning is [`due`](Self::due), so only
    /// then are they worth collecting.
    ///
    /// # Errors
    /// As [`step`](Self::step); an input that the criterion needs is missing.
    pub fn step_with<M: Module>(&mut self, model: &mut M, inputs: &Inputs) -> Result<Option<Report>, PruneError> {
        self.advance(model, Some(inputs))
    }

    fn advance<M: Module>(&mut self, model: &mut M, inputs: Option<&Inputs>) -> Result<Option<Report>, PruneError> {
        let recipe = self.pruner.recipe();
        if recipe.initialization == (Initialization::Rewind { step: self.step }) && self.snapshot.is_none() {
            self.snapshot = Some(Snapshot::of(model));
        }
        let report = match self.due() {
            None => None,
            Some(event) => Some(self.prune(model, &event, inputs)?),
        };
        self.step += 1;
        Ok(report)
    }

    fn prune<M: Module>(&self, model: &mut M, event: &Event, inputs: Option<&Inputs>) -> Result<Report, PruneError> {
        let recipe = self.pruner.recipe();
        let all = layers(model);
        let selection = Selection::new(recipe, &all)?;
        let now = targets(&selection, &all);
        let differs = |a: &[String], b: &[String]| a.iter().find(|path| !b.contains(path)).cloned();
        if let Some(path) = differs(&now, &self.targets).or_else(|| differs(&self.targets, &now)) {
            return Err(PruneError::TargetsChanged { path });
        }
        if let Some(target) = selection.targets.iter().find(|t| all[t.layer].keep.is_none()) {
            return Err(PruneError::NotAttached { path: all[target.layer].path.clone() });
        }
        let own = |target| recipe.schedule.own_amount(event, target);
        let shared = match recipe.budget {
            Budget::Sparsity(sparsity) => recipe.schedule.amount(event, sparsity),
            Budget::Count(count) => Amount::Count(count),
        };
        let amounts = Amounts { shared, own: &own };
        let (masks, mut report) = select(model, recipe, &all, &selection, &amounts, inputs)?;
        let mut pruned = put(model, &all, masks);
        if let Some(snapshot) = &self.snapshot {
            pruned = snapshot.restore(pruned);
        }
        *model = pruned;
        report.step = Some(event.step);
        report.round = Some((event.round, event.rounds));
        Ok(report)
    }

    fn sparsity(&self) -> Sparsity {
        self.pruner.recipe().sparsity().unwrap_or(Sparsity::ZERO)
    }

    /// The pruning that the next [`step`](Self::step) will do, if one is due.
    #[must_use]
    pub fn due(&self) -> Option<Event> {
        self.pruner.recipe().schedule.due(self.step, self.sparsity())
    }

    /// Whether every pruning of the schedule has happened.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.step > self.pruner.recipe().schedule.last(self.sparsity())
    }

    /// Steps counted so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.step
    }

    /// The pruner that started it.
    #[must_use]
    pub fn pruner(&self) -> &Pruner {
        &self.pruner
    }
}

pub(crate) fn targets(selection: &Selection, all: &[Layer]) -> Vec<String> {
    selection.targets.iter().map(|t| all[t.layer].path.clone()).collect()
}
