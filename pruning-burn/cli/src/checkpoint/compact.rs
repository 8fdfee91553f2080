//! Checkpoints as compact files: [`compact`].
//!
//! A compact file holds the tensors in sparse formats, and under `pruning.checkpoint` how its files were: the headers, byte for byte.

use crate::checkpoint::open::Container;
use crate::checkpoint::tensor::TensorEntry;
use crate::checkpoint::{Checkpoint, Layout, safetensors};
use crate::error::CommandError;
use crate::interrupt::Writing;
use burn::tensor::{Bytes, DType};
use burn_pack::{Scalar, Tensor};
use pruning_burn::score::MatrixLayout;
use pruning_burn::store::{CompactReport, CompactTensors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// The text that describes the files.
pub(crate) const FILES: &str = "pruning.checkpoint";

/// How the files of a checkpoint were.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "container", rename_all = "lowercase")]
pub(crate) enum Files {
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

/// A tensor in burnpack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) id: Option<u64>,
}

/// Writes a checkpoint in sparse formats.
pub(crate) fn compact(checkpoint: &Checkpoint, output: &Path) -> Result<CompactReport, CommandError> {
    let _writing = Writing::begin()?;
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
