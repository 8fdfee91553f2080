//! Compact files back as checkpoints: [`expand`].

use crate::checkpoint::compact::{Described, FILES, Files};
use crate::checkpoint::shards::is_beside;
use crate::checkpoint::tensor::TensorEntry;
use crate::checkpoint::{ElementType, safetensors};
use crate::error::CommandError;
use crate::interrupt::Writing;
use crate::outputs::{RENAME, named, spare};
use burn::tensor::Bytes;
use burn_pack::{Tensor, Writer};
use pruning_burn::store::{Unfinished, load};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of tensors for each byte of a compact file, beyond which it is taken for hostile, and bytes that any may have.
const RATIO: u64 = 4096;
const FREE: u64 = 64 << 20;

/// A tensor of a compact file.
struct Stored {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Stored {
    /// Whether it can be a tensor of this type and shape. Types that Burn has not are stored as bytes, which only have a length.
    fn fits(&self, element: &ElementType, shape: &[usize]) -> bool {
        let known = element.burn().is_some() && !shape.is_empty();
        let bytes = element.bytes_of(shape).and_then(Result::ok);
        (!known || (&self.element, &self.shape[..]) == (element, shape))
            && bytes.is_none_or(|bytes| bytes == self.bytes.len() as u64)
    }
}

/// Makes the files again that a compact file was made of, and returns the file or the index. A compact file of a module becomes
/// burnpack or safetensors, by the name of the output.
pub(crate) fn expand(file: &Path, output: &Path) -> Result<PathBuf, CommandError> {
    let len = std::fs::metadata(file).map_err(|error| CommandError::file(file, error))?.len();
    let limit = len.saturating_mul(RATIO).saturating_add(FREE);
    let (tensors, texts) = load(file)?.into_tensors(limit)?;
    let damaged = |reason: &str| CommandError::file(file, format!("is damaged: {reason}"));
    let files = match texts.get(FILES) {
        Some(text) => serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?,
        None => of_module(&tensors, output)?,
    };
    let mut stored = HashMap::new();
    for tensor in tensors {
        let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| CommandError::file(file, error))?;
        stored.insert(name, Stored { element: ElementType::of_burn(dtype), shape: shape.as_slice().to_vec(), bytes });
    }
    match files {
        Files::Burnpack { tensors, texts, scalars } => {
            named(output, "burnpack")?;
            spare(&[file], &[output], RENAME)?;
            let mut found = Vec::new();
            for Described { name, dtype, shape, id } in tensors {
                let held = stored.remove(&name).filter(|held| held.fits(&ElementType::of_burn(dtype), &shape));
                let held = held.ok_or_else(|| CommandError::tensor(file, &name, OTHER))?;
                found.push(Tensor::new(name, dtype, shape, id, held.bytes));
            }
            let mut writer = Writer::new(found).auto_extension(false);
            writer = texts.iter().fold(writer, |writer, (name, text)| writer.with_metadata(name, text));
            writer = scalars.iter().fold(writer, |writer, (name, scalar)| writer.with_scalar(name, *scalar));
            let failed = |reason: String| CommandError::write(output, reason);
            let _writing = Writing::begin()?;
            let unfinished = Unfinished::begin(output).map_err(|error| failed(error.to_string()))?;
            writer.write_to_file_in_place(unfinished.path()).map_err(|error| failed(error.to_string()))?;
            unfinished.finish().map_err(|error| failed(error.to_string()))?;
            Ok(output.to_path_buf())
        }
        Files::Safetensors { files, index } => {
            let several = index.is_some();
            let names: Vec<&String> = files.iter().chain(&index).map(|(name, _)| name).collect();
            if let Some(name) = names.iter().find(|name| !is_beside(name)) {
                let name = pruning_burn::shown::name(name);
                return Err(CommandError::file(file, format!("would write {name}, which is not the name of a file")));
            }
            if files.is_empty() || (!several && files.len() > 1) {
                return Err(damaged("it describes no file, or several without an index"));
            }
            if names.iter().collect::<HashSet<_>>().len() < names.len() {
                return Err(damaged("two of its files have one name"));
            }
            let place = |name: &String| if several { output.join(name) } else { output.to_path_buf() };
            let places: Vec<PathBuf> = names.into_iter().map(place).collect();
            if !several {
                named(output, "safetensors")?;
            }
            spare(&[file], &places, RENAME)?;
            let mut contents: Vec<(Vec<u8>, Vec<String>)> = Vec::new();
            for (_, header) in &files {
                let head = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
                let (tensors, _) = safetensors::parse(&head, file)?;
                let other = |(tensor, _): &&(TensorEntry, u64)| {
                    !stored.get(&tensor.name).is_some_and(|held| {
                        held.fits(&tensor.element, &tensor.shape) && held.bytes.len() as u64 == tensor.bytes
                    })
                };
                if let Some((tensor, _)) = tensors.iter().find(other) {
                    return Err(CommandError::tensor(file, &tensor.name, OTHER));
                }
                contents.push((head, tensors.into_iter().map(|(tensor, _)| tensor.name).collect()));
            }
            contents.extend(index.into_iter().map(|(_, text)| (text.into_bytes(), Vec::new())));
            let _writing = Writing::begin()?;
            let made = several && !output.is_dir();
            if made {
                std::fs::create_dir(output).map_err(|error| CommandError::write(output, error))?;
            }
            let written = all(&places, &contents, &stored);
            if made && written.is_err() {
                let _ = std::fs::remove_dir(output);
            }
            // The index comes last.
            written.map(|()| places.last().map_or(output, PathBuf::as_path).to_path_buf())
        }
    }
}

const OTHER: &str = "is missing, or has another type or shape than is described";

/// Writes files, each of which begins with bytes and goes on with tensors, and then puts all in their places.
fn all(
    places: &[PathBuf],
    contents: &[(Vec<u8>, Vec<String>)],
    stored: &HashMap<String, Stored>,
) -> Result<(), CommandError> {
    let mut finished = Vec::new();
    for (file, (head, tensors)) in places.iter().zip(contents) {
        let failed = |error| CommandError::write(file, error);
        let mut unfinished = Unfinished::begin(file).map_err(failed)?;
        unfinished.as_file_mut().write_all(head).map_err(failed)?;
        for held in tensors.iter().filter_map(|name| stored.get(name)) {
            crate::interrupt::interrupted()?;
            unfinished.as_file_mut().write_all(&held.bytes).map_err(failed)?;
        }
        finished.push((unfinished, file));
    }
    for (unfinished, file) in finished {
        unfinished.finish().map_err(|error| CommandError::write(file, error))?;
    }
    Ok(())
}

/// The files of a model that a program saved.
fn of_module(tensors: &[Tensor], output: &Path) -> Result<Files, CommandError> {
    if output.extension().is_some_and(|end| end.eq_ignore_ascii_case("bpk")) {
        let described = |tensor: &Tensor| Described {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.as_slice().to_vec(),
            id: tensor.param_id,
        };
        let tensors = tensors.iter().map(described).collect();
        return Ok(Files::Burnpack { tensors, texts: BTreeMap::new(), scalars: BTreeMap::new() });
    }
    let entry = |tensor: &Tensor| {
        let element = ElementType::of_burn(tensor.dtype);
        TensorEntry::new(tensor.name.clone(), element, tensor.shape.as_slice().to_vec(), tensor.byte_len() as u64)
    };
    let entries: Vec<_> = tensors.iter().map(entry).collect();
    // What `Checkpoint` goes by: such files have Burn's layout.
    let texts = BTreeMap::from([("producer".to_string(), "burn".to_string())]);
    let head = safetensors::head(entries.iter(), &texts).map_err(|reason| CommandError::write(output, reason))?;
    let header = String::from_utf8_lossy(&head[8..]).into_owned();
    let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Files::Safetensors { files: vec![(name, header)], index: None })
}
