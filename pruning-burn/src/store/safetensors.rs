//! Tensors in safetensors files.

use burn::tensor::{BoolStore, Bytes, DType, Shape};
use burn_pack::Tensor;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The types that both formats have.
const TYPES: [(DType, Dtype); 12] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U64, Dtype::U64),
    (DType::U32, Dtype::U32),
    (DType::U16, Dtype::U16),
    (DType::U8, Dtype::U8),
];

/// Whether a file is named as one.
pub(crate) fn is_one(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Writes tensors and metadata beside the file, then renames.
pub(crate) fn write(tensors: Vec<Tensor>, metadata: HashMap<String, String>, file: &Path) -> Result<(), String> {
    let mut parts = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
        let dtype = match dtype {
            DType::Bool(_) if bytes.len() == shape.num_elements() => Dtype::BOOL,
            _ => TYPES.iter().find(|(ours, _)| *ours == dtype).ok_or(format!("{name}: no type for {dtype:?}"))?.1,
        };
        parts.push((name, dtype, shape.as_slice().to_vec(), bytes));
    }
    let mut views = Vec::with_capacity(parts.len());
    for (name, dtype, shape, bytes) in &parts {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| format!("{name}: {error}"))?;
        views.push((name.as_str(), view));
    }
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".tmp");
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, file));
    written.map_err(|error| {
        // What is left of a failed write is of no use, and removing it can only fail for the same reason.
        let _ = std::fs::remove_file(&beside);
        error.to_string()
    })
}

/// Tensors by name, and metadata.
pub(crate) fn read(file: &Path) -> Result<(Vec<Tensor>, HashMap<String, String>), String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| error.to_string())?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let content = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
    let mut tensors = Vec::new();
    for (name, view) in content.tensors() {
        let dtype = match view.dtype() {
            Dtype::BOOL => DType::Bool(BoolStore::Native),
            other => {
                TYPES.iter().find(|(_, theirs)| *theirs == other).ok_or(format!("{name}: no type for {other:?}"))?.0
            }
        };
        let data = Bytes::from_bytes_vec(view.data().to_vec());
        tensors.push(Tensor::new(name, dtype, Shape::from(view.shape().to_vec()), None, data));
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((tensors, metadata))
}
