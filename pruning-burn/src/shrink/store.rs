//! Smaller models on disk, each with its plan: [`save`] and [`load`].

use crate::layers::first_layers;
use crate::shrink::apply::{cut, set_fields};
use crate::shrink::{Fields, ShrinkError};
use crate::store::MODEL;
use crate::store::StoreError;
use crate::store::contents::{Contents, Form, loaded, tensors_of};
use crate::store::safetensors;
use burn::module::Module;
use pruning_core::graph::ShrinkPlan;
use std::path::Path;

const METADATA: &str = "pruning.shrink";

/// Saves a smaller model with its plan: as safetensors if the file is named so, else as burnpack. The file has a checksum, and replaces
/// another one as that of [`save`](crate::store::save) does.
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
    let contents = Contents::new(tensors_of(model).map_err(failed)?).with(METADATA, plan.to_json());
    let form = if safetensors::is_one(file) { Form::Safetensors } else { Form::Burnpack };
    MODEL.save(contents, form, file)
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
    let (Contents { tensors, mut texts }, _) = MODEL.load(file)?;
    let plan = texts.remove(METADATA);
    let plan = plan.ok_or_else(|| StoreError::NoPlan { file: name() })?;
    let refuse = |source| StoreError::Shrink { file: name(), source: Box::new(source) };
    let plan = ShrinkPlan::from_json(&plan).map_err(|error| refuse(error.into()))?;
    let mut smaller = cut(&plan, model).map_err(refuse)?;
    set_fields(&plan, &mut smaller, set).map_err(refuse)?;
    *model = loaded(smaller, tensors, file)?;
    Ok(plan)
}
