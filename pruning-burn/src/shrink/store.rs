//! Smaller models on disk, each with its plan: [`save`] and [`load`].

use super::apply::cut;
use super::{Fields, ShrinkError};
use crate::StoreError;
use crate::layers::first_layers;
use crate::store::{open, safetensors};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn_pack::{Reader, Writer};
use pruning_core::graph::ShrinkPlan;
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
    for layer in first_layers(model) {
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
    if safetensors::is_one(file) {
        let metadata = [(METADATA.to_string(), plan.to_json()), ("format".to_string(), "pt".to_string())];
        return safetensors::write(tensors, metadata.into(), file).map_err(failed);
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
    let (tensors, plan) = if safetensors::is_one(file) {
        let (tensors, mut metadata) = safetensors::read(file).map_err(damaged)?;
        (tensors, metadata.remove(METADATA))
    } else {
        let reader = open(file).map_err(|error| damaged(error.to_string()))?;
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
