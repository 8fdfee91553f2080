//! Why a model was not made smaller: [`ShrinkError`].

use crate::PruneError;
use crate::layers::SharedId;
use crate::shrink::{Difference, SizeField};
use crate::trace::{GroupError, TraceError};
use pruning_core::budget::AllocationError;
use pruning_core::graph::{PlanError, RemovalError};
use pruning_core::score::NonFinite;

/// Why no plan could be made, or not be applied. Model and files are what they were.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShrinkError {
    /// The channels of the trace cannot be grouped.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The forward cannot be recorded.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The trace cannot be run on these inputs.
    #[error(transparent)]
    Replay(crate::trace::ReplayError),
    /// The recipe does not fit the model, or a score cannot be had.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The budget cannot be shared out.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The granularity is not one that can be removed.
    #[error(
        "granularity {granularity} cannot be planned: only channels and heads can be removed, one of them in a plan"
    )]
    Granularity {
        /// Of the recipe.
        granularity: String,
    },
    /// A parameter is named as a target whose channels cannot go.
    #[error("{path}: its channels cannot be removed: {why}")]
    Fixed {
        /// The parameter.
        path: String,
        /// Why.
        why: String,
    },
    /// No group of channels is left to choose from.
    #[error("no channels can be removed: {why}")]
    NothingToRemove {
        /// What is in the way.
        why: String,
    },
    /// Heads of another size than the recipe says.
    #[error("{path}: its heads have {found} channels, and the recipe says {expected}")]
    HeadSize {
        /// The parameter.
        path: String,
        /// Of the recipe.
        expected: usize,
        /// Of the trace.
        found: usize,
    },
    /// No multiple fits.
    #[error(
        "{path}: none of the multiples of {multiple} is between the {least} channels that must stay and the {units} there are"
    )]
    RoundTo {
        /// The group.
        path: String,
        /// Of what.
        multiple: usize,
        /// Least that must stay.
        least: usize,
        /// Channels in all.
        units: usize,
    },
    /// A target that no sparsity reaches.
    #[error("{what} can be brought down to {reachable:.4} of what they are, not to {asked:.4}")]
    Unreachable {
        /// Parameters or MACs.
        what: &'static str,
        /// The fraction asked.
        asked: f64,
        /// The smallest that can be had.
        reachable: f64,
    },
    /// A number that is no fraction.
    #[error("a target of {value} is no fraction of what there is: it must be above 0 and at most 1")]
    Fraction {
        /// The number.
        value: f64,
    },
    /// A score that counts for a channel is NaN or infinite.
    #[error(
        "{path}: criterion {criterion}: {source}, and it counts for the channels that lie on this parameter; repair the weights"
    )]
    NonFinite {
        /// The parameter.
        path: String,
        /// Name of the criterion.
        criterion: String,
        /// Which of its scores, in memory order.
        source: NonFinite,
    },
    /// A group cannot be left without units.
    #[error("min_keep: 0 units would leave a group of channels empty; it keeps 1 at least")]
    MinKeep,
    /// Nothing is a multiple of 0.
    #[error("round_to: there are no multiples of 0; 1 leaves counts as they are")]
    Multiple,
    /// The plan is for another model.
    #[error("{path}: the plan is for a parameter of shape {expected:?}, the model has {found:?}")]
    OtherModel {
        /// The parameter.
        path: String,
        /// Of the plan.
        expected: Vec<usize>,
        /// Of the model; empty if it has none.
        found: Vec<usize>,
    },
    /// Fields were not set.
    #[error(
        "sizes outside of the parameters were not set: {}; take each from `Fields` in the function given to `apply`",
        .fields.join(", ")
    )]
    MissingSetter {
        /// Path and new value of each.
        fields: Vec<String>,
    },
    /// Masks would be lost.
    #[error("{path}: carries a mask that is not the plan's; fold it in with `finish`, or take it off with `undo`")]
    Masked {
        /// The parameter.
        path: String,
    },
    /// The state of an optimizer cannot be cut.
    #[error("the state of the optimizer cannot be cut: {reason}")]
    State {
        /// What the store says.
        reason: String,
    },
    /// The function that sets fields panicked.
    #[error("the function that sets the fields panicked: {message}")]
    SetterPanicked {
        /// What it said.
        message: String,
    },
    /// The function that sets fields made another parameter of one.
    #[error(
        "{path}: the function that sets the fields changed this parameter; set the fields of the layer that is there, \
         since a layer that is built anew has lost its weights"
    )]
    Changed {
        /// The parameter.
        path: String,
    },
    /// The plan removes what the forward ties to something that stays.
    #[error("the plan does not fit what the forward does: {0}")]
    Removal(#[from] RemovalError),
    /// The plan cuts one parameter, and another one, whose channels go with it, otherwise.
    #[error(
        "{path}: the plan keeps {planned} positions of axis {axis}, and what the forward couples with it leaves {coupled}"
    )]
    Uncoupled {
        /// The parameter.
        path: String,
        /// The axis.
        axis: usize,
        /// Positions kept by the plan.
        planned: usize,
        /// Positions left by what goes along.
        coupled: usize,
    },
    /// The smaller model computes something else than the masked one: an operation has another size or number.
    #[error(
        "the smaller model would compute something else: operation {operation}, after {near}, should be {predicted}, and is \
         {found}{}",
        told(.fields)
    )]
    Departs {
        /// Place and name of the operation in the pass of the dense model.
        operation: String,
        /// The path of the nearest parameter before it.
        near: String,
        /// What follows from the dense pass and the plan.
        predicted: String,
        /// What the smaller model does.
        found: String,
        /// Fields that may hold a size which the plan changes.
        fields: Vec<SizeField>,
    },
    /// The outputs of the masked and the smaller model differ.
    #[error(
        "the smaller model is {:.3e} away from the masked one, relative to the largest output; {tolerance:.1e} is allowed",
        .difference.max_rel
    )]
    Apart {
        /// How far.
        difference: Difference,
        /// What is allowed, relative to the largest output.
        tolerance: f64,
    },
    /// The smaller model does something else than planned.
    #[error("the smaller model does not run as planned: {reason}{}", told(.fields))]
    Broken {
        /// What is different.
        reason: String,
        /// Fields that may hold a size which the plan changes.
        fields: Vec<SizeField>,
    },
}

/// Where the size may be that the code reads.
fn told(fields: &[SizeField]) -> String {
    if fields.is_empty() {
        return "; the code reads a size from a field, a constant or another tensor than the one that was cut"
            .to_string();
    }
    let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
    format!("; does the code read one of these fields? {}", fields.join("; "))
}

impl ShrinkError {
    pub(crate) fn broken(reason: String) -> Self {
        Self::Broken { reason, fields: Vec::new() }
    }

    /// Names the fields that the code may read.
    pub(crate) fn naming(mut self, candidates: impl FnOnce() -> Vec<SizeField>) -> Self {
        if let Self::Broken { fields, .. } | Self::Departs { fields, .. } = &mut self {
            *fields = candidates();
        }
        self
    }
}

impl From<SharedId> for ShrinkError {
    fn from(error: SharedId) -> Self {
        Self::Prune(error.into())
    }
}

impl From<ShrinkError> for PruneError {
    fn from(error: ShrinkError) -> Self {
        match error {
            ShrinkError::Prune(error) => error,
            ShrinkError::Allocation(error) => pruning_core::budget::ChooseError::Allocation(error).into(),
            error => Self::Channels(Box::new(error)),
        }
    }
}
