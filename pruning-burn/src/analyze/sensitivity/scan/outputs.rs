//! A scan without running the model: [`Scan::run_on_outputs`].

use crate::PruneError;
use crate::analyze::sensitivity::scan::Scan;
use crate::analyze::sensitivity::{Sensitivity, SensitivityError};
use crate::layers::layers;
use crate::pruner::select::select_one;
use crate::reconstruct::{Problem, relative_error};
use crate::snapshot::fingerprint;
use crate::targets::Selection;
use burn::module::Module;
use pruning_core::budget::Sparsity;
use pruning_core::score::Granularity;

impl Scan<'_> {
    /// Measures how far the output of each layer is from that of the dense layer, by the Gram matrices of a calibration.
    ///
    /// The model does not run, so this takes seconds where [`run`](Self::run) takes an evaluation for each layer and sparsity. The value is
    /// the squared error of the layer's output over its squared output, on the inputs of the calibration, which
    /// [`with_inputs`](Self::with_inputs) gives: 0 for the dense layer, 1 for a layer that puts out nothing. If the recipe names a
    /// reconstruction, it is that of the reconstructed layer. A [suggestion](Sensitivity::suggest) can be made from either scan.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::{analyze::sensitivity::Scan, calibrate::Calibration, prelude::*, score::Need};
    /// # let device = Device::flex();
    /// # let model = LinearConfig::new(20, 10).init(&device);
    /// # let batches = [Tensor::<2>::random([64, 20], Distribution::Default, &device)];
    /// let calibration = Calibration::collect(&model, Need::INPUT_GRAM, &batches, |model: &Linear, batch, scope| {
    ///     let x = scope.input(batch);
    ///     scope.output(model.forward(x));
    /// })?;
    /// let pruner = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &Plugins::linked())?;
    /// let inputs = CriterionInputs::from(&calibration);
    /// let found = Scan::new(&pruner).with_inputs(&inputs).with_sparsities([0.5, 0.9]).run_on_outputs(&model)?;
    /// let [half, most] = &found.layers[0].points[..] else { unreachable!() };
    /// assert!(0.0 < half.value && half.value < most.value);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Self::run); the inputs hold no Gram matrix of a layer; the recipe removes channels or heads.
    pub fn run_on_outputs<M: Module>(&self, model: &M) -> Result<Sensitivity, SensitivityError> {
        let plan = self.plan(model)?;
        let layers = plan.layers.clone();
        let mut result = Sensitivity { dense: 0.0, layers, model: fingerprint(model), recipe: plan.recipe.clone() };
        self.fill(model, &plan, &mut result, &|base: &M, path: &str, sparsity| {
            self.output_error(base, path, sparsity)
        })?;
        Ok(result)
    }

    /// The output error of one layer pruned alone.
    fn output_error<M: Module>(&self, model: &M, path: &str, sparsity: Sparsity) -> Result<f64, SensitivityError> {
        let recipe = self.pruner.recipe();
        let all = layers(model).map_err(PruneError::from)?;
        let selection = Selection::new(recipe, &all)?;
        let place = selection.targets.iter().position(|target| all[target.layer].path == path).unwrap_or(0);
        let granularity = selection.targets[place].granularity;
        if granularity.is_structural() {
            return Err(SensitivityError::Structures { path: path.to_string() });
        }
        let masks = select_one(model, self.pruner, &all, selection, place, sparsity, self.inputs)?;
        let of = |_: usize| -> Granularity { granularity };
        let reconstruction = recipe.reconstruct.as_ref();
        let problem = Problem { reconstruction, all: &all, masks: &masks, granularity: &of, inputs: self.inputs };
        masks.first().map_or(Ok(0.0), |mask| Ok(relative_error(model, mask, &problem)?))
    }
}
