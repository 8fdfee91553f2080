//! Files: [`save`] writes a model (masked, smaller, compact or sparse), a session or a calibration, and [`load`] reads any of these files.
//!
//! | saved | by | read by |
//! |---|---|---|
//! | a model, with its masks if it has any | `save(&model, file)` | [`Loaded::into_model`] |
//! | a model with the session that prunes it | `save((&model, &session), file)` | [`Loaded::into_session`], or its model alone |
//! | a smaller model with its plan | `save((&model, &plan), file)` | [`Loaded::into_smaller`] |
//! | a model in as few bytes as sparse formats take | `save(Compact(&model), file)` | [`Loaded::into_model`] |
//! | a sparse model | `save(&sparse, file)` | [`Loaded::into_sparse_model`] |
//! | a calibration | `save(&calibration, file)` | `Loaded::into_calibration` |
//!
//! Every file names its kind and carries a checksum of all its bytes, which is checked before anything in the file is used. A new file
//! replaces an old one once it is complete and on the disk, and keeps its permissions. Several threads or processes may save to one name:
//! the last one to finish wins. A process that is killed leaves at most a file `.pruning-unfinished-...`, which the next call that saves
//! into that folder removes.
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
//! the file with zeros in place of its own digits, so it covers padding and names too. Burnpack, safetensors and `rounds.json` share this
//! procedure. The checksum is checked before anything in the file is used. [`load`] also reads files that Burn wrote, which have no seal,
//! and reports that ([`Integrity::Unchecked`]), unless a text of this library is in the file. A change of a format raises the version of
//! its kind. Files are read as a whole, except for snapshots, which are checked and then read tensor by tensor. Compact and sparse
//! models are safetensors with their description in a text; the operations of a sparse model are CBOR, since JSON has no infinities. A
//! loader checks the shapes of the module before it allocates memory for the sizes in a file, and passes every array to the constructors
//! of the sparse formats, which refuse sizes that do not match the stored arrays. Booleans must be 0 or 1.
//!
//! A file is written in the folder of its final name, under a temporary name (`.pruning-unfinished-` and twelve random characters),
//! locked, synced, renamed, and the folder is synced. It keeps the permissions of the file that it replaces (not its owner), and links
//! stay. A write first removes the unfinished files in its folder that it can lock, since no living process holds them. Two races are
//! closed: a new file that another process takes for a leftover before it is locked is started again, and a leftover is removed only while
//! it is locked.
//!
//! The layout of a type as tensors and texts is defined beside the type (`session/file.rs`, `shrink/file.rs`, `sparse/file.rs`); writing,
//! sealing and reading files is defined here and nowhere else.

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

pub use atomic_write::Unfinished;
#[cfg(feature = "sparse")]
pub use compact::{Compact, CompactReport, CompactTensor, CompactTensors};
pub use error::StoreError;
pub use file_header::Integrity;
pub(crate) use model::{Read, model_contents, read_model};

use contents::Contents;
#[cfg(feature = "trace")]
use file_header::CALIBRATION;
use file_header::{COMPACT, Kind, MODEL, SPARSE_MODEL};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The kinds that [`load`] reads.
const KINDS: &[&Kind] = &[
    &MODEL,
    &COMPACT,
    &SPARSE_MODEL,
    #[cfg(feature = "trace")]
    &CALIBRATION,
];

/// The text of a file that holds a session, and the prefix of the tensors of its snapshot.
pub(crate) const SESSION: &str = "pruning.session";
pub(crate) const SNAPSHOT: &str = "pruning.snapshot/";
/// The text of a file that holds the plan of a smaller model.
pub(crate) const PLAN: &str = "pruning.shrink";

/// A value that [`save`] can write: a model, a model with its session or plan, a compact model, a sparse model or a calibration.
pub trait Save {
    /// Report about the file that was written.
    type Report;

    /// Writes the file. Users call [`save`] instead.
    ///
    /// # Errors
    /// The file cannot be written, or the session or plan belongs to another model.
    fn save_to(self, file: &Path) -> Result<Self::Report, StoreError>;
}

/// Saves a model, a model with its session or its plan, a compact model, a sparse model or a calibration to a file.
///
/// The [table](self) lists them, and an example follows it. Files are in burnpack format, which Burn reads. Compact and sparse models are
/// in safetensors format instead, and so are smaller models if the name of the file ends in `.safetensors`.
///
/// # Errors
/// The file cannot be written; a session or plan belongs to another model; the masks of a smaller or compact model cannot be folded in.
pub fn save<S: Save>(what: S, file: impl AsRef<Path>) -> Result<S::Report, StoreError> {
    what.save_to(file.as_ref())
}

/// Writes a file of any kind in the way of [`save`]: it takes the place of an old one once it is complete and on the disk.
///
/// `write` gets the new file, which is empty and lies in the same folder under another name. If it fails, nothing has changed.
///
/// ```
/// use pruning_burn::store::replace;
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// let file = folder.path().join("notes.txt");
/// replace(&file, |file| file.write_all(b"half of the weights"))?;
/// assert!(replace(&file, |_| Err(std::io::Error::other("no more"))).is_err());
/// assert_eq!(std::fs::read(&file)?, b"half of the weights");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `write` fails, or the file cannot be written.
pub fn replace(file: impl AsRef<Path>, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
    let file = file.as_ref();
    let written = atomic_write::replace(file, |to| write(to.as_file_mut()).map_err(|error| error.to_string()));
    written.map_err(|reason| StoreError::Write { file: file.display().to_string(), reason })
}

/// Reads and checks a file that [`save`] or Burn wrote.
///
/// A method of the result turns it into a model, a session or a sparse model: see the [table](self).
///
/// # Errors
/// The file cannot be read, is damaged, is of a kind that [`save`] does not write, or was written by a later version of this library.
pub fn load(file: impl AsRef<Path>) -> Result<Loaded, StoreError> {
    let file = file.as_ref();
    let (contents, integrity, kind) = Contents::load(file, KINDS)?;
    Ok(Loaded { file: file.to_path_buf(), contents, integrity, header: kind })
}

/// The kind of contents of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A model, with masks if it carries any.
    Model,
    /// A model with the session that prunes it.
    Session,
    /// A smaller model with its plan.
    SmallerModel,
    /// A model in sparse formats.
    CompactModel,
    /// A sparse model.
    SparseModel,
    /// A calibration.
    Calibration,
}

/// The contents of a file that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    pub(crate) file: PathBuf,
    pub(crate) contents: Contents,
    integrity: Integrity,
    header: &'static Kind,
}

impl Loaded {
    /// Returns the kind of contents of the file.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        let holds = |text| self.contents.texts.contains_key(text);
        match self.header.name {
            name if name == COMPACT.name => FileKind::CompactModel,
            name if name == SPARSE_MODEL.name => FileKind::SparseModel,
            #[cfg(feature = "trace")]
            name if name == CALIBRATION.name => FileKind::Calibration,
            _ if holds(SESSION) => FileKind::Session,
            _ if holds(PLAN) => FileKind::SmallerModel,
            _ => FileKind::Model,
        }
    }

    /// Returns whether the file was compared with a checksum.
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
