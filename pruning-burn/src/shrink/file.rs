//! Smaller models on disk, each with its plan.

use crate::layers::first_layers;
use crate::shrink::apply::set_fields;
use crate::shrink::cut::cut;
use crate::shrink::{Fields, ShrinkError};
use crate::store::contents::{Form, loaded};
use crate::store::file_header::MODEL;
use crate::store::{Loaded, PLAN, Save, StoreError, model_contents, safetensors};
use burn::module::Module;
use pruning_core::graph::ShrinkPlan;
use std::path::Path;

/// A smaller model with its plan, as safetensors if the file is named so. An error if the model carries masks, or has not the shapes of the
/// plan.
impl<M: Module> Save for (&M, &ShrinkPlan) {
    type Report = ();

    fn save_to(self, file: &Path) -> Result<(), StoreError> {
        let (model, plan) = self;
        let name = || file.display().to_string();
        for layer in first_layers(model) {
            let refuse = |source| Err(StoreError::Shrink { file: name(), source: Box::new(source) });
            if layer.carries.is_some() {
                return refuse(ShrinkError::Masked { path: layer.path });
            }
            if let Some(expected) = plan.shape_after(&layer.path).filter(|shape| *shape != layer.shape) {
                return refuse(ShrinkError::OtherModel { path: layer.path, expected, found: layer.shape });
            }
        }
        let contents = model_contents(model, file)?.with(PLAN, plan.to_json());
        let form = if safetensors::is_one(file) { Form::Safetensors } else { Form::Burnpack };
        MODEL.save(contents, form, file)
    }
}

impl Loaded {
    /// Loads a smaller model into a freshly built module of the original size, which becomes the smaller one, and returns the plan. `set`
    /// sets the fields of the plan, as for [`apply`](crate::shrink::apply()).
    ///
    /// # Errors
    /// The file holds no plan, or is of another module; a field is not set. The model is what it was.
    pub fn into_smaller<M: Module>(
        self,
        model: &mut M,
        set: impl FnOnce(&mut M, &mut Fields),
    ) -> Result<ShrinkPlan, StoreError> {
        self.of_kind(&MODEL)?;
        let name = || self.file.display().to_string();
        let plan = self.contents.texts.get(PLAN).ok_or_else(|| StoreError::NoPlan { file: name() })?;
        let refuse = |source| StoreError::Shrink { file: name(), source: Box::new(source) };
        let plan = ShrinkPlan::from_json(plan).map_err(|error| refuse(error.into()))?;
        let mut smaller = cut(&plan, model).map_err(refuse)?;
        set_fields(&plan, &mut smaller, set).map_err(refuse)?;
        *model = loaded(smaller, self.contents.tensors, &self.file)?;
        Ok(plan)
    }
}
