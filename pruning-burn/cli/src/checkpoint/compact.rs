//! Checkpoints as compact files, and back: [`compact`], [`expand`].
//!
//! A compact file holds the tensors in sparse formats, and under `pruning.checkpoint` how its files were: the headers, byte for byte.

use crate::checkpoint::open::Container;
use crate::checkpoint::shards::is_beside;
use crate::checkpoint::tensor::TensorEntry;
use crate::checkpoint::{Checkpoint, Layout, safetensors};
use crate::error::CommandError;
use burn::tensor::{Bytes, DType};
use burn_pack::{Scalar, Tensor, Writer};
use pruning_burn::score::MatrixLayout;
use pruning_burn::store::{CompactReport, CompactTensors, Unfinished, load};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The text that describes the files.
const FILES: &str = "pruning.checkpoint";
/// Bytes of tensors for each byte of a compact file, beyond which it is taken for hostile, and bytes that any may have.
const RATIO: u64 = 4096;
const FREE: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "container", rename_all = "lowercase")]
enum Files {
    /// Names and headers of files, and the index of them if there are several.
    Safetensors {
        files: Vec<(String, String)>,
        index: Option<(String, String)>,
    },
    Burnpack {
        tensors: Vec<Described>,
        texts: BTreeMap<String, String>,
        scalars: BTreeMap<String, Scalar>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Described {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    id: Option<u64>,
}

/// Writes a checkpoint in sparse formats.
pub(crate) fn compact(checkpoint: &Checkpoint, output: &Path) -> Result<CompactReport, CommandError> {
    let names: HashSet<&str> = checkpoint.tensors().iter().map(TensorEntry::name).collect();
    let files = files(checkpoint)?;
    let text = serde_json::to_string(&files).map_err(|error| CommandError::write(output, error))?;
    let mut compact = CompactTensors::new().with_text(FILES, text);
    checkpoint.progress().begin("reading", checkpoint.tensors().iter().map(TensorEntry::bytes).sum());
    for (index, tensor) in checkpoint.tensors().iter().enumerate() {
        let failed = |reason: String| CommandError::tensor(checkpoint.file(), &tensor.name, reason);
        // The arrays of a sparse tensor have its name before theirs.
        if tensor.name.rsplit_once('.').is_some_and(|(parent, _)| names.contains(parent)) {
            return Err(failed("lies below a tensor by its name, which a compact file cannot tell apart".to_string()));
        }
        let bytes = Bytes::from_bytes_vec(checkpoint.read(index)?);
        let stored = match tensor.element.burn().filter(|_| !tensor.shape.is_empty()) {
            Some(dtype) => Tensor::new(tensor.name.clone(), dtype, tensor.shape.clone(), None, bytes),
            // Types that Burn has not, as bytes; the header has their type and shape.
            None => Tensor::new(tensor.name.clone(), DType::U8, [bytes.len()], None, bytes),
        };
        compact.add(stored, matrix(tensor, checkpoint.layout())).map_err(failed)?;
    }
    checkpoint.progress().end();
    Ok(pruning_burn::store::save(compact, output)?)
}

/// The matrix of a tensor as it is stored, with output units as rows.
fn matrix(tensor: &TensorEntry, layout: Layout) -> Option<MatrixLayout> {
    let [first, second, kernel @ ..] = tensor.shape.as_slice() else { return None };
    let kernel: usize = kernel.iter().product();
    match tensor.kind.as_str() {
        _ if kernel == 0 || *first == 0 || *second == 0 || !tensor.is_parameter() => None,
        "Linear" if layout == Layout::Burn => Some(MatrixLayout::column_major(*second, *first)),
        kind if kind.starts_with("ConvTranspose") => Some(MatrixLayout::new(*first, *second, kernel, kernel)),
        kind if kind.starts_with("Conv") => Some(MatrixLayout::new(1, *first, second * kernel, kernel)),
        _ => None,
    }
}

fn files(checkpoint: &Checkpoint) -> Result<Files, CommandError> {
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let header = |head: &[u8]| String::from_utf8_lossy(&head[8..]).into_owned();
    Ok(match &checkpoint.source().container {
        Container::Safetensors(shard) => {
            Files::Safetensors { files: vec![(name(&shard.path), header(&shard.head))], index: None }
        }
        Container::Pytorch(_) => {
            let texts = BTreeMap::from([("format".to_string(), "pt".to_string())]);
            let head = safetensors::head(checkpoint.tensors().iter(), &texts);
            let head = head.map_err(|reason| CommandError::file(checkpoint.file(), reason))?;
            Files::Safetensors { files: vec![(name(checkpoint.file()), header(&head))], index: None }
        }
        Container::Shards(shards) => Files::Safetensors {
            files: shards.shards.iter().map(|shard| (name(&shard.path), header(&shard.head))).collect(),
            index: Some((name(checkpoint.file()), String::from_utf8_lossy(&shards.index).into_owned())),
        },
        Container::Burnpack(pack) => {
            let described = |(tensor, packed): (&TensorEntry, &crate::checkpoint::burnpack::Packed)| Described {
                name: tensor.name.clone(),
                dtype: packed.dtype,
                shape: tensor.shape.clone(),
                id: packed.id,
            };
            let tensors = checkpoint.tensors().iter().zip(&pack.tensors).map(described).collect();
            Files::Burnpack { tensors, texts: pack.texts.clone(), scalars: pack.scalars.clone() }
        }
    })
}

/// Makes the files again that a compact file was made of, and returns the file or the index. A compact file of a module becomes
/// burnpack or safetensors, by the name of the output.
pub(crate) fn expand(file: &Path, output: &Path) -> Result<PathBuf, CommandError> {
    let len = std::fs::metadata(file).map_err(|error| CommandError::file(file, error))?.len();
    let limit = len.saturating_mul(RATIO).saturating_add(FREE);
    let (tensors, texts) = load(file)?.into_tensors(limit)?;
    let files = match texts.get(FILES) {
        Some(text) => {
            serde_json::from_str(text).map_err(|error| CommandError::file(file, format!("is damaged: {error}")))?
        }
        None => of_module(&tensors, output)?,
    };
    let mut bytes = HashMap::new();
    for tensor in tensors {
        let (name, _, _, _, held) = tensor.into_parts().map_err(|error| CommandError::file(file, error))?;
        bytes.insert(name, held);
    }
    match files {
        Files::Burnpack { tensors, texts, scalars } => {
            let mut found = Vec::new();
            for Described { name, dtype, shape, id } in tensors {
                let missing = || CommandError::tensor(file, &name, "is missing");
                let held = bytes.remove(&name).ok_or_else(missing)?;
                found.push(Tensor::new(name, dtype, shape, id, held));
            }
            let mut writer = Writer::new(found).auto_extension(false);
            writer = texts.iter().fold(writer, |writer, (name, text)| writer.with_metadata(name, text));
            writer = scalars.iter().fold(writer, |writer, (name, scalar)| writer.with_scalar(name, *scalar));
            let failed = |reason: String| CommandError::write(output, reason);
            let unfinished = Unfinished::begin(output).map_err(|error| failed(error.to_string()))?;
            writer.write_to_file_in_place(unfinished.path()).map_err(|error| failed(error.to_string()))?;
            unfinished.finish().map_err(|error| failed(error.to_string()))?;
            Ok(output.to_path_buf())
        }
        Files::Safetensors { files, index } => {
            let several = index.is_some();
            if several && !output.is_dir() {
                std::fs::create_dir(output).map_err(|error| CommandError::write(output, error))?;
            }
            let place = |name: &str| if several { output.join(name) } else { output.to_path_buf() };
            let names = files.iter().chain(&index).map(|(name, _)| name);
            if let Some(name) = names.into_iter().find(|name| !is_beside(name)) {
                let name = pruning_burn::shown::name(name);
                return Err(CommandError::file(file, format!("would write {name}, which is not the name of a file")));
            }
            let mut finished = Vec::new();
            for (name, header) in &files {
                let head = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
                let (tensors, _) = safetensors::parse(&head, file)?;
                let mut parts: Vec<&[u8]> = vec![&head];
                for (tensor, _) in &tensors {
                    let held = bytes.get(&tensor.name).filter(|held| held.len() as u64 == tensor.bytes);
                    parts.push(
                        held.ok_or_else(|| {
                            CommandError::tensor(file, &tensor.name, "is missing, or has another size")
                        })?,
                    );
                }
                finished.push(begun(&place(name), &parts)?);
            }
            let last = match &index {
                Some((name, text)) => {
                    finished.push(begun(&place(name), &[text.as_bytes()])?);
                    place(name)
                }
                None => output.to_path_buf(),
            };
            for unfinished in finished {
                unfinished.finish().map_err(|error| CommandError::write(output, error))?;
            }
            Ok(last)
        }
    }
}

fn begun(file: &Path, parts: &[&[u8]]) -> Result<Unfinished, CommandError> {
    let mut unfinished = Unfinished::begin(file).map_err(|error| CommandError::write(file, error))?;
    let written = parts.iter().try_for_each(|part| unfinished.as_file_mut().write_all(part));
    written.map_err(|error| CommandError::write(file, error))?;
    Ok(unfinished)
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
        let element = crate::checkpoint::ElementType::of_burn(tensor.dtype);
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
