//! Checkpoints in several files, under an index: [`Shards`].

use crate::checkpoint::json::Pairs;
use crate::checkpoint::safetensors::Shard;
use crate::checkpoint::tensor::TensorEntry;
use crate::error::CommandError;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path};

/// The largest index that is read.
const INDEX: u64 = 100_000_000;

/// A checkpoint in several files.
#[derive(Debug)]
pub(crate) struct Shards {
    /// The text of the index.
    pub(crate) index: Vec<u8>,
    pub(crate) shards: Vec<Shard>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: Pairs<String>,
}

/// A tensor, with its shard and its place in that.
pub(crate) type Placed = (TensorEntry, (usize, u64));

impl Shards {
    /// Opens all shards of an index, and returns the tensors with the shard and the place of each.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Placed>), CommandError> {
        let failed = |reason: String| CommandError::file(path, reason);
        let mut index = Vec::new();
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let read = file.take(INDEX + 1).read_to_end(&mut index).map_err(|error| failed(error.to_string()))?;
        if read as u64 > INDEX {
            return Err(failed("is no index: it is too large".to_string()));
        }
        let Index { weight_map: Pairs(map) } =
            serde_json::from_slice(&index).map_err(|error| failed(format!("is no index of shards: {error}")))?;
        let names: BTreeSet<&String> = map.iter().map(|(_, shard)| shard).collect();
        // A shard lies beside its index, so that no index reaches for other files.
        if let Some(name) = names.iter().find(|name| !is_beside(name)) {
            let name = pruning_burn::shown::name(name);
            return Err(failed(format!("names the shard {name}, which is not the name of a file beside it")));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let missing: Vec<&str> =
            names.iter().map(|name| name.as_str()).filter(|name| !folder.join(name).is_file()).collect();
        if !missing.is_empty() {
            let (missing, all, list) = (missing.len(), names.len(), pruning_burn::shown::list(missing));
            return Err(failed(format!("{missing} of {all} shards are missing: {list}")));
        }
        if names.is_empty() {
            return Err(failed("names no shard".to_string()));
        }
        let (mut shards, mut tensors, mut places) = (Vec::new(), Vec::new(), HashMap::new());
        for name in names {
            let (shard, found) = Shard::open(&folder.join(name))?;
            for (tensor, start) in found {
                if let Some(other) = places.insert(tensor.name.clone(), shards.len()) {
                    let other: &Shard = &shards[other];
                    let reason = format!("is in {} too; two tensors have one name", other.path.display());
                    return Err(CommandError::tensor(&shard.path, &tensor.name, reason));
                }
                tensors.push((tensor, (shards.len(), start)));
            }
            shards.push(shard);
        }
        for (tensor, name) in &map {
            let found = places.get(tensor.as_str()).and_then(|&place| shards[place].path.file_name());
            if found.is_none_or(|found| found != name.as_str()) {
                return Err(CommandError::tensor(
                    path,
                    tensor,
                    format!("is not in the shard {name}, where the index has it"),
                ));
            }
        }
        Ok((Self { index, shards }, tensors))
    }
}

/// Whether a name is that of a file in the same folder.
pub(crate) fn is_beside(name: &str) -> bool {
    matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(only)] if only == name)
}

/// The index in a folder, or the one file of tensors in it.
pub(crate) fn in_folder(folder: &Path) -> Result<std::path::PathBuf, CommandError> {
    let failed = |reason: String| CommandError::file(folder, reason);
    let files = fs::read_dir(folder).map_err(|error| failed(error.to_string()))?;
    let files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    let ending = |end: &str| -> Vec<_> { files.iter().filter(|file| file.to_string_lossy().ends_with(end)).collect() };
    let (indices, single) = (ending(".safetensors.index.json"), ending(".safetensors"));
    match (&indices[..], &single[..]) {
        ([index], _) => Ok((*index).clone()),
        ([], [file]) => Ok((*file).clone()),
        ([], []) => Err(failed("is a folder without safetensors files; name a file".to_string())),
        _ => Err(failed("is a folder with several checkpoints; name one of them".to_string())),
    }
}
