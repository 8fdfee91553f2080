//! Smaller models on disk, each with its plan: [`save`] and [`load`].

use super::apply::cut;
use super::{Fields, ShrinkError};
use crate::StoreError;
use crate::layers::layers;
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, DType, Shape};
use burn_pack::{Reader, Tensor, Writer};
use pruning_core::graph::ShrinkPlan;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;

const METADATA: &str = "pruning.shrink";

/// Saves a smaller model with its plan: as safetensors if the file is named so, else as burnpack. The file is written beside
/// its final name, then renamed, so that no half file is left.
///
/// # Errors
/// The model carries masks, has not the shapes of the plan, or the file cannot be written.
pub fn save<M: Module>(plan: &ShrinkPlan, model: &M, file: impl AsRef<Path>) -> Result<(), StoreError> {
    let file = file.as_ref();
    let name = || file.display().to_string();
    let failed = |reason: String| StoreError::Write { file: name(), reason };
    for layer in layers(model) {
        let refuse = |source| Err(StoreError::Shrink { file: name(), source: Box::new(source) });
        if layer.carries.is_some() {
            return refuse(ShrinkError::Masked { path: layer.path });
        }
        if let Some(expected) = plan.shape_after(&layer.path).filter(|shape| *shape != layer.shape) {
            return refuse(ShrinkError::OtherModel { path: layer.path, expected, found: layer.shape });
        }
    }
    // As in `crate::save`: with the last update of running statistics.
    let record = model.valid().into_record().into_bytes().map_err(|error| failed(error.to_string()))?;
    let tensors = Reader::from_bytes(record).and_then(Reader::into_tensors);
    let tensors = tensors.map_err(|error| failed(error.to_string()))?;
    if is_safetensors(file) {
        return write_safetensors(tensors, plan, file).map_err(failed);
    }
    let writer = Writer::new(tensors).auto_extension(false).with_metadata(METADATA, &plan.to_json());
    writer.write_to_file(file).map_err(|error| failed(error.to_string()))
}

/// Loads what [`save`] wrote into a freshly built module of the original size, which becomes the smaller one. `set` sets the
/// fields of the plan, as for [`apply`](super::apply()).
///
/// # Errors
/// The file is damaged, holds no plan, or is of another module; a field is not set. The model is what it was.
pub fn load<M: Module>(
    model: &mut M,
    file: impl AsRef<Path>,
    set: impl FnOnce(&mut M, &mut Fields),
) -> Result<ShrinkPlan, StoreError> {
    let file = file.as_ref();
    let name = || file.display().to_string();
    let damaged = |reason: String| StoreError::Read { file: name(), reason };
    let (tensors, plan) = if is_safetensors(file) {
        read_safetensors(file).map_err(damaged)?
    } else {
        let reader = Reader::from_file_exact(file).map_err(|error| damaged(error.to_string()))?;
        let plan = reader.metadata().get(METADATA).cloned();
        (reader.into_tensors().map_err(|error| damaged(error.to_string()))?, plan)
    };
    let plan = plan.ok_or_else(|| StoreError::NoPlan { file: name() })?;
    let refuse = |source| StoreError::Shrink { file: name(), source: Box::new(source) };
    let plan = ShrinkPlan::from_json(&plan).map_err(|error| refuse(error.into()))?;
    let mut smaller = cut(&plan, model).map_err(refuse)?;
    let mut fields = Fields::new(&plan.fields);
    set(&mut smaller, &mut fields);
    fields.all_set().map_err(refuse)?;
    let bytes = Writer::new(tensors).into_bytes().map_err(|error| damaged(error.to_string()))?;
    let record = ModuleRecord::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
    let misfit = |error: String| StoreError::Misfit { file: name(), reason: error };
    *model = smaller.try_load_record(record).map_err(|error| misfit(error.to_string()))?;
    Ok(plan)
}

fn is_safetensors(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

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

fn write_safetensors(tensors: Vec<Tensor>, plan: &ShrinkPlan, file: &Path) -> Result<(), String> {
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
    let metadata = HashMap::from([(METADATA.to_string(), plan.to_json()), ("format".to_string(), "pt".to_string())]);
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

fn read_safetensors(file: &Path) -> Result<(Vec<Tensor>, Option<String>), String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| error.to_string())?;
    let plan = header.metadata().as_ref().and_then(|m| m.get(METADATA)).cloned();
    let content = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
    let mut tensors = Vec::new();
    for (name, view) in content.tensors() {
        let dtype = match view.dtype() {
            Dtype::BOOL => DType::Bool(burn::tensor::BoolStore::Native),
            other => {
                TYPES.iter().find(|(_, theirs)| *theirs == other).ok_or(format!("{name}: no type for {other:?}"))?.0
            }
        };
        let data = Bytes::from_bytes_vec(view.data().to_vec());
        tensors.push(Tensor::new(name, dtype, Shape::from(view.shape().to_vec()), None, data));
    }
    Ok((tensors, plan))
}
