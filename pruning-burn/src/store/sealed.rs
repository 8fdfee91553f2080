//! Files of this crate that say what they are: a version, a checksum, and what else is needed to read the tensors.

use super::{StoreError, safetensors};
use burn_pack::Tensor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// A kind of files.
pub(crate) struct Kind {
    /// Of its header in the metadata.
    pub(crate) key: &'static str,
    /// What an error calls it.
    pub(crate) name: &'static str,
    /// The last version that is known.
    pub(crate) version: u32,
}

/// What the metadata says.
#[derive(Serialize, Deserialize)]
struct Header<T> {
    version: u32,
    /// CRC-32 of names, types, shapes and bytes of all tensors in the order of their names, and of the content.
    crc32: u32,
    #[serde(flatten)]
    content: T,
}

impl Kind {
    /// Writes tensors and content beside the file, then renames.
    pub(crate) fn write<T: Serialize>(
        &self,
        mut tensors: Vec<Tensor>,
        content: &T,
        file: &Path,
    ) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError::Write { file: file.display().to_string(), reason };
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let (tensors, crc32) = checksum(tensors, content).map_err(failed)?;
        let header = serde_json::to_string(&Header { version: self.version, crc32, content });
        let header = header.map_err(|error| failed(error.to_string()))?;
        let metadata = HashMap::from([(self.key.to_string(), header), ("format".to_string(), "pt".to_string())]);
        safetensors::write(tensors, metadata, file).map_err(failed)
    }

    /// Tensors by name, and content; neither is used before the checksum is right.
    pub(crate) fn read<T: Serialize + DeserializeOwned>(&self, file: &Path) -> Result<(Vec<Tensor>, T), StoreError> {
        let name = || file.display().to_string();
        let damaged = |reason: String| StoreError::Read { file: name(), reason };
        let (tensors, metadata) = safetensors::read(file).map_err(damaged)?;
        let text = metadata.get(self.key).ok_or_else(|| StoreError::Kind { file: name(), expected: self.name })?;
        // The version first, since what else a later one says is not known.
        let version = serde_json::from_str::<serde_json::Value>(text).ok().and_then(|v| v.get("version")?.as_u64());
        let version = version.ok_or_else(|| damaged("its metadata has no version".to_string()))?;
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        if found > self.version {
            return Err(StoreError::Version { file: name(), found, supported: self.version });
        }
        let header: Header<T> = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        let (tensors, found) = checksum(tensors, &header.content).map_err(damaged)?;
        if found != header.crc32 {
            return Err(StoreError::Checksum { file: name(), expected: header.crc32, found });
        }
        Ok((tensors, header.content))
    }
}

fn checksum<T: Serialize>(tensors: Vec<Tensor>, content: &T) -> Result<(Vec<Tensor>, u32), String> {
    let mut hasher = crc32fast::Hasher::new();
    let mut whole = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let (name, dtype, shape, id, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
        // Every kind of bool is one type in the file.
        let kind = if dtype.is_bool() { "Bool".to_string() } else { format!("{dtype:?}") };
        hasher.update(format!("{name} {kind} {:?}\n", shape.as_slice()).as_bytes());
        hasher.update(&bytes);
        whole.push(Tensor::new(name, dtype, shape, id, bytes));
    }
    hasher.update(serde_json::to_string(content).map_err(|error| error.to_string())?.as_bytes());
    Ok((whole, hasher.finalize()))
}
