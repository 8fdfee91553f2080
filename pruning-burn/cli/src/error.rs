//! Why a command failed: [`CommandError`], and its exit code.

use pruning_burn::PruneError;
use pruning_burn::recipe::RecipeError;
use pruning_burn::score::{Need, Needs};
use pruning_burn::store::StoreError;
use std::path::Path;

/// An error of a command. But for [`Print`](Self::Print), no output is left, and no input has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A file cannot be read, or is no checkpoint.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// The cause.
        reason: String,
    },
    /// A tensor of a file is damaged, or does not fit.
    #[error("{file}: {tensor}: {reason}")]
    Tensor {
        /// The file.
        file: String,
        /// The name of the tensor.
        tensor: String,
        /// The cause.
        reason: String,
    },
    /// The output cannot be written.
    #[error("{file}: cannot be written: {reason}; nothing is left of it")]
    Write {
        /// The file.
        file: String,
        /// The cause.
        reason: String,
    },
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(String),
    /// The recipe is not valid.
    #[error("{file}: {source}")]
    Recipe {
        /// The file of the recipe, or the options that stand for it.
        file: String,
        /// All problems of the recipe.
        source: RecipeError,
    },
    /// The recipe cannot be applied to the file.
    #[error("{file}: {source}{}", .hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
    Prune {
        /// The file.
        file: String,
        /// The cause.
        source: Box<PruneError>,
        /// What would help.
        hint: Option<String>,
    },
    /// A file of this library cannot be read or written.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// The result cannot be printed. What the command wrote stays.
    #[error("the result cannot be printed: {0}; what the command wrote is there")]
    Print(std::io::Error),
    /// The user interrupted the command.
    #[error("interrupted; nothing is left of the output")]
    Interrupted,
}

impl CommandError {
    /// Returns the code with which the command exits: 2 for wrong arguments, 130 for an interruption, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }

    pub(crate) fn file(file: &Path, reason: impl ToString) -> Self {
        Self::File { file: file.display().to_string(), reason: reason.to_string() }
    }

    pub(crate) fn tensor(file: &Path, tensor: &str, reason: impl ToString) -> Self {
        let tensor = pruning_burn::shown::name(tensor);
        Self::Tensor { file: file.display().to_string(), tensor, reason: reason.to_string() }
    }

    pub(crate) fn write(file: &Path, reason: impl ToString) -> Self {
        Self::Write { file: file.display().to_string(), reason: reason.to_string() }
    }

    /// An error of the library on a file, with what would help.
    pub(crate) fn prune(file: &Path, source: PruneError) -> Self {
        let hint = match &source {
            PruneError::MissingInputs { needs, .. } | PruneError::MissingGram { needs, .. } if needs.without(collected()).is_empty() => Some(
                "collect what the layers see with `Calibration::collect` of pruning-burn, save it, and give the file with \
                 --calibration"
                    .to_string(),
            ),
            PruneError::MissingInputs { .. } => Some(
                "it needs gradients or other inputs of a training, which no file holds: prune in a program with pruning-burn, or choose \
                 a criterion that looks at weights alone (`burn-prune plugins` lists them)"
                    .to_string(),
            ),
            PruneError::Sequential => Some("leave out `sequential`, or prune in a program with `Pruner::prune_with`".to_string()),
            _ => None,
        };
        Self::Prune { file: file.display().to_string(), source: Box::new(source), hint }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// What a calibration can hold.
fn collected() -> Needs {
    Need::INPUT_NORM
        | Need::INPUT_MEAN
        | Need::INPUT_GRAM
        | Need::INPUT_ACTIVATION
        | Need::OUTPUT_ZEROS
        | Need::OUTPUT_RANK
}
