//! Why a pruning did not happen: [`PruneError`].

use crate::layers::SharedId;
use crate::score::{CriterionError, Need, NeedShape, Needs};
use pruning_core::budget::ChooseError;
use pruning_core::mask::MaskError;
use pruning_core::schedule::CurveError;
use pruning_core::shown;

/// Why a model could not be pruned. The model is what it was before the call.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A pattern of the recipe matches no parameter.
    #[error("{role} {} matches no parameter; there are: {}", shown::name(pattern), shown::list(paths))]
    Unmatched {
        /// Where the pattern stands.
        role: &'static str,
        /// The pattern.
        pattern: String,
        /// Float parameters of the model.
        paths: Vec<String>,
    },
    /// Nothing is left to prune.
    #[error(
        "no parameter is a target: the model has no weight of a linear or convolution layer that the patterns \
             select; name the parameters in target.include, as in \"norm.gamma\""
    )]
    NoTarget,
    /// There is no mask to attach.
    #[error("the set holds no mask; put one into it for each parameter that is to lose weights")]
    NoMask,
    /// Every target is left dense.
    #[error("{path}: is left dense by an override, as is every other target; give one of them a sparsity above 0")]
    AllDense {
        /// The first of them.
        path: String,
    },
    /// Two overrides are for one layer.
    #[error("{path}: the overrides {} and {} both match; keep one of them", shown::name(first), shown::name(second))]
    TwoOverrides {
        /// The layer.
        path: String,
        /// One pattern.
        first: String,
        /// The other.
        second: String,
    },
    /// An override matches layers, but none of them is a target.
    #[error(
        "override {} matches no target: the parameters it matches are excluded, not in target.include, or no weights of linear or \
         convolution layers, which target.include must name",
        shown::name(pattern)
    )]
    IdleOverride {
        /// The pattern.
        pattern: String,
    },
    /// The model has no parameter of this path.
    #[error("{}: the model has no such float parameter; there are: {}", shown::list([path]), shown::list(paths))]
    UnknownParameter {
        /// The path.
        path: String,
        /// Float parameters of the model.
        paths: Vec<String>,
    },
    /// The mask is for a parameter of another shape.
    #[error("{path}: the mask has shape {found:?}, the parameter {expected:?}")]
    MaskShape {
        /// The parameter.
        path: String,
        /// Shape of the parameter.
        expected: Vec<usize>,
        /// Shape of the mask.
        found: Vec<usize>,
    },
    /// Masks that make no set.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The parameter carries a mask.
    #[error("{path}: a mask is attached already; update it, or finish or undo first")]
    AlreadyAttached {
        /// The parameter.
        path: String,
    },
    /// The model, or the parameter, carries no mask.
    #[error("{path}: no mask is attached; attach one first (a finished or undone model has none)")]
    NotAttached {
        /// The parameter; `model` for all of it.
        path: String,
    },
    /// The parameter carries a reparameterization that is not ours.
    #[error(
        "{path}: carries the reparameterization {name:?}, and Burn allows one for each parameter; merge it first \
             (Module::materialize), or let nothing put a mask on it"
    )]
    Reparameterized {
        /// The parameter.
        path: String,
        /// Name of the reparameterization.
        name: String,
    },
    /// Burn folds all reparameterizations of a module or none.
    #[error(
        "{path}: carries the reparameterization {name:?}, which Burn would fold in together with the masks; merge it \
             first (Module::materialize)"
    )]
    WouldFold {
        /// The parameter.
        path: String,
        /// Name of the reparameterization.
        name: String,
    },
    /// The parameter cannot carry a mask.
    #[error("{path}: is a running statistic, which no mask can stay on; do not name it, or exclude it")]
    Buffer {
        /// The parameter.
        path: String,
    },
    /// The values of the parameter are packed integers.
    #[error("{path}: its values are quantized, and a mask is a product; attach it first, then quantize")]
    Quantized {
        /// The parameter.
        path: String,
    },
    /// The parameter has an axis of no entries.
    #[error("{path}: has no elements, so there is nothing to mask")]
    Empty {
        /// The parameter.
        path: String,
    },
    /// A weight that would be removed is NaN or infinite.
    #[error(
        "{path}: weight {value} at index {index} would be removed, and zero times that is NaN; repair the weight, or keep it"
    )]
    NonFinite {
        /// The parameter.
        path: String,
        /// Where, in memory order.
        index: usize,
        /// The weight, as text.
        value: String,
    },
    /// Two parameters share an id and are not the same.
    #[error(transparent)]
    SharedId(#[from] SharedId),
    /// A learned threshold begins at no number.
    #[error("a threshold that begins at {value} is no threshold: give a finite number, such as -5")]
    Threshold {
        /// What was given, as text.
        value: String,
    },
    /// The curve of the schedule failed.
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// A criterion failed on a layer.
    #[error("{path}: criterion {criterion}: {source}")]
    Criterion {
        /// The layer.
        path: String,
        /// Name of the criterion.
        criterion: String,
        /// Why.
        source: Box<CriterionError>,
    },
    /// The criterion needs inputs that were not given.
    #[error(
        "criterion {criterion} needs: {needs}; collect it into `CriterionInputs`, and hand it over by `prune_with`, `step_with`, `plan_with` or \
         `with_inputs`"
    )]
    MissingInputs {
        /// Name of the criterion.
        criterion: String,
        /// All that it needs.
        needs: Needs,
    },
    /// An input of the criterion was given in another shape.
    #[error("criterion {criterion} declares the input {input} as {}, and what was given under this name is {held}", input.shape())]
    InputShape {
        /// Name of the criterion.
        criterion: String,
        /// The input.
        input: Need,
        /// The shape of what was given.
        held: NeedShape,
    },
    /// The criteria of the recipe mean different inputs by one name.
    #[error("the input {input} is declared as {} and as {shape}: one name is one input, so rename one of them", input.shape())]
    InputsAtOdds {
        /// The input, in one shape.
        input: Need,
        /// The other shape.
        shape: NeedShape,
    },
    /// Pruned weights would all have the same score.
    #[error(
        "criterion {criterion} grows weights by: {needs}, which pruned weights need too: collect it by `CriterionInputs::with_dense_gradients`"
    )]
    MaskedInputs {
        /// Name of the criterion.
        criterion: String,
        /// What was collected through the masks, or is zero for pruned weights in any case.
        needs: Needs,
    },
    /// The parameters have the names of the session's, and are others.
    #[error(
        "{path}: is a parameter of another model than the one that the session was started on: its id differs. Give the session its own \
             model, or load both from one file"
    )]
    AnotherModel {
        /// A parameter.
        path: String,
    },
    /// Nothing was kept of the step to rewind to.
    #[error("there is no snapshot of step {step} to rewind to: the session did not pass it")]
    NoSnapshot {
        /// The step.
        step: usize,
    },
    /// The snapshot cannot be written or read.
    #[error("the snapshot to rewind to: {source}")]
    Snapshot {
        /// Why.
        source: Box<crate::store::StoreError>,
    },
    /// Earlier or new weights are those of another model.
    #[error(
        "{path}: the weights to go on from are those of another model: the parameter is missing there, or here, or longer"
    )]
    OtherModel {
        /// A parameter that only one of them has, or that has another length.
        path: String,
    },
    /// New weights are due, and none were given.
    #[error(
        "initialization = \"reinitialize\" needs new weights for each pruning: hand them to `Session::start_from` before the step"
    )]
    NoFreshWeights,
    /// The optimizer trained other parameters.
    #[error(
        "the optimizer is that of another model: none of the {moments} tensors of its state belongs to a parameter of this one"
    )]
    AnotherOptimizer {
        /// Tensors of its state.
        moments: usize,
    },
    /// The state of an optimizer cannot be read or written.
    #[error("the state of the optimizer: {reason}")]
    Optimizer {
        /// What the store says.
        reason: String,
    },
    /// No masks could be chosen.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// The channels of the recipe's targets cannot be found in the pruner's trace, or cannot go.
    #[cfg(feature = "trace")]
    #[error(transparent)]
    Channels(Box<crate::shrink::ShrinkError>),
    /// The model has other targets than those the session was started with.
    #[error(
        "{path}: is a target now and was none when the session began, or the reverse; `finish` or `undo`, and start a new session"
    )]
    TargetsChanged {
        /// One such parameter.
        path: String,
    },
}
