//! Why rounds stopped: [`RoundsError`].

use crate::PruneError;
use crate::store::StoreError;
use std::error::Error;

/// Why rounds stopped. The model is what it was before the call; a folder holds all that was finished until then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoundsError {
    /// The recipe does not fit the model, or a pruning failed.
    #[error("round {round}: {source}")]
    Prune {
        /// The round.
        round: usize,
        /// Why.
        source: PruneError,
    },
    /// The training failed.
    #[error("round {round}: the training failed: {source}")]
    Train {
        /// The round.
        round: usize,
        /// What it says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A closure panicked.
    #[error("round {round}: {closure} panicked: {message}")]
    Panicked {
        /// The round.
        round: usize,
        /// Which closure: `the training`, `the evaluation`, `the inputs`, `the fresh weights` or `the observer`.
        closure: &'static str,
        /// What it said.
        message: String,
    },
    /// The inputs of a criterion could not be collected.
    #[error("round {round}: the inputs of the criterion: {source}")]
    Inputs {
        /// The round.
        round: usize,
        /// What the closure says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The evaluation gave no number. The training of the round is kept: called again, only the evaluation is done again.
    #[error("round {round}: the evaluation gave {value}: it must give a finite number")]
    NotFinite {
        /// The round.
        round: usize,
        /// What it gave.
        value: String,
    },
    /// The weights to go back to did not come by.
    #[error(
        "the recipe rewinds to step {step}, and the first training did not say that it got there: call `Round::reached` after each of its \
         steps"
    )]
    NotReached {
        /// The step.
        step: usize,
    },
    /// New weights are due, and nobody draws them.
    #[error(
        "initialization = \"reinitialize\" draws new weights in each round: say how by `IterativePruning::with_fresh`"
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
    /// The rounds in the folder are those of another architecture.
    #[error(
        "{folder}: holds rounds of another model: the parameter {path} is missing there, or here, or has another shape"
    )]
    OtherModel {
        /// The folder.
        folder: String,
        /// A parameter that only one of them has, or that has another shape.
        path: String,
    },
    /// The folder was written by another version of this library.
    #[error(
        "{folder}: was written in format {found}, and this version reads format {expected}; finish it with the version that began it"
    )]
    OtherFormat {
        /// The folder.
        folder: String,
        /// Its format.
        found: u64,
        /// What this version reads.
        expected: u64,
    },
    /// A file cannot be written or read, is damaged, or does not fit the model.
    #[error(transparent)]
    Store(#[from] StoreError),
}
