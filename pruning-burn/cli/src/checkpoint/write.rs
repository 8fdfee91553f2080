//! Writing a checkpoint, tensor by tensor: [`write`].
//!
//! The container, the order and everything but the bytes of changed tensors stay as they are: in safetensors the header is the same byte
//! for byte. A thread writes a tensor while the next one is read and changed, so memory holds two.

use crate::checkpoint::open::Container;
use crate::checkpoint::tensor::TensorEntry;
use crate::checkpoint::{Checkpoint, safetensors};
use crate::error::CommandError;
use crate::interrupt::{Writing, interrupted};
use crate::outputs::{RENAME, named, spare};
use burn::tensor::Bytes;
use pruning_burn::store::Unfinished;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes that are written at once, after which an interruption is noticed.
const CHUNK: usize = 8 << 20;

/// Where a checkpoint is written.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The file, or the index of shards.
    pub(crate) file: PathBuf,
    /// The folder, if it was made for this.
    made: Option<PathBuf>,
}

impl Target {
    /// A file, or the folder or index of a checkpoint in shards; `None` for the input itself. None of the other files that the command
    /// reads is replaced, nor one of the checkpoint without being told.
    pub(crate) fn of(checkpoint: &Checkpoint, output: Option<&Path>, others: &[&Path]) -> Result<Self, CommandError> {
        let target = Self::named(checkpoint, output)?;
        let files = target.files(checkpoint);
        if output.is_some() {
            spare(&checkpoint.files(), &files, "say --in-place to replace it, or give -o another name")?;
        }
        spare(others, &files, RENAME)?;
        Ok(target)
    }

    fn named(checkpoint: &Checkpoint, output: Option<&Path>) -> Result<Self, CommandError> {
        let input = checkpoint.file();
        let pytorch = matches!(checkpoint.source().container, Container::Pytorch(_));
        let Some(output) = output else {
            if pytorch {
                let file = input.display();
                return Err(CommandError::Usage(format!(
                    "{file}: only PyTorch writes its own files; give a name that ends in .safetensors with -o"
                )));
            }
            return Ok(Self { file: input.to_path_buf(), made: None });
        };
        if let Container::Shards(_) = &checkpoint.source().container {
            let index = input.file_name().unwrap_or_default();
            let is_index = output.extension().is_some_and(|end| end == "json");
            let file = if is_index { output.to_path_buf() } else { output.join(index) };
            if output.is_file() && !is_index {
                let (input, output) = (input.display(), output.display());
                return Err(CommandError::Usage(format!("{input} has shards; {output} is a file: name a folder")));
            }
            return Ok(Self { file, made: None });
        }
        let written =
            if matches!(checkpoint.source().container, Container::Burnpack(_)) { "burnpack" } else { "safetensors" };
        named(output, written)?;
        if output.is_dir() {
            return Err(CommandError::Usage(format!("{}: is a folder; name a file", output.display())));
        }
        Ok(Self { file: output.to_path_buf(), made: None })
    }

    /// The files that would be written.
    fn files(&self, checkpoint: &Checkpoint) -> Vec<PathBuf> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        match &checkpoint.source().container {
            Container::Shards(shards) => {
                let names = shards.shards.iter().filter_map(|shard| shard.path.file_name());
                names.map(|name| folder.join(name)).chain([self.file.clone()]).collect()
            }
            _ => vec![self.file.clone()],
        }
    }

    fn begin(&mut self) -> Result<(), CommandError> {
        if let Some(folder) = self.file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            std::fs::create_dir(folder).map_err(|error| CommandError::write(folder, error))?;
            self.made = Some(folder.to_path_buf());
        }
        Ok(())
    }

    /// Removes the folder that was made, unless something is in it.
    fn give_up(&self) {
        if let Some(folder) = &self.made {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Writes a checkpoint, with the bytes that `change` returns for each tensor, in the order of the file. No tensor changes its length.
///
/// `extra` bytes are read beside those of all tensors, for the progress bar.
pub(crate) fn write(
    checkpoint: &Checkpoint,
    mut target: Target,
    extra: u64,
    change: impl FnMut(usize) -> Result<Vec<u8>, CommandError>,
) -> Result<PathBuf, CommandError> {
    let _writing = Writing::begin()?;
    target.begin()?;
    let all: u64 = checkpoint.tensors().iter().map(TensorEntry::bytes).sum();
    checkpoint.progress().begin("writing", all + extra);
    let written = all_files(checkpoint, &target, change);
    checkpoint.progress().end();
    if written.is_err() {
        target.give_up();
    }
    written.map(|()| target.file)
}

fn all_files(
    checkpoint: &Checkpoint,
    target: &Target,
    mut change: impl FnMut(usize) -> Result<Vec<u8>, CommandError>,
) -> Result<(), CommandError> {
    let mut finished = Vec::new();
    let files = target.files(checkpoint);
    let all: Vec<usize> = (0..checkpoint.tensors().len()).collect();
    match &checkpoint.source().container {
        Container::Safetensors(shard) => {
            finished.push(one(checkpoint, &files[0], Form::Head(shard.head.clone()), &all, &mut change)?)
        }
        Container::Pytorch(_) => {
            let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
            let head = safetensors::head(checkpoint.tensors().iter(), &metadata);
            let head = head.map_err(|reason| CommandError::write(&files[0], reason))?;
            finished.push(one(checkpoint, &files[0], Form::Head(head), &all, &mut change)?);
        }
        Container::Shards(shards) => {
            for (number, (shard, file)) in shards.shards.iter().zip(&files).enumerate() {
                let of: Vec<usize> =
                    all.iter().copied().filter(|&i| checkpoint.source().shard_of(i) == number).collect();
                finished.push(one(checkpoint, file, Form::Head(shard.head.clone()), &of, &mut change)?);
            }
            // The index comes last: until it is there, the folder is no checkpoint.
            finished.push(one(checkpoint, &target.file, Form::Head(shards.index.clone()), &[], &mut change)?);
        }
        Container::Burnpack(_) => finished.push(one(checkpoint, &files[0], Form::Burnpack, &all, &mut change)?),
    }
    interrupted()?;
    for (unfinished, file) in finished {
        unfinished.finish().map_err(|error| CommandError::write(&file, error))?;
    }
    Ok(())
}

/// Writes tensors to a safetensors file, with the bytes that `read` returns for each by its place in the list.
pub(crate) fn save(
    tensors: &[TensorEntry],
    texts: &BTreeMap<String, String>,
    file: &Path,
    mut read: impl FnMut(usize) -> Result<Vec<u8>, CommandError>,
) -> Result<(), CommandError> {
    let failed = |reason: String| CommandError::write(file, reason);
    let _writing = Writing::begin()?;
    let head = safetensors::head(tensors.iter(), texts).map_err(failed)?;
    let mut unfinished = Unfinished::begin(file).map_err(|error| CommandError::write(file, error))?;
    put(&mut unfinished, &head).map_err(failed)?;
    for index in 0..tensors.len() {
        put(&mut unfinished, &read(index)?).map_err(failed)?;
    }
    interrupted()?;
    unfinished.finish().map_err(|error| CommandError::write(file, error))
}

/// How the tensors of a file are written.
enum Form {
    /// After these bytes, one after the other.
    Head(Vec<u8>),
    Burnpack,
}

/// Writes a file with some tensors of a checkpoint beside its place.
fn one(
    checkpoint: &Checkpoint,
    file: &Path,
    form: Form,
    tensors: &[usize],
    change: &mut impl FnMut(usize) -> Result<Vec<u8>, CommandError>,
) -> Result<(Unfinished, PathBuf), CommandError> {
    let mut unfinished = Unfinished::begin(file).map_err(|error| CommandError::write(file, error))?;
    let (send, receive) = sync_channel(0);
    let written = thread::scope(|scope| {
        let unfinished = &mut unfinished;
        let writer = scope.spawn(move || match form {
            Form::Head(head) => in_order(unfinished, &head, &receive),
            Form::Burnpack => burnpack(checkpoint, unfinished, receive),
        });
        let produced = produce(checkpoint, tensors, &send, change);
        drop(send);
        let written = writer.join().unwrap_or_else(|_| Err("the thread that writes panicked".to_string()));
        // Where the reader fails, the writer only misses what it did not send.
        produced?;
        interrupted()?;
        written.map_err(|reason| CommandError::write(file, reason))
    });
    written?;
    unfinished.sync().map_err(|error| CommandError::write(file, error))?;
    Ok((unfinished, file.to_path_buf()))
}

/// Sends the bytes of tensors to the thread that writes, which tells itself why it takes no more.
fn produce(
    checkpoint: &Checkpoint,
    tensors: &[usize],
    send: &SyncSender<Vec<u8>>,
    change: &mut impl FnMut(usize) -> Result<Vec<u8>, CommandError>,
) -> Result<(), CommandError> {
    for &index in tensors {
        let tensor = &checkpoint.tensors()[index];
        let bytes = change(index)?;
        if bytes.len() as u64 != tensor.bytes {
            let reason = format!("has {} bytes after the change, not {}", bytes.len(), tensor.bytes);
            return Err(CommandError::tensor(checkpoint.file(), &tensor.name, reason));
        }
        if send.send(bytes).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn in_order(unfinished: &mut Unfinished, head: &[u8], tensors: &Receiver<Vec<u8>>) -> Result<(), String> {
    put(unfinished, head)?;
    tensors.iter().try_for_each(|bytes| put(unfinished, &bytes))
}

fn put(unfinished: &mut Unfinished, bytes: &[u8]) -> Result<(), String> {
    for chunk in bytes.chunks(CHUNK) {
        interrupted().map_err(|error| error.to_string())?;
        unfinished.as_file_mut().write_all(chunk).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn burnpack(checkpoint: &Checkpoint, unfinished: &Unfinished, tensors: Receiver<Vec<u8>>) -> Result<(), String> {
    let Container::Burnpack(pack) = &checkpoint.source().container else { return Err("is no burnpack".to_string()) };
    let tensors = std::sync::Arc::new(Mutex::new(tensors));
    let deferred = checkpoint.tensors().iter().zip(&pack.tensors).map(|(tensor, packed)| {
        let tensors = tensors.clone();
        // The writer asks for them in this order, each once.
        let next = move || {
            let missing = || burn_pack::Error::IoError("was not read".to_string());
            let bytes = tensors.lock().ok().and_then(|tensors| tensors.recv().ok()).ok_or_else(missing)?;
            Ok(Bytes::from_bytes_vec(bytes))
        };
        let len = tensor.bytes as usize;
        burn_pack::Tensor::deferred(tensor.name.clone(), packed.dtype, packed.shape.clone(), packed.id, len, next)
    });
    let mut writer = burn_pack::Writer::new(deferred.collect()).auto_extension(false);
    for (name, text) in &pack.texts {
        writer = writer.with_metadata(name, text);
    }
    for (name, scalar) in &pack.scalars {
        writer = writer.with_scalar(name, *scalar);
    }
    writer.write_to_file_in_place(unfinished.path()).map_err(|error| error.to_string())
}
