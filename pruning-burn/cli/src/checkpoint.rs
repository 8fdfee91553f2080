//! Checkpoints of every container: [`Checkpoint`].
//!
//! | container | told by | written as |
//! |---|---|---|
//! | safetensors | its header | safetensors, the same header byte for byte |
//! | shards | `model.safetensors.index.json` | the same shards and index |
//! | PyTorch: zip, legacy, tar | the reader | safetensors, tensors by name |
//! | burnpack | its magic number | burnpack |
//!
//! Tensors stay in their file. Each is read when it is asked for, by positioned reads, so that memory holds one tensor and not the file.
//! A checkpoint is a Burn module too (`module.rs`), so everything in `pruning-burn` works on it.

mod alike;
mod burnpack;
mod compact;
mod element;
mod expand;
mod held;
mod json;
mod layer;
mod module;
mod open;
mod pytorch;
mod safetensors;
mod shards;
mod tensor;
mod turn;
mod values;
mod write;

pub(crate) use alike::Alike;
pub(crate) use compact::compact;
pub use element::ElementType;
pub(crate) use expand::expand;
pub use layer::Layout;
pub use open::Options;
pub use tensor::TensorEntry;
pub use values::{Float, floats};
pub(crate) use values::{mask, nonzero, zeros};
pub(crate) use write::{Target, save, write};

use crate::error::CommandError;
use crate::interrupt::interrupted;
use crate::progress::Progress;
use burn::tensor::Device;
use held::Held;
use open::Source;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A checkpoint in one or more files, as a list of tensors that are read when they are asked for.
///
/// ```
/// use burn_prune::checkpoint::{Checkpoint, Layout};
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("model.safetensors");
/// # let header = br#"{"fc.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
/// # std::fs::write(&file, [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat())?;
/// let checkpoint = Checkpoint::open(&file)?;
/// let tensor = &checkpoint.tensors()[0];
/// assert_eq!((tensor.name(), tensor.kind(), tensor.shape()), ("fc.weight", "Linear", &[1, 2][..]));
/// assert_eq!(checkpoint.layout(), Layout::Pytorch);
/// assert_eq!(checkpoint.read(0)?.len(), 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    inner: Arc<Inner>,
    /// Parameters that were changed by a mapper, by the index of their tensor.
    held: BTreeMap<usize, Held>,
    device: Device,
}

/// What clones of a checkpoint share.
#[derive(Debug)]
struct Inner {
    source: Source,
    tensors: Vec<TensorEntry>,
    places: HashMap<String, usize>,
    layout: Layout,
    note: Option<String>,
    /// The first read that failed where no error could be returned.
    failed: Mutex<Option<CommandError>>,
    progress: Progress,
}

impl Checkpoint {
    /// Opens a checkpoint: a file, an index of shards, or a folder with either.
    ///
    /// # Errors
    /// The file is no checkpoint, is cut short or damaged, or shards are missing.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, CommandError> {
        Self::open_with(file, &Options::default())
    }

    /// Opens a checkpoint, and takes its layout and the types of its layers from the options.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); a pattern of the options matches no tensor.
    pub fn open_with(file: impl AsRef<Path>, options: &Options) -> Result<Self, CommandError> {
        let (source, tensors, layout, note) = open::open(file.as_ref(), options)?;
        let places = tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        let (failed, progress) = (Mutex::new(None), Progress::default());
        let inner = Inner { source, tensors, places, layout, note, failed, progress };
        Ok(Self { inner: Arc::new(inner), held: BTreeMap::new(), device: Device::flex() })
    }

    /// Returns all tensors, in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.inner.tensors
    }

    /// Returns the index of the tensor of this name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.inner.places.get(name).copied()
    }

    /// Returns the convention by which weights of linear layers are stored.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.inner.layout
    }

    /// Returns what a user should know of the file that is no error: that its biases contradict each other on the layout.
    pub(crate) fn note(&self) -> Option<&str> {
        self.inner.note.as_deref()
    }

    /// Returns the name of the container: `safetensors`, `sharded safetensors`, `pytorch` or `burnpack`.
    #[must_use]
    pub fn container(&self) -> &'static str {
        self.inner.source.name()
    }

    /// Returns the file that was opened: that of the index for a checkpoint in shards.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.inner.source.file()
    }

    /// Returns all files that it reads: the shards, and the file that was opened.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.inner.source.shards().iter().map(|shard| shard.path.clone()).chain([self.file().to_path_buf()]).collect()
    }

    /// Reads the bytes of a tensor as they are in the file: row by row, the least significant byte of an element first.
    ///
    /// # Errors
    /// The file cannot be read, or has changed since it was opened; the user interrupted the command.
    ///
    /// # Panics
    /// There are not so many tensors.
    pub fn read(&self, index: usize) -> Result<Vec<u8>, CommandError> {
        interrupted()?;
        let tensor = &self.inner.tensors[index];
        let bytes = self.inner.source.read(index, tensor)?;
        if bytes.len() as u64 != tensor.bytes {
            let reason = format!("has {} bytes, not {}", bytes.len(), tensor.bytes);
            return Err(CommandError::tensor(self.file(), &tensor.name, reason));
        }
        self.inner.progress.read(bytes.len());
        Ok(bytes)
    }

    /// An error if a parameter could not be read while a visitor looked at it.
    pub(crate) fn sound(&self) -> Result<(), CommandError> {
        let mut failed = self.inner.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), Err)
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.inner.progress
    }

    fn source(&self) -> &Source {
        &self.inner.source
    }
}
