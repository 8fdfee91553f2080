//! Errors of making a page: [`PageError`].

use pruning_burn::store::StoreError;

/// An error of reading what a page shows, or of writing the page.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The text is not JSON, or is JSON of something else.
    #[error("cannot be read as a report or as the sections of a page: {reason}")]
    Form {
        /// The cause, with line and column.
        reason: String,
    },
    /// The JSON holds none of the sections.
    #[error("holds nothing to show: give a report, or an object with at least one of the keys {}", .keys.join(", "))]
    Nothing {
        /// The keys of the sections.
        keys: Vec<&'static str>,
    },
    /// Two numbers contradict each other, or their sum cannot be counted.
    #[error("{path}: {reason}")]
    Numbers {
        /// The parameter or section.
        path: String,
        /// What is wrong with the numbers.
        reason: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
