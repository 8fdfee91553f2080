//! Why a file could not be written or read: [`StoreError`].

use crate::PruneError;

/// Why a file could not be written or read. Model and file are what they were.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be written.
    #[error("{file}: cannot be written: {reason}")]
    Write {
        /// The file.
        file: String,
        /// What the store says.
        reason: String,
    },
    /// The file cannot be read, or is damaged.
    #[error("{file}: cannot be read: {reason}")]
    Read {
        /// The file.
        file: String,
        /// What the store says.
        reason: String,
    },
    /// The file holds a model, but no session.
    #[error("{file}: holds no pruning session; load it as a model, or start a session")]
    NoSession {
        /// The file.
        file: String,
    },
    /// The session in the file followed another recipe.
    #[error("{file}: the session followed another recipe, which differs in: {}", .keys.join(", "))]
    OtherRecipe {
        /// The file.
        file: String,
        /// Top-level keys of the recipe with another value.
        keys: Vec<String>,
    },
    /// A mask of the file is as long as no parameter of the model.
    #[error(
        "{file}: the mask of {path} has {found} elements, the parameter {expected}: is the module built as it was?"
    )]
    MaskLength {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
        /// Elements of the parameter.
        expected: usize,
        /// Bits of the mask.
        found: usize,
    },
    /// A snapshot tensor does not fit its parameter.
    #[error("{file}: the snapshot of {path} does not fit the parameter")]
    Snapshot {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
    },
    /// The model cannot take what is in the file.
    #[error("{file}: does not fit the module: {reason}")]
    Misfit {
        /// The file.
        file: String,
        /// What the record says.
        reason: String,
    },
    /// The file holds a model, but no plan of a smaller one.
    #[error("{file}: holds no plan of a smaller model; load it as a model")]
    NoPlan {
        /// The file.
        file: String,
    },
    /// The plan in the file cannot be applied, or the model is not what the plan makes.
    #[cfg(feature = "trace")]
    #[error("{file}: {source}")]
    Shrink {
        /// The file.
        file: String,
        /// Why.
        source: Box<crate::shrink::ShrinkError>,
    },
    /// The file is of another kind.
    #[error("{file}: holds a {found}, not a {expected}")]
    Kind {
        /// The file.
        file: String,
        /// What it should hold.
        expected: &'static str,
        /// What it says that it holds.
        found: String,
    },
    /// A later version of this crate wrote the file.
    #[error("{file}: is of version {found}, this crate reads up to {supported}")]
    Version {
        /// The file.
        file: String,
        /// Of the file.
        found: u32,
        /// The last one that is known.
        supported: u32,
    },
    /// A bit of the file is not what was written.
    #[error("{file}: is damaged: its checksum is {found:08x}, not {expected:08x}")]
    Checksum {
        /// The file.
        file: String,
        /// Written down.
        expected: u32,
        /// Of what is there.
        found: u32,
    },
    /// The file has no checksum, and is of a kind that this library alone writes.
    #[error(
        "{file}: has no checksum: it is damaged, or another program or an earlier version of this library wrote it"
    )]
    NoChecksum {
        /// The file.
        file: String,
    },
    /// The arrays of a tensor are no sparse matrix.
    #[cfg(feature = "sparse")]
    #[error("{file}: {path}: {source}")]
    Sparse {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
        /// Why.
        source: pruning_sparse::SparseError,
    },
    /// The masks cannot be attached, or not folded in.
    #[error("{file}: {source}")]
    Prune {
        /// The file.
        file: String,
        /// Why.
        source: PruneError,
    },
}
