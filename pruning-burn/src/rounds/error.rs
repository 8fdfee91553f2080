//! Errors that stop the rounds: [`RoundsError`].

use crate::PruneError;
use crate::store::StoreError;
use std::error::Error;

/// An error that stopped the rounds. The model is unchanged, and a folder holds all rounds that were finished until then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoundsError {
    /// The recipe does not fit the model, or a pruning failed.
    #[error("round {round}: {source}")]
    Prune {
        /// The round.
        round: usize,
        /// The cause.
        source: PruneError,
    },
    /// The closure that trains returned an error.
    #[error("round {round}: the training failed: {source}")]
    Train {
        /// The round.
        round: usize,
        /// The error of the closure.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A closure panicked.
    #[error("round {round}: {closure} panicked: {message}")]
    Panicked {
        /// The round.
        round: usize,
        /// The closure: `the training`, `the evaluation`, `the inputs`, `the fresh weights` or `the observer`.
        closure: &'static str,
        /// The message of the panic.
        message: String,
    },
    /// The inputs of a criterion could not be collected.
    #[error("round {round}: the inputs of the criterion: {source}")]
    Inputs {
        /// The round.
        round: usize,
        /// The error of the closure.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The evaluation is NaN or infinite. The training of the round is kept, so the next call repeats only the evaluation.
    #[error("round {round}: the evaluation gave {value}: it must give a finite number")]
    NotFinite {
        /// The round.
        round: usize,
        /// The evaluation, as text.
        value: String,
    },
    /// The first training ended without reaching the step to rewind to.
    #[error(
        "the recipe rewinds to step {step}, and the first training did not report that step: call `Round::reached` after each of its \
         steps"
    )]
    NotReached {
        /// The step.
        step: usize,
    },
    /// The recipe reinitializes the weights, and no closure draws new ones.
    #[error(
        "initialization = \"reinitialize\" needs new weights in each round: pass a closure that draws them to \
         `IterativePruning::with_fresh`"
    )]
    NoFreshWeights,
    /// The rounds in the folder followed another recipe.
    #[error("{folder}: holds rounds of another recipe, which differs in: {}; choose another folder", .keys.join(", "))]
    OtherRecipe {
        /// The folder.
        folder: String,
        /// Top-level keys of the recipe with another value.
        keys: Vec<String>,
    },
    /// The rounds in the folder belong to another architecture.
    #[error(
        "{folder}: holds rounds of another model: only one of the two models has the parameter {path}, or its shapes differ"
    )]
    OtherModel {
        /// The folder.
        folder: String,
        /// A parameter that only one of them has, or that has another shape.
        path: String,
    },
    /// The folder was written by another version of this library.
    #[error(
        "{folder}: has format {found}, and this version reads format {expected}; finish the rounds with the version that started them"
    )]
    OtherFormat {
        /// The folder.
        folder: String,
        /// The format of the folder.
        found: u64,
        /// The format that this version reads.
        expected: u64,
    },
    /// A file cannot be written, cannot be read, is damaged, or does not fit the model.
    #[error(transparent)]
    Store(#[from] StoreError),
}
