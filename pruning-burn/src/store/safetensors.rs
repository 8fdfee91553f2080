//! Tensors in safetensors files.

use burn::tensor::{BoolStore, Bytes, DType, Shape};
use burn_pack::Tensor;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
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

/// A file of tensors and texts.
pub(super) fn to_bytes(tensors: Vec<Tensor>, texts: BTreeMap<String, String>) -> Result<Vec<u8>, String> {
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
    // What others go by.
    let format = ("format".to_string(), "pt".to_string());
    let texts = texts.into_iter().chain([format]).collect();
    safetensors::serialize(views, Some(texts)).map_err(|error| error.to_string())
}

/// The texts of a file.
pub(super) fn texts(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    Ok(header.metadata().clone().unwrap_or_default().into_iter().collect())
}

/// The tensors of a file, by name.
pub(super) fn tensors(bytes: &[u8]) -> Result<Vec<Tensor>, String> {
    let content = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
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
    Ok(tensors)
}
