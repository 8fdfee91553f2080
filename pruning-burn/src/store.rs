//! What a user has, on disk: [`save`] writes a model (masked, smaller or compact), a session or a sparse model, and [`load`] reads any
//! of these files.
//!
//! | saved | by | read by |
//! |---|---|---|
//! | a model, with its masks if it has any | `save(&model, file)` | [`Loaded::into_model`] |
//! | a model with the session that prunes it | `save((&model, &session), file)` | [`Loaded::into_session`], or its model alone |
//! | a smaller model with its plan | `save((&model, &plan), file)` | [`Loaded::into_smaller`] |
//! | a model in as few bytes as sparse formats take | `save(Compact(&model), file)` | [`Loaded::into_model`] |
//! | a sparse model | `save(&sparse, file)` | [`Loaded::into_sparse_model`] |
//!
//! Every file says what it is and carries a checksum of all its bytes, which is compared before anything in it is used. It takes the place
//! of the one before it when it is complete and on the disk, and keeps its permissions. Several threads or processes may save to one name:
//! the last one to finish wins. A process that is killed leaves a file `.pruning-unfinished-...` at most, which the next call to save into
//! that folder removes.
//!
//! ```
//! # use burn::{module::Module, nn::LinearConfig, tensor::Device};
//! use pruning_burn::store::{FileKind, Integrity, load, save};
//! # let (device, folder) = (Device::flex(), tempfile::tempdir()?);
//! # let (ours, burns) = (folder.path().join("ours.bpk"), folder.path().join("burns.bpk"));
//! let mut model = LinearConfig::new(20, 10).init(&device);
//! save(&model, &ours)?;
//! let file = load(&ours)?;
//! assert_eq!((file.kind(), file.integrity()), (FileKind::Model, Integrity::Checked));
//! file.into_model(&mut model)?;
//!
//! // A file that Burn wrote has no checksum.
//! model.clone().save_file(&burns)?;
//! assert_eq!(load(&burns)?.into_model(&mut model)?, Integrity::Unchecked);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! Every file has a seal among its texts, under `pruning.file`: `model, version 1, CRC-32 0a1b2c3d`. The checksum is that of all bytes of
//! the file with zeros in place of its own digits, so padding and names count as well, and it is the same procedure for burnpack,
//! safetensors and `rounds.json`. It is compared before anything of the file is used. [`load`] also reads files that Burn wrote, which
//! have no seal, and says so ([`Integrity::Unchecked`]), unless a text of this library is in the file. A change of a form raises the
//! version of its kind. Files are read as a whole, but for snapshots, which are checked and then read tensor by tensor. Compact and sparse
//! models are safetensors with their description in a text; the operations of a sparse model are CBOR, since JSON has no infinities. A
//! loader checks the shapes of the module before it takes memory for what a file says, and every array by the constructors of the sparse
//! formats, which refuse sizes that what is stored does not bear out. Booleans are 0 or 1.
//!
//! A file is written in the folder of its final name, under a name of its own (`.pruning-unfinished-` and twelve random characters),
//! locked, synced, renamed, and the folder synced. It keeps the permissions of the file that it replaces (not its owner), and links stay.
//! A write first removes the unfinished files in its folder that it can lock, since no living process holds them. Two races are closed: a
//! new file that is taken for a leftover before it is locked is begun anew, and one is removed only while it is locked.
//!
//! How a type is laid out as tensors and texts stands beside the type (`session/file.rs`, `shrink/file.rs`, `sparse/file.rs`); how files
//! are written, sealed and read stands here and nowhere else.

mod atomic_write;
#[cfg(feature = "sparse")]
mod compact;
pub(crate) mod contents;
mod error;
pub(crate) mod file_header;
mod model;
#[cfg(feature = "trace")]
pub(crate) mod safetensors;
#[cfg(feature = "sparse")]
pub(crate) mod sparse_arrays;

#[cfg(feature = "sparse")]
pub use compact::{Compact, CompactReport, CompactTensor};
pub use error::StoreError;
pub use file_header::Integrity;
pub(crate) use model::{Read, model_contents, read_model};

use contents::Contents;
use file_header::{COMPACT, Kind, MODEL, SPARSE_MODEL};
use std::path::{Path, PathBuf};

/// The text of a file that holds a session, and the prefix of the tensors of its snapshot.
pub(crate) const SESSION: &str = "pruning.session";
pub(crate) const SNAPSHOT: &str = "pruning.snapshot/";
/// The text of a file that holds the plan of a smaller model.
pub(crate) const PLAN: &str = "pruning.shrink";

/// Something that [`save`] writes: a model, a model beside its session or plan, a compact or a sparse model.
pub trait Save {
    /// What is told of the file.
    type Report;

    /// Writes the file: [`save`] calls it.
    ///
    /// # Errors
    /// The file cannot be written, or what belongs together does not.
    fn save_to(self, file: &Path) -> Result<Self::Report, StoreError>;
}

/// Saves a model, a model with its session or its plan, a compact model, or a sparse model: see the [table](self).
///
/// Files are burnpack, which Burn reads; smaller models are safetensors if the file is named so, compact and sparse models always are.
///
/// # Errors
/// The file cannot be written; a session or a plan is that of another model; a model that is to be smaller or compact carries masks that
/// cannot be folded in.
pub fn save<S: Save>(what: S, file: impl AsRef<Path>) -> Result<S::Report, StoreError> {
    what.save_to(file.as_ref())
}

/// Reads and checks a file that [`save`] or Burn wrote; a method of the result makes a model, a session or a sparse model of it.
///
/// # Errors
/// The file cannot be read, is damaged, is none that [`save`] writes, or a later version of this library wrote it.
pub fn load(file: impl AsRef<Path>) -> Result<Loaded, StoreError> {
    let file = file.as_ref();
    let (contents, integrity, kind) = Contents::load(file, &[&MODEL, &COMPACT, &SPARSE_MODEL])?;
    Ok(Loaded { file: file.to_path_buf(), contents, integrity, header: kind })
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A model, with its masks if it has any.
    Model,
    /// A model with the session that prunes it.
    Session,
    /// A smaller model with its plan.
    SmallerModel,
    /// A model in sparse formats.
    CompactModel,
    /// A sparse model.
    SparseModel,
}

/// A file that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    pub(crate) file: PathBuf,
    pub(crate) contents: Contents,
    integrity: Integrity,
    header: &'static Kind,
}

impl Loaded {
    /// Tells what the file holds.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        let holds = |text| self.contents.texts.contains_key(text);
        match self.header.name {
            name if name == COMPACT.name => FileKind::CompactModel,
            name if name == SPARSE_MODEL.name => FileKind::SparseModel,
            _ if holds(SESSION) => FileKind::Session,
            _ if holds(PLAN) => FileKind::SmallerModel,
            _ => FileKind::Model,
        }
    }

    /// Tells whether the file was compared with a checksum.
    #[must_use]
    pub fn integrity(&self) -> Integrity {
        self.integrity
    }

    /// An error unless the file is of this kind.
    pub(crate) fn of_kind(&self, expected: &'static Kind) -> Result<(), StoreError> {
        if self.header.name != expected.name {
            let (file, found) = (self.name(), self.header.name);
            return Err(StoreError::Kind { file, expected: expected.name, found: found.to_string() });
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> String {
        self.file.display().to_string()
    }
}
