//! The round as the closure that trains sees it: [`Round`].

use crate::snapshot::Snapshot;
use crate::{PruneError, Session};
use burn::module::Module;
use pruning_core::report::Report;
use pruning_core::schedule::Initialization;

/// A round, as its training sees it.
#[derive(Debug)]
pub struct Round {
    pub(super) number: usize,
    pub(super) rounds: usize,
    pub(super) report: Report,
    pub(super) rewound_to: Option<usize>,
    /// The step of this training whose weights are asked for, and the session that knows whose they are.
    pub(super) wanted: Option<(usize, Session)>,
    pub(super) snapshot: Option<Result<Snapshot, PruneError>>,
}

impl Round {
    /// Returns the number of the round; 0 is the training before the first pruning.
    ///
    /// Take random seeds from it, so that a training that is repeated after an interruption draws the same numbers.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the number of the last round.
    #[must_use]
    pub fn last(&self) -> usize {
        self.rounds
    }

    /// Returns the report of the pruning of this round, or in round 0 of what the masks keep.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the step to which the pruning sets the schedule of the learning rate back, if it does.
    ///
    /// It is the step of the recipe with `"rewind"` and `"rewind_rate"`, and 0 with `"reinitialize"`. It is `None` in round 0, and where
    /// training goes on with the weights and the rate that it has.
    #[must_use]
    pub fn rewound_to(&self) -> Option<usize> {
        self.rewound_to
    }

    /// Reports that the training has done this many steps.
    ///
    /// In round 0 of a recipe that rewinds to this step, the weights are kept to rewind to. All other calls do nothing. If the weights
    /// belong to another model, the round fails after its training.
    pub fn reached<M: Module>(&mut self, step: usize, model: &M) {
        if let Some((_, session)) = self.wanted.as_ref().filter(|(wanted, _)| *wanted == step) {
            self.snapshot = Some(session.check(model).map(|()| Snapshot::of(model)));
        }
    }
}

/// The step that a pruning sets the learning rate back to.
pub(super) fn rewound_to(initialization: Initialization) -> Option<usize> {
    match initialization {
        Initialization::Keep => None,
        Initialization::Rewind { step } | Initialization::RewindRate { step } => Some(step),
        Initialization::Reinitialize => Some(0),
    }
}
