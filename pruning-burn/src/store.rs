//! Masked models on disk, and sessions with them.

#[cfg(feature = "train")]
pub(crate) mod checkpoint;
#[cfg(feature = "sparse")]
mod compact;
#[cfg(feature = "sparse")]
pub(crate) mod parts;
#[cfg(feature = "trace")]
pub(crate) mod safetensors;
#[cfg(feature = "sparse")]
pub(crate) mod sealed;
mod state;

#[cfg(feature = "sparse")]
pub use compact::{CompactReport, CompactTensor, load_compact, save_compact};

use crate::attach::{paths, put, sound};
use crate::layers::{layers, places};
use crate::mask::{FIELD, NAME};
use crate::snapshot::Snapshot;
use crate::{PruneError, Pruner, Session};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn_pack::{Reader, Writer};
use pruning_core::Bits;
pub(crate) use state::differing;
use state::{State, pack, resume, unpack};
use std::path::Path;

const METADATA: &str = "pruning.session";
const SNAPSHOT: &str = "pruning.snapshot/";

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
    #[error("{file}: holds no {expected}")]
    Kind {
        /// The file.
        file: String,
        /// What it should hold.
        expected: &'static str,
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
    /// The content is not what was written.
    #[error("{file}: is damaged: its checksum is {found:08x}, not {expected:08x}")]
    Checksum {
        /// The file.
        file: String,
        /// Written down.
        expected: u32,
        /// Of what is there.
        found: u32,
    },
    /// The arrays of a tensor are no sparse matrix.
    #[error("{file}: {path}: {source}")]
    Sparse {
        /// The file.
        file: String,
        /// The parameter.
        path: String,
        /// Why.
        source: pruning_core::sparse::SparseError,
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

/// Saves a model with its masks, as a burnpack file: written beside its final name, then renamed, so that no half file is left.
///
/// A finished model can as well be saved by Burn's own `save_file`.
///
/// # Errors
/// The file cannot be written.
pub fn save<M: Module>(model: &M, file: impl AsRef<Path>) -> Result<(), StoreError> {
    write(model, None, file.as_ref())
}

/// Loads a model that [`save`] or [`Session::save`] wrote into a freshly built module: attaches its masks, then loads it all.
///
/// # Errors
/// The file is damaged, or does not fit the module.
pub fn load<M: Module>(model: &mut M, file: impl AsRef<Path>) -> Result<(), StoreError> {
    *model = read(model, file.as_ref())?.0;
    Ok(())
}

impl Session {
    /// Saves model and session, so that [`Pruner::load`] goes on where this one is.
    ///
    /// # Errors
    /// The model is not that of the session, or the file cannot be written.
    pub fn save<M: Module>(&self, model: &M, file: impl AsRef<Path>) -> Result<(), StoreError> {
        let stranger = |source| StoreError::Prune { file: file.as_ref().display().to_string(), source };
        self.check(model).map_err(stranger)?;
        write(model, Some(self), file.as_ref())
    }
}

impl Pruner {
    /// Loads a model and its session into a freshly built module. The recipe must be the one that the session followed.
    ///
    /// # Errors
    /// The file is damaged, holds no session or one of another recipe, or does not fit the module.
    pub fn load<M: Module>(&self, model: &mut M, file: impl AsRef<Path>) -> Result<Session, StoreError> {
        let file = file.as_ref();
        let (loaded, state, snapshot) = read(model, file)?;
        let name = || file.display().to_string();
        let state = state.ok_or_else(|| StoreError::NoSession { file: name() })?;
        let session = resume(self, &loaded, state, snapshot, &name)?;
        *model = loaded;
        Ok(session)
    }
}

fn write<M: Module>(model: &M, session: Option<&Session>, file: &Path) -> Result<(), StoreError> {
    let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
    // Running statistics have their last update in the record of a validation model alone.
    let record = model.valid().into_record().into_bytes().map_err(|error| failed(error.to_string()))?;
    let record = Reader::from_bytes(record).and_then(Reader::into_tensors);
    let mut tensors = record.map_err(|error| failed(error.to_string()))?;
    let mut state = None;
    if let Some(session) = session {
        let (text, snapshot) = pack(session).map_err(&failed)?;
        tensors.extend(snapshot);
        state = Some(text);
    }
    let writer = Writer::new(tensors).auto_extension(false);
    let writer = state.iter().fold(writer, |writer, state| writer.with_metadata(METADATA, state));
    writer.write_to_file(file).map_err(|error| failed(error.to_string()))
}

/// A burnpack file, read as a whole. Burn would read each tensor when it is first used, and by then the file may be another one, or gone.
pub(crate) fn open(file: &Path) -> Result<Reader, burn_pack::Error> {
    let bytes = std::fs::read(file);
    let failed = |error| burn_pack::Error::IoError(format!("cannot open '{}': {error}", file.display()));
    Reader::from_bytes(Bytes::from_bytes_vec(bytes.map_err(failed)?))
}

fn read<M: Module>(model: &M, file: &Path) -> Result<(M, Option<State>, Snapshot), StoreError> {
    let name = || file.display().to_string();
    let damaged = |reason: String| StoreError::Read { file: name(), reason };
    let reader = open(file).map_err(|error| damaged(error.to_string()))?;
    let state = match reader.metadata().get(METADATA) {
        None => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|error| damaged(format!("session: {error}")))?),
    };
    let tensors = reader.into_tensors().map_err(|error| damaged(error.to_string()))?;

    let mut snapshot = Snapshot::default();
    let mut record = Vec::with_capacity(tensors.len());
    let mut masks = Vec::new();
    for tensor in tensors {
        if let Some(path) = tensor.name.strip_prefix(SNAPSHOT) {
            let path = path.to_string();
            snapshot.values.insert(path, unpack(tensor, model).map_err(&damaged)?);
        } else {
            if let Some(path) = tensor.name.strip_suffix(&format!(".{NAME}.{FIELD}")) {
                masks.push((path.to_string(), tensor.shape.num_elements()));
            }
            record.push(tensor);
        }
    }
    let unfit = |source: PruneError| StoreError::Prune { file: name(), source };
    let all = layers(model).map_err(|error| unfit(error.into()))?;
    let places = places(&all);
    let mut open = Vec::new();
    for (path, found) in masks {
        let index = match places.get(path.as_str()) {
            Some(&index) if all[index].path == path => index,
            Some(_) => continue,
            None => {
                let source = PruneError::UnknownParameter { path, paths: paths(&all) };
                return Err(StoreError::Prune { file: name(), source });
            }
        };
        let expected = all[index].layout.len();
        if found != expected {
            return Err(StoreError::MaskLength { file: name(), path, expected, found });
        }
        if let Some(carried) = crate::attach::foreign(&all[index]) {
            let source = PruneError::Reparameterized { path, name: carried.clone() };
            return Err(StoreError::Prune { file: name(), source });
        }
        if all[index].keep.is_none() {
            open.push((index, Bits::ones(expected)));
        }
    }
    let masked = put(model, &all, open).map_err(unfit)?;
    let bytes = Writer::new(record).into_bytes().map_err(|error| damaged(error.to_string()))?;
    let record = ModuleRecord::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
    let loaded = masked
        .try_load_record(record)
        .map_err(|error| StoreError::Misfit { file: name(), reason: error.to_string() })?;
    sound(&loaded).map_err(unfit)?;
    Ok((loaded, state, snapshot))
}
