//! Errors of writing and reading files: [`StoreError`].

use crate::PruneError;

/// An error of writing or reading a file. Model and file are unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be written.
    #[error("{file}: cannot be written: {reason}")]
    Write {
        /// The file.
        file: String,
        /// The cause.
        reason: String,
    },
    /// The file cannot be read, or is damaged.
    #[error("{file}: cannot be read: {reason}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
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
    /// A mask of the file has another length than its parameter.
    #[error(
        "{file}: the mask of {path} has {found} elements, the parameter {expected}: build the module with the sizes of the saved one"
    )]
    MaskLength {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
        /// Number of elements of the parameter.
        expected: usize,
        /// Number of elements of the mask.
        found: usize,
    },
    /// A tensor of the snapshot does not fit its parameter.
    #[error("{file}: the snapshot of {path} does not fit the parameter")]
    Snapshot {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
    },
    /// The contents of the file do not fit the model.
    #[error("{file}: does not fit the module: {reason}")]
    Misfit {
        /// The file.
        file: String,
        /// The cause.
        reason: String,
    },
    /// The file holds a model, but no plan of a smaller one.
    #[error("{file}: holds no plan of a smaller model; load it as a model")]
    NoPlan {
        /// The file.
        file: String,
    },
    /// The plan in the file cannot be applied, or the model in the file is not the one that the plan makes.
    #[cfg(feature = "trace")]
    #[error("{file}: {source}")]
    Shrink {
        /// The file.
        file: String,
        /// The cause.
        source: Box<crate::shrink::ShrinkError>,
    },
    /// The file is of another kind.
    #[error("{file}: holds a {found}, not a {expected}")]
    Kind {
        /// The file.
        file: String,
        /// The kind that was expected.
        expected: &'static str,
        /// The kind of the file.
        found: String,
    },
    /// A later version of this library wrote the file.
    #[error("{file}: has version {found}, and this library reads versions up to {supported}")]
    Version {
        /// The file.
        file: String,
        /// The version of the file.
        found: u32,
        /// The last version that this library reads.
        supported: u32,
    },
    /// The bytes of the file do not match its checksum.
    #[error("{file}: is damaged: its checksum is {found:08x}, not {expected:08x}")]
    Checksum {
        /// The file.
        file: String,
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the bytes of the file.
        found: u32,
    },
    /// The file has no checksum, although only this library writes files of its kind.
    #[error(
        "{file}: has no checksum: it is damaged, or another program or an earlier version of this library wrote it"
    )]
    NoChecksum {
        /// The file.
        file: String,
    },
    /// The arrays of a tensor do not form a sparse matrix.
    #[cfg(feature = "sparse")]
    #[error("{file}: {path}: {source}")]
    Sparse {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
        /// The cause.
        source: pruning_sparse::SparseError,
    },
    /// The masks cannot be attached or folded in, or the session belongs to another model.
    #[error("{file}: {source}")]
    Prune {
        /// The file.
        file: String,
        /// The cause.
        source: PruneError,
    },
}
