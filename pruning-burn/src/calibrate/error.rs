//! Why a calibration failed: [`CalibrationError`].

use crate::layers::SharedId;
use crate::score::Needs;
use crate::trace::{ReplayError, TraceError};

/// An error that kept a calibration from being collected, merged or used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There are no batches.
    #[error("there are no batches to calibrate with; give at least one")]
    NoBatch,
    /// The forward of a batch declared no input.
    #[error(
        "batch {batch}: the forward declared no input, so it saw none of the batch; call `scope.input` with each of its tensors"
    )]
    NoInput {
        /// The number of the batch, from 0.
        batch: usize,
    },
    /// The forward of a batch cannot be recorded.
    #[error("batch {batch}: {source}")]
    Trace {
        /// The number of the batch, from 0.
        batch: usize,
        /// The reason.
        source: TraceError,
    },
    /// The forward of a batch cannot be run.
    #[error("batch {batch}: {source}")]
    Replay {
        /// The number of the batch, from 0.
        batch: usize,
        /// The reason.
        source: ReplayError,
    },
    /// Code panicked: that of a device while a batch ran, or that which is told of the progress.
    #[error("batch {batch}: {message}")]
    Panicked {
        /// The number of the batch, from 0.
        batch: usize,
        /// The message of the panic.
        message: String,
    },
    /// The positions that count do not fit what a layer sees.
    #[error(
        "{path}: batch {batch}: the layer sees rows {found:?}, and `count_positions` was given {expected:?}, so it is open which of them \
         count (a recurrent layer sees one step at a time); give batches without padding"
    )]
    Positions {
        /// The path of the parameter.
        path: String,
        /// The number of the batch, from 0.
        batch: usize,
        /// The shape of the positions.
        expected: [usize; 2],
        /// The shape of the rows that the layer sees.
        found: Vec<usize>,
    },
    /// What a layer sees is NaN or infinite, or too large to be squared.
    #[error(
        "{path}: batch {batch}: what the layer sees or puts out is not finite; repair the inputs or the weights before this layer"
    )]
    NonFinite {
        /// The path of the parameter.
        path: String,
        /// The number of the batch, from 0.
        batch: usize,
    },
    /// None of the inputs of criteria is one that a calibration collects.
    #[error("the needs name nothing that a calibration collects: {can}")]
    Uncollectable {
        /// What a calibration collects.
        can: Needs,
    },
    /// No parameter of the model is the weight of a product.
    #[error(
        "no float parameter of the model is the weight of a product that the forward computes, so there is nothing to collect"
    )]
    NoProduct,
    /// The calibration was collected from a model of other parameters.
    #[error(
        "{path}: the calibration was collected from another model, which has {expected} here, and this one has {found}"
    )]
    OtherModel {
        /// The path of the parameter.
        path: String,
        /// The shape in the model of the calibration, or `no such parameter`.
        expected: String,
        /// The shape in this model, or `no such parameter`.
        found: String,
    },
    /// The weights have changed since the calibration.
    #[error("{path}: the weights have changed since the calibration was collected; collect it anew")]
    Changed {
        /// The path of the first parameter that has changed.
        path: String,
    },
    /// Two calibrations cannot be merged.
    #[error("the calibrations cannot be merged: {reason}")]
    Merge {
        /// The reason.
        reason: String,
    },
    /// Two parameters share an id.
    #[error(transparent)]
    SharedId(#[from] SharedId),
}
