//! Why scores that are read when they are needed cannot be ranked: [`ScoreError`].

use crate::score::NonFinite;
use std::fmt;

/// An error of scores that are read when they are needed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// A score is NaN or infinite.
    #[error(transparent)]
    NonFinite(#[from] NonFinite),
    /// The scores could not be read.
    #[error("the scores could not be read: {message}")]
    Unread {
        /// The reason.
        message: String,
    },
    /// The number of scores differs from the number of units.
    #[error("{found} scores were read for {expected} units")]
    Length {
        /// The number of units.
        expected: usize,
        /// The number of scores.
        found: usize,
    },
    /// Scores that were read twice differ.
    #[error("the scores were read twice, and differ: nothing else may write to where they come from")]
    Changed,
    /// A layer has too many units to count them.
    #[error("{units} units are too many to be read again and again, {} are the most", u32::MAX)]
    TooMany {
        /// The number of units.
        units: usize,
    },
}

impl ScoreError {
    /// Creates an error for scores that could not be read.
    pub fn unread(reason: impl fmt::Display) -> Self {
        Self::Unread { message: reason.to_string() }
    }
}
