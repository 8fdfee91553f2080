//! Errors of attaching, choosing and removing masks: [`PruneError`].

use crate::layers::SharedId;
use crate::score::{CriterionError, Need, NeedShape, Needs};
use pruning_core::budget::ChooseError;
use pruning_core::mask::MaskError;
use pruning_core::reconstruct::ReconstructionError;
use pruning_core::schedule::CurveError;
use pruning_core::shown;

/// An error that kept a model from being pruned. The model is unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A pattern of the recipe matches no parameter.
    #[error("{role} {} matches no parameter; there are: {}", shown::name(pattern), shown::list(paths))]
    Unmatched {
        /// The key of the recipe that holds the pattern.
        role: &'static str,
        /// The pattern.
        pattern: String,
        /// Float parameters of the model.
        paths: Vec<String>,
    },
    /// A name that was given to a parameter is the path of another parameter.
    #[error(
        "{}: is the path of {other}, and a name that was given to {path}; patterns could mean either: rename the field of the module",
        shown::list([name])
    )]
    TakenName {
        /// The name.
        name: String,
        /// The parameter that the name was given to.
        path: String,
        /// The parameter whose path it is.
        other: String,
    },
    /// A name was given to a path that the model does not have.
    #[error("{} is to name {}, where the model has no parameter; there are: {}", shown::list([name]), shown::list([path]), shown::list(paths))]
    IdleName {
        /// The name.
        name: String,
        /// The path.
        path: String,
        /// Float parameters of the model.
        paths: Vec<String>,
    },
    /// The recipe selects no parameter to prune.
    #[error(
        "no parameter is a target: the patterns select no weight of a linear or convolution layer of the model; name the parameters in target.include, as in \"norm.gamma\""
    )]
    NoTarget,
    /// The set of masks is empty.
    #[error("the set holds no mask; add one for each parameter that is to be pruned")]
    NoMask,
    /// Overrides leave every target dense.
    #[error("{path}: an override leaves it dense, as every other target; give one of them a sparsity above 0")]
    AllDense {
        /// The first target.
        path: String,
    },
    /// Two overrides match one layer.
    #[error("{path}: the overrides {} and {} both match; keep one of them", shown::name(first), shown::name(second))]
    TwoOverrides {
        /// The layer.
        path: String,
        /// The pattern of one override.
        first: String,
        /// The pattern of the other override.
        second: String,
    },
    /// An override matches parameters, but none of them is a target.
    #[error(
        "override {} matches no target: the parameters that it matches are excluded, are not in target.include, or are \
         parameters other than weights of linear and convolution layers, which target.include must name",
        shown::name(pattern)
    )]
    IdleOverride {
        /// The pattern.
        pattern: String,
    },
    /// The model has no parameter with this path.
    #[error("{}: the model has no such float parameter; there are: {}", shown::list([path]), shown::list(paths))]
    UnknownParameter {
        /// The path.
        path: String,
        /// Float parameters of the model.
        paths: Vec<String>,
    },
    /// The mask and the parameter have different shapes.
    #[error("{path}: the mask has shape {found:?}, the parameter {expected:?}")]
    MaskShape {
        /// The parameter.
        path: String,
        /// Shape of the parameter.
        expected: Vec<usize>,
        /// Shape of the mask.
        found: Vec<usize>,
    },
    /// The masks do not form a valid set.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The parameter carries a mask already.
    #[error("{path}: a mask is attached already; update it, or finish or undo first")]
    AlreadyAttached {
        /// The parameter.
        path: String,
    },
    /// The model or the parameter carries no mask.
    #[error("{path}: no mask is attached; attach one first (a finished or undone model has none)")]
    NotAttached {
        /// The parameter, or `model` if no parameter carries a mask.
        path: String,
    },
    /// The parameter carries a reparameterization of another library.
    #[error(
        "{path}: carries the reparameterization {name:?}, and Burn allows only one for each parameter; merge it first \
             (Module::materialize), or exclude the parameter"
    )]
    Reparameterized {
        /// The parameter.
        path: String,
        /// Name of the reparameterization.
        name: String,
    },
    /// Another reparameterization would be folded in together with the masks, since Burn folds in all or none.
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
    /// The parameter is a running statistic, which cannot carry a mask.
    #[error("{path}: is a running statistic, which cannot carry a mask; do not name it, or exclude it")]
    Buffer {
        /// The parameter.
        path: String,
    },
    /// The values of the parameter are quantized.
    #[error(
        "{path}: its values are quantized, and cannot be multiplied by a mask; attach the mask first, then quantize"
    )]
    Quantized {
        /// The parameter.
        path: String,
    },
    /// The parameter has no elements.
    #[error("{path}: has no elements, so there is nothing to mask")]
    Empty {
        /// The parameter.
        path: String,
    },
    /// The calibration was collected from a model of other parameters.
    #[error(
        "{path}: the calibration was collected from another model, which has {expected} here, and this one has {found}"
    )]
    OtherCalibration {
        /// The path of the parameter.
        path: String,
        /// The shape in the model of the calibration, or `no such parameter`.
        expected: String,
        /// The shape in this model, or `no such parameter`.
        found: String,
    },
    /// A layer cannot be reconstructed.
    #[error(transparent)]
    Reconstruction {
        /// The reason, which names the layer.
        source: Box<ReconstructionError>,
    },
    /// A reconstruction, or the output error, looks at what was not collected.
    #[error("{reconstruction} looks at {needs}: collect it into a `Calibration`, and pass it as `CriterionInputs`")]
    MissingGram {
        /// The name of the reconstruction.
        reconstruction: String,
        /// What it looks at.
        needs: Needs,
    },
    /// A calibration has nothing for a layer that is to be reconstructed.
    #[error("{path}: {source}")]
    Statistic {
        /// The path of the parameter.
        path: String,
        /// The reason.
        source: Box<CriterionError>,
    },
    /// A reconstructed weight is out of the range of the parameter's type.
    #[error(
        "{path}: the reconstructed weight {value} at index {index} is out of the range of {dtype}; raise `damp`, or exclude the layer"
    )]
    Overflow {
        /// The path of the parameter.
        path: String,
        /// Index of the weight, in memory order.
        index: usize,
        /// The weight, as text.
        value: String,
        /// The type of the parameter.
        dtype: String,
    },
    /// The recipe reconstructs layer after layer, which takes the batches of the calibration themselves.
    #[error("the recipe says `sequential`, which takes batches: prune by `Pruner::prune_with`, or leave it out")]
    Sequential,
    /// The recipe reconstructs layer after layer, and removes channels or heads, which lie in several layers.
    #[error(
        "{path}: the recipe says `sequential` and removes channels or heads, which lie in several layers; leave `sequential` out"
    )]
    SequentialStructures {
        /// The first such layer.
        path: String,
    },
    /// The calibration of [`Pruner::prune_with`](crate::Pruner::prune_with) failed.
    #[cfg(feature = "trace")]
    #[error("calibration: {source}")]
    Calibration {
        /// The reason.
        source: Box<crate::calibrate::CalibrationError>,
    },
    /// The weights have changed since the calibration was collected.
    #[error("{path}: the weights have changed since the calibration was collected; collect it anew")]
    StaleCalibration {
        /// The path of the first parameter that has changed.
        path: String,
    },
    /// A weight that would be removed is NaN or infinite.
    #[error(
        "{path}: the weight {value} at index {index} cannot be masked, since zero times {value} is NaN; repair the weight, or keep it"
    )]
    NonFinite {
        /// The parameter.
        path: String,
        /// Index of the weight, in memory order.
        index: usize,
        /// The weight, as text.
        value: String,
    },
    /// A parameter cannot be read.
    #[error("{path}: cannot be read: {message}")]
    Unread {
        /// The parameter.
        path: String,
        /// The message of the panic with which the model refused it.
        message: String,
    },
    /// Masks are chosen one after the other, and the channels or heads of the layer are removed with those of others.
    #[error(
        "{path}: its channels or heads are masked in whole groups, because the pruner has a trace; prune by `Pruner::prune`, or choose \
         without a trace"
    )]
    TracedChoice {
        /// The first such layer.
        path: String,
    },
    /// New values for the weights that stay were asked for, where masks alone are chosen.
    #[error(
        "reconstruct = {reconstruction:?} gives the weights that stay new values, and may choose its own masks: call `prune` instead"
    )]
    ReconstructedChoice {
        /// The reconstruction.
        reconstruction: String,
    },
    /// Two different parameters share an id.
    #[error(transparent)]
    SharedId(#[from] SharedId),
    /// The initial value of a learned threshold is not finite.
    #[error("a threshold cannot start at {value}: give a finite number, such as -5")]
    Threshold {
        /// The value, as text.
        value: String,
    },
    /// The curve of the schedule returned an error.
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// The criterion could not score a layer.
    #[error("{path}: criterion {criterion}: {source}")]
    Criterion {
        /// The layer.
        path: String,
        /// Name of the criterion.
        criterion: String,
        /// The cause.
        source: Box<CriterionError>,
    },
    /// The criterion needs inputs that are missing.
    #[error(
        "criterion {criterion} needs: {needs}; collect it into `CriterionInputs`, and pass them to `prune`, `step`, `plan` or `with_inputs`"
    )]
    MissingInputs {
        /// Name of the criterion.
        criterion: String,
        /// Every input that the criterion needs.
        needs: Needs,
    },
    /// An input of the criterion was given in another shape.
    #[error("criterion {criterion} declares the input {input} as {}, but it was given as {held}", input.shape())]
    InputShape {
        /// Name of the criterion.
        criterion: String,
        /// The input.
        input: Need,
        /// The shape in which it was given.
        held: NeedShape,
    },
    /// The criteria of the recipe declare one input in different shapes.
    #[error("the input {input} is declared as {} and as {shape}: one name is one input, so rename one of them", input.shape())]
    InputsAtOdds {
        /// The input, in one shape.
        input: Need,
        /// The other shape.
        shape: NeedShape,
    },
    /// The inputs of a criterion that grows weights say nothing about pruned weights.
    #[error(
        "criterion {criterion} grows weights by: {needs}, which must include pruned weights: collect it with \
         `CriterionInputs::with_dense_gradients`"
    )]
    MaskedInputs {
        /// Name of the criterion.
        criterion: String,
        /// The inputs that were collected through the masks, or are always zero for pruned weights.
        needs: Needs,
    },
    /// The session was started on another model, whose parameters have the same names.
    #[error(
        "{path}: is a parameter of another model, since its id differs from the one that the session was started with; pass the \
         session its own model, or load both from one file"
    )]
    AnotherModel {
        /// A parameter whose id differs.
        path: String,
    },
    /// The session has no snapshot of the step to rewind to.
    #[error("there is no snapshot of step {step} to rewind to: the session did not pass it")]
    NoSnapshot {
        /// The step.
        step: usize,
    },
    /// The file of the snapshot cannot be written or read.
    #[error("the snapshot to rewind to: {source}")]
    Snapshot {
        /// The cause.
        source: Box<crate::store::StoreError>,
    },
    /// The weights to restore belong to another model.
    #[error(
        "{path}: the weights to restore belong to another model: only one of the two models has the parameter, or its lengths differ"
    )]
    OtherModel {
        /// A parameter that only one of them has, or that has another length.
        path: String,
    },
    /// The recipe reinitializes the weights, and no new weights were given.
    #[error(
        "initialization = \"reinitialize\" needs new weights for each pruning: pass them to `Session::start_from` before the step"
    )]
    NoFreshWeights,
    /// The optimizer belongs to another model.
    #[error(
        "the optimizer belongs to another model: none of the {moments} tensors of its state belongs to a parameter of this one"
    )]
    AnotherOptimizer {
        /// Number of tensors in the state of the optimizer.
        moments: usize,
    },
    /// The state of an optimizer cannot be read or written.
    #[error("the state of the optimizer: {reason}")]
    Optimizer {
        /// The reason that the store gives.
        reason: String,
    },
    /// The masks could not be chosen.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// The channels of the targets are not in the pruner's trace, or cannot be removed.
    #[cfg(feature = "trace")]
    #[error(transparent)]
    Channels(Box<crate::shrink::ShrinkError>),
    /// The targets of the model have changed since the session began.
    #[error(
        "{path}: became a target, or stopped being one, after the session began; `finish` or `undo`, and start a new session"
    )]
    TargetsChanged {
        /// A parameter that became a target or stopped being one.
        path: String,
    },
}
