//! The errors of planning and removing channels: [`ShrinkError`].

use crate::PruneError;
use crate::layers::SharedId;
use crate::shrink::{Difference, SizeField};
use crate::trace::{GroupError, TraceError};
use pruning_core::budget::AllocationError;
use pruning_core::graph::{PlanError, RemovalError};
use pruning_core::score::NonFinite;

/// An error that keeps a plan from being made, applied, saved or loaded. Model and files do not change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShrinkError {
    /// The recipe names no reconstruction for the layers that read removed channels.
    #[error(
        "the recipe names no reconstruction that keeps the masks it is given; add one, such as reconstruct = \"least_squares\""
    )]
    NoReconstruction,
    /// The channels of the trace cannot be grouped.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The forward cannot be recorded.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The trace cannot be replayed on these inputs.
    #[error(transparent)]
    Replay(crate::trace::ReplayError),
    /// The recipe does not fit the model, or a score could not be computed.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The allocator cannot distribute the budget.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// The plan is inconsistent.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The units of this granularity cannot be removed.
    #[error(
        "granularity {granularity} cannot be planned: only channels and heads can be removed, one of them in a plan"
    )]
    Granularity {
        /// The granularity of the recipe.
        granularity: String,
    },
    /// The recipe names a target whose channels cannot be removed.
    #[error("{path}: its channels cannot be removed: {why}")]
    Fixed {
        /// The path of the parameter.
        path: String,
        /// The reason.
        why: String,
    },
    /// There is no group of channels to choose from.
    #[error("no channels can be removed: {why}")]
    NothingToRemove {
        /// The reason.
        why: String,
    },
    /// The heads have another size than the recipe says.
    #[error("{path}: its heads have {found} channels, and the recipe says {expected}")]
    HeadSize {
        /// The path of the parameter.
        path: String,
        /// The channels of a head in the recipe.
        expected: usize,
        /// The channels of a head in the trace.
        found: usize,
    },
    /// No multiple is in the range that the group allows.
    #[error(
        "{path}: no multiple of {multiple} is between the {least} channels that must stay and the {units} channels in all"
    )]
    RoundTo {
        /// The path of the group's first target.
        path: String,
        /// The number whose multiples are asked for.
        multiple: usize,
        /// The least number of channels that must stay.
        least: usize,
        /// The number of channels in all.
        units: usize,
    },
    /// No sparsity reaches the target cost.
    #[error("{what} can be reduced to a fraction of {reachable:.4} at the least, not to {asked:.4}")]
    Unreachable {
        /// The kind of cost: parameters or MACs.
        what: &'static str,
        /// The fraction asked for.
        asked: f64,
        /// The smallest fraction that can be reached.
        reachable: f64,
    },
    /// The target cost is not a fraction.
    #[error("a target cost of {value} is not a fraction: it must be above 0 and at most 1")]
    Fraction {
        /// The value of the target.
        value: f64,
    },
    /// A score of a channel is NaN or infinite.
    #[error(
        "{path}: criterion {criterion}: {source}, so the channels on this parameter cannot be scored; repair the weights"
    )]
    NonFinite {
        /// The path of the parameter.
        path: String,
        /// The name of the criterion.
        criterion: String,
        /// The score, with its index in memory order.
        source: NonFinite,
    },
    /// The minimum number of units is zero.
    #[error("min_keep: 0 would leave a group without channels; it must be at least 1")]
    MinKeep,
    /// The multiple to round to is zero.
    #[error("round_to: 0 has no multiples; use 1 to leave counts unchanged")]
    Multiple,
    /// The plan is for another model.
    #[error("{path}: the plan is for a parameter of shape {expected:?}, but the model has {found:?}")]
    OtherModel {
        /// The path of the parameter.
        path: String,
        /// The shape in the plan.
        expected: Vec<usize>,
        /// The shape in the model; empty if the model has no such parameter.
        found: Vec<usize>,
    },
    /// Fields of the plan were not set.
    #[error(
        "sizes outside of the parameters were not set: {}; take each from `Fields` in the function given to `apply`",
        .fields.join(", ")
    )]
    MissingSetter {
        /// The path and new value of each field.
        fields: Vec<String>,
    },
    /// A parameter carries a mask that would be lost.
    #[error("{path}: carries a mask that is not the plan's; fold it in with `finish`, or take it off with `undo`")]
    Masked {
        /// The path of the parameter.
        path: String,
    },
    /// The state of an optimizer cannot be cut.
    #[error("the state of the optimizer cannot be cut: {reason}")]
    State {
        /// The reason.
        reason: String,
    },
    /// The function that sets fields panicked.
    #[error("the function that sets the fields panicked: {message}")]
    SetterPanicked {
        /// The message of the panic.
        message: String,
    },
    /// The function that sets fields changed a parameter.
    #[error(
        "{path}: the function that sets the fields changed this parameter; set the fields of the existing layer, \
         since a newly built layer has lost its weights"
    )]
    Changed {
        /// The path of the parameter.
        path: String,
    },
    /// The plan removes positions that the forward couples with others that stay.
    #[error("the plan does not fit what the forward does: {0}")]
    Removal(#[from] RemovalError),
    /// The plan cuts two coupled parameters differently.
    #[error(
        "{path}: the plan keeps {planned} positions of axis {axis}, but the parameters that the forward couples with it leave {coupled}"
    )]
    Uncoupled {
        /// The path of the parameter.
        path: String,
        /// The axis.
        axis: usize,
        /// The number of positions that the plan keeps.
        planned: usize,
        /// The number of positions that the coupled parameters leave.
        coupled: usize,
    },
    /// An operation of the smaller model has another size or number than predicted.
    #[error(
        "the smaller model would compute something else: operation {operation}, after {near}, should be {predicted}, but is \
         {found}{}",
        told(.fields)
    )]
    Departs {
        /// The index and name of the operation in the pass of the dense model.
        operation: String,
        /// The path of the nearest parameter before it.
        near: String,
        /// The operation that follows from the dense pass and the plan.
        predicted: String,
        /// The operation of the smaller model.
        found: String,
        /// The fields that may hold a changing size.
        fields: Vec<SizeField>,
    },
    /// An operation of the trace cannot be rewritten to the sizes that the plan leaves.
    #[error(
        "operation {operation}, after {near}, cannot run on what the plan leaves: {reason}; exclude the layers whose channels reach it"
    )]
    Operation {
        /// The index and name of the operation in the trace.
        operation: String,
        /// The path of the nearest parameter before it.
        near: String,
        /// The reason.
        reason: String,
    },
    /// The program cannot be made from what was recorded.
    #[cfg(feature = "sparse")]
    #[error(transparent)]
    Program(#[from] crate::sparse::SparseModelError),
    /// The outputs of the masked and the smaller model differ.
    #[error(
        "the smaller model is {:.3e} away from the masked one, relative to the largest output; {tolerance:.1e} is allowed",
        .difference.max_rel
    )]
    Apart {
        /// The measured difference.
        difference: Difference,
        /// The difference allowed, relative to the largest output.
        tolerance: f64,
    },
    /// The smaller model does not run as planned.
    #[error("the smaller model does not run as planned: {reason}{}", told(.fields))]
    Broken {
        /// The reason.
        reason: String,
        /// The fields that may hold a changing size.
        fields: Vec<SizeField>,
    },
}

/// Tells where the code may read an old size.
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

    /// Adds the fields that the code may read.
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
