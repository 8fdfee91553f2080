//! What a training is told of its round, and tells it: [`Round`].

use crate::snapshot::Snapshot;
use crate::{PruneError, Session};
use burn::module::Module;
use pruning_core::report::Report;
use pruning_core::schedule::Initialization;

/// A round, as the training of it sees it.
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
    /// Its number; 0 is the training before the first pruning. What a training draws at random should follow from it, so that
    /// one that goes on after it was killed draws the same.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// The number of the last round.
    #[must_use]
    pub fn last(&self) -> usize {
        self.rounds
    }

    /// What the pruning of this round did; in round 0, what the masks keep.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The step that the schedule of the learning rate is set back to: that of the recipe with `"rewind"` and `"rewind_rate"`, 0 with
    /// `"reinitialize"`. `None` where training goes on from the weights and the rate it has, and in round 0.
    #[must_use]
    pub fn rewound_to(&self) -> Option<usize> {
        self.rewound_to
    }

    /// Says that this many steps of the training are done. In round 0 of a recipe that rewinds to that step, the weights are
    /// kept to go back to; all other calls do nothing. If they are those of another model, the round fails after its training.
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
