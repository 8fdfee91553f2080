//! Errors that stop a scan: [`SensitivityError`].

use crate::PruneError;
use pruning_core::budget::{Sparsity, SparsityError};

/// An error that stopped a scan. The model is unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SensitivityError {
    /// The output error of a layer says nothing of its removed channels or heads.
    #[error(
        "{path}: the recipe removes channels or heads, which change what later layers see; measure them by running the model (`Scan::run`)"
    )]
    Structures {
        /// The layer.
        path: String,
    },
    /// There is no sparsity to scan.
    #[error("there is no sparsity to scan: give some in [0, 1), such as 0.5, 0.8, 0.9")]
    NoSparsity,
    /// A sparsity is out of range.
    #[error("with_sparsities: {0}")]
    Sparsity(#[from] SparsityError),
    /// The number of threads is 0.
    #[error("0 threads measure nothing: give 1 or more")]
    NoThread,
    /// The evaluation of the dense model is NaN or infinite.
    #[error("the evaluation of the model as it is gave {value}: it must give a finite number; lower is better")]
    DenseNotFinite {
        /// The evaluation, as text.
        value: String,
    },
    /// The evaluation of a pruned model is NaN or infinite.
    #[error(
        "{path}: the evaluation at sparsity {sparsity} gave {value}, not a finite number; cap the loss, or scan lower \
         sparsities"
    )]
    NotFinite {
        /// The layer that was pruned.
        path: String,
        /// Its sparsity.
        sparsity: Sparsity,
        /// The evaluation, as text.
        value: String,
    },
    /// The evaluation of the dense model panicked.
    #[error("the evaluation of the model as it is panicked: {message}")]
    DensePanicked {
        /// The message of the panic.
        message: String,
    },
    /// The evaluation of a pruned model panicked.
    #[error("{path}: the evaluation at sparsity {sparsity} panicked: {message}")]
    Panicked {
        /// The layer that was pruned.
        path: String,
        /// Its sparsity.
        sparsity: Sparsity,
        /// The message of the panic.
        message: String,
    },
    /// The observer of the progress panicked.
    #[error("{path}: the observer panicked after the measurement at sparsity {sparsity}: {message}")]
    ObserverPanicked {
        /// The layer that was measured.
        path: String,
        /// Its sparsity.
        sparsity: Sparsity,
        /// The message of the panic.
        message: String,
    },
    /// The result to resume from has other layers than the model.
    #[error("{path}: the result to resume from and the model differ in this layer or its units; scan anew")]
    OtherLayers {
        /// The first layer that differs.
        path: String,
    },
    /// The result to resume from was measured on other weights.
    #[error("the result to resume from was measured on other weights ({found}, the model has {expected}); scan anew")]
    OtherWeights {
        /// Fingerprint of the model.
        expected: String,
        /// Fingerprint in the result.
        found: String,
    },
    /// The result to resume from was measured by another recipe.
    #[error("the result to resume from was measured by a recipe with another {key}; scan anew, or use that recipe")]
    OtherRecipe {
        /// The key of the recipe that differs.
        key: String,
    },
    /// The recipe does not fit the model.
    #[error(transparent)]
    Prune(#[from] PruneError),
}
