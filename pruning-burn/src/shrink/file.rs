//! The files of smaller models, each with its plan.

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

/// Saves a smaller model with its plan, as safetensors if the file has that extension.
///
/// Saving fails if the model carries masks, or does not have the shapes of the plan.
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
    /// Loads a smaller model into a freshly built module of the original size, and returns the plan.
    ///
    /// The module becomes the smaller one. `set` sets the fields of the plan, as for [`apply`](crate::shrink::apply()).
    ///
    /// ```
    /// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
    /// use pruning_burn::shrink::{self, Fields, Shrinker};
    /// use pruning_burn::store::{load, save};
    /// use pruning_burn::trace::{Scope, Trace};
    /// # use pruning_burn::{Pruner, plugin::Plugins};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    ///
    /// # let device = Device::flex();
    /// let mut model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
    /// # let x = Tensor::<2>::ones([1, 8], &device);
    /// let forward = |model: &Vec<Linear>, scope: &mut Scope| {
    ///     let x = scope.input(&x);
    ///     scope.output(model[1].forward(model[0].forward(x)));
    /// };
    /// let trace = Trace::record(&model, forward)?;
    /// # let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
    /// # let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
    /// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
    /// let set = |_: &mut Vec<Linear>, _: &mut Fields| {};
    /// shrink::apply(&plan, &mut model, set, forward)?;
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("small.bpk");
    /// save((&model, &plan), &file)?;
    ///
    /// let mut fresh = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
    /// assert_eq!(load(&file)?.into_smaller(&mut fresh, set)?, plan);
    /// assert_eq!(fresh[1].weight.val().into_data(), model[1].weight.val().into_data());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file holds no plan or belongs to another module, or a field is not set. On an error the model does not change.
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
