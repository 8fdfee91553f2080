//! Masked models on disk, and sessions with them.

mod atomic_write;
#[cfg(feature = "train")]
pub(crate) mod checkpoint;
#[cfg(feature = "sparse")]
mod compact;
pub(crate) mod contents;
mod error;
pub(crate) mod file_header;
#[cfg(feature = "trace")]
pub(crate) mod safetensors;
#[cfg(feature = "sparse")]
pub(crate) mod sparse_arrays;
mod state;

#[cfg(feature = "sparse")]
pub use compact::{CompactReport, CompactTensor, load_compact, save_compact};
pub use error::StoreError;
pub use file_header::Integrity;

use crate::layers::{layers, places};
use crate::mask::attach::{paths, put, sound};
use crate::mask::pruning_mask::{FIELD, NAME};
use crate::snapshot::Snapshot;
use crate::{PruneError, Pruner, Session};
use burn::module::Module;
use contents::{Contents, Form, loaded, tensors_of};
use file_header::Kind;
use pruning_core::mask::Bits;
pub(crate) use state::differing;
use state::{State, pack, resume, unpack};
use std::path::Path;

/// A model: with its masks, with a session, or a smaller one with its plan.
pub(crate) const MODEL: Kind = Kind { name: "model", version: 1 };
const METADATA: &str = "pruning.session";
const SNAPSHOT: &str = "pruning.snapshot/";

/// Saves a model with its masks, as a burnpack file with a checksum.
///
/// The file takes the place of the one before it when it is complete and on the disk, and keeps its permissions. Several threads or processes
/// may save to one name: the last one to finish wins. A process that is killed leaves a file `.pruning-unfinished-...` at most, which the
/// next call to save into that folder removes.
///
/// A finished model can as well be saved by Burn's own `save_file`, which writes no checksum.
///
/// # Errors
/// The file cannot be written.
pub fn save<M: Module>(model: &M, file: impl AsRef<Path>) -> Result<(), StoreError> {
    write(model, None, file.as_ref())
}

/// Loads a model that [`save`], [`Session::save`] or Burn itself wrote into a freshly built module: attaches its masks, then loads it all.
///
/// A file that Burn wrote has no checksum, which the result says.
///
/// ```
/// # use burn::{module::Module, nn::LinearConfig, tensor::Device};
/// use pruning_burn::store::{Integrity, load, save};
/// # let (device, folder) = (Device::flex(), tempfile::tempdir()?);
/// # let (ours, burns) = (folder.path().join("ours.bpk"), folder.path().join("burns.bpk"));
/// let mut model = LinearConfig::new(20, 10).init(&device);
/// save(&model, &ours)?;
/// model.clone().save_file(&burns)?;
/// assert_eq!(load(&mut model, &ours)?, Integrity::Checked);
/// assert_eq!(load(&mut model, &burns)?, Integrity::Unchecked);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The file is damaged, or does not fit the module. The model is what it was.
pub fn load<M: Module>(model: &mut M, file: impl AsRef<Path>) -> Result<Integrity, StoreError> {
    let loaded = read(model, file.as_ref())?;
    *model = loaded.model;
    Ok(loaded.integrity)
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
        let Loaded { model: loaded, state, snapshot, .. } = read(model, file)?;
        let name = || file.display().to_string();
        let state = state.ok_or_else(|| StoreError::NoSession { file: name() })?;
        let session = resume(self, &loaded, state, snapshot, &name)?;
        *model = loaded;
        Ok(session)
    }
}

fn write<M: Module>(model: &M, session: Option<&Session>, file: &Path) -> Result<(), StoreError> {
    let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
    let mut contents = Contents::new(tensors_of(model).map_err(failed)?);
    if let Some(session) = session {
        let (text, snapshot) = pack(session).map_err(failed)?;
        contents.tensors.extend(snapshot);
        contents = contents.with(METADATA, text);
    }
    MODEL.save(contents, Form::Burnpack, file)
}

/// What a file gave for a module.
struct Loaded<M> {
    model: M,
    state: Option<State>,
    snapshot: Snapshot,
    integrity: Integrity,
}

fn read<M: Module>(model: &M, file: &Path) -> Result<Loaded<M>, StoreError> {
    let name = || file.display().to_string();
    let damaged = |reason: String| StoreError::Read { file: name(), reason };
    let (Contents { tensors, texts }, integrity) = MODEL.load(file)?;
    let state = match texts.get(METADATA) {
        None => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|error| damaged(format!("session: {error}")))?),
    };

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
        if let Some(carried) = crate::mask::attach::foreign(&all[index]) {
            let source = PruneError::Reparameterized { path, name: carried.clone() };
            return Err(StoreError::Prune { file: name(), source });
        }
        if all[index].keep.is_none() {
            open.push((index, Bits::ones(expected)));
        }
    }
    let masked = put(model, &all, open).map_err(unfit)?;
    let loaded = loaded(masked, record, file)?;
    sound(&loaded).map_err(unfit)?;
    Ok(Loaded { model: loaded, state, snapshot, integrity })
}
