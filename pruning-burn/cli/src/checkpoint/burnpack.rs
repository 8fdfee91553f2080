//! Files in burnpack format, which Burn writes.

use crate::checkpoint::element::ElementType;
use crate::checkpoint::tensor::TensorEntry;
use crate::error::CommandError;
use burn::tensor::{Bytes, DType, Shape};
use burn_pack::{Reader, Scalar};
use pruning_core::caught;
use std::collections::BTreeMap;
use std::path::Path;

/// A file in burnpack format.
pub(crate) struct Pack {
    pub(crate) tensors: Vec<Packed>,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) scalars: BTreeMap<String, Scalar>,
}

/// A tensor in it.
pub(crate) struct Packed {
    pub(crate) dtype: DType,
    pub(crate) shape: Shape,
    pub(crate) id: Option<u64>,
    /// A window of the file.
    bytes: Bytes,
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pack").field("tensors", &self.tensors.len()).field("texts", &self.texts).finish_non_exhaustive()
    }
}

/// The texts of this library that say what else than a model a file holds.
const OTHERS: [(&str, &str); 2] =
    [("pruning.session", "a session"), ("pruning.shrink", "a smaller model with its plan")];
const SEAL: &str = "pruning.file";

impl Pack {
    /// Opens a file, and returns its tensors by name.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<TensorEntry>), CommandError> {
        let failed = |reason: String| CommandError::file(path, reason);
        let len = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        let reader = caught(|| Reader::from_file_exact(path)).map_err(failed)?;
        let reader = reader.map_err(|error| failed(error.to_string()))?;
        let (mut texts, scalars) = (reader.metadata().clone(), reader.scalars().clone());
        if let Some((_, what)) = OTHERS.iter().find(|(text, _)| texts.contains_key(*text)) {
            return Err(failed(format!("holds {what}: load it with pruning-burn, and save the model alone")));
        }
        // The checksum is that of other weights; without it the file is one like Burn writes.
        texts.remove(SEAL);
        let (mut tensors, mut entries, mut all) = (Vec::new(), Vec::new(), 0u64);
        for tensor in reader.into_tensors().map_err(|error| failed(error.to_string()))? {
            let (name, dtype, shape, id, bytes) = tensor.into_parts().map_err(|error| failed(error.to_string()))?;
            if name.ends_with(".prune.keep") {
                let reason = "is a mask of pruning-burn: load the model, call `finish` and save it";
                return Err(CommandError::tensor(path, &name, reason));
            }
            all = all.saturating_add(bytes.len() as u64);
            entries.push(TensorEntry::new(
                name,
                ElementType::of_burn(dtype),
                shape.as_slice().to_vec(),
                bytes.len() as u64,
            ));
            tensors.push(Packed { dtype, shape, id, bytes });
        }
        if all > len {
            return Err(failed(format!("its tensors take {all} bytes, in a file of {len}: they overlap")));
        }
        Ok((Self { tensors, texts, scalars }, entries))
    }
}

impl Packed {
    /// Reads the bytes of the tensor.
    pub(crate) fn read(&self) -> Result<Vec<u8>, String> {
        // A view of its own, which forgets what it read.
        let view = self.bytes.view(0, self.bytes.len()).map_err(|error| format!("{error:?}"))?;
        let bytes = view.read(Default::default()).map_err(|error| error.to_string())?;
        Ok(bytes.to_vec())
    }
}
