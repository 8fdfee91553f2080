//! Files that `torch.save` wrote, through `burn-store`'s reader.

use crate::checkpoint::element::ElementType;
use crate::checkpoint::tensor::TensorEntry;
use crate::error::CommandError;
use burn_store::pytorch_reader::{PickleValue, PytorchReader, Tensor};
use pruning_core::caught;
use std::collections::HashSet;
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
    // Of two tensors with one name the reader forgets one.
    let tree = caught(|| PytorchReader::read_pickle_data(path, None)).map_err(failed)?;
    if let Ok(tree) = &tree
        && let Some(name) = twice("", tree, &mut HashSet::new())
    {
        return Err(CommandError::tensor(path, &name, "two tensors have this name"));
    }
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

/// The name of two tensors, one of which may lie in a dictionary and the other beside it: `{"a": {"b": X}, "a.b": Y}`.
fn twice(name: &str, value: &PickleValue, found: &mut HashSet<String>) -> Option<String> {
    let below = |key: &String| if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
    match value {
        PickleValue::Dict(entries) => entries.iter().find_map(|(key, value)| twice(&below(key), value, found)),
        PickleValue::Unsupported(kind) if kind == "torch.Tensor" && !found.insert(name.to_string()) => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// Keys under which trainings save the weights.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_of_two_tensors_is_found() {
        let dict = |entries: &[(&str, PickleValue)]| {
            PickleValue::Dict(entries.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect())
        };
        let tensor = PickleValue::Unsupported("torch.Tensor".to_string());
        let found = |tree: &PickleValue| twice("", tree, &mut HashSet::new());
        let apart = [("a", dict(&[("b", tensor.clone())])), ("b", tensor.clone()), ("a.c", tensor.clone())];
        assert_eq!(found(&dict(&apart)), None);
        let twice = [("a", dict(&[("b", tensor.clone())])), ("a.b", tensor)];
        assert_eq!(found(&dict(&twice)).as_deref(), Some("a.b"));
    }
}
