//! Files that `torch.save` wrote, through `burn-store`'s reader.

use crate::checkpoint::element::ElementType;
use crate::checkpoint::tensor::TensorEntry;
use crate::error::CommandError;
use burn_store::pytorch_reader::{PytorchReader, Tensor};
use pruning_core::caught;
use std::path::Path;

/// Opens a file, and returns its tensors by name. Values that are no tensors are left out.
///
/// Names of tensors in a nested dictionary begin with its keys; where all are in one, such as `state_dict`, its key is left out.
pub(crate) fn open(path: &Path) -> Result<(Vec<Tensor>, Vec<TensorEntry>), CommandError> {
    let failed = |reason: String| CommandError::file(path, reason);
    let len = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    // The reader checks what it reads; should it panic on some file nevertheless, that is an error like any other.
    let reader = caught(|| PytorchReader::new(path)).map_err(failed)?;
    let reader = reader.map_err(|error| failed(format!("is no checkpoint: {error}")))?;
    let mut tensors: Vec<_> = reader.into_tensors().into_iter().collect();
    if tensors.is_empty() {
        return Err(failed("holds no tensors".to_string()));
    }
    let first = tensors[0].0.split('.').next().unwrap_or("").to_string();
    let wrapped =
        WRAPPERS.contains(&first.as_str()) && tensors.iter().all(|(name, _)| name.starts_with(&format!("{first}.")));
    if wrapped {
        tensors.iter_mut().for_each(|(name, _)| *name = name[first.len() + 1..].to_string());
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let entry = |(name, tensor): &(String, Tensor)| {
        let (element, shape) = (ElementType::of_pytorch(tensor.dtype()), tensor.shape().to_vec());
        let bytes = element.bytes_of(&shape).and_then(Result::ok).unwrap_or(u64::MAX);
        // A view with a stride of 0 can claim any size.
        if bytes > len {
            let reason = format!("would take {bytes} bytes, in a file of {len}");
            return Err(CommandError::tensor(path, name, reason));
        }
        Ok(TensorEntry::new(name.clone(), element, shape, bytes))
    };
    let entries = tensors.iter().map(entry).collect::<Result<_, _>>()?;
    Ok((tensors.into_iter().map(|(_, tensor)| tensor).collect(), entries))
}

/// Keys under which trainings save the weights.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];
