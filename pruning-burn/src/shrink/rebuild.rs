//! New weights for the layers that read removed channels: [`reconstruct`].

use crate::PruneError;
use crate::layers::{layers, names, places};
use crate::mask::rebuild::set_values;
use crate::recipe::Recipe;
use crate::reconstruct::{Problem, solve};
use crate::score::CriterionInputs;
use crate::score::needed::belongs;
use crate::shrink::ShrinkError;
use crate::shrink::mask::{kept_elements, place_of};
use burn::module::Module;
use pruning_core::graph::ShrinkPlan;
use pruning_core::report::Warning;
use pruning_core::score::Granularity;

/// The result of [`reconstruct`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebuilt {
    /// The paths of the weights and biases that changed.
    pub parameters: Vec<String>,
    /// What to know of the calibration.
    pub warnings: Vec<Warning>,
}

/// Gives the layers that read removed channels new weights, before [`apply`](super::apply()), so that they put out what they did.
///
/// The recipe, or a pruner that has it, names the reconstruction. For inputs `K` that stay of a layer with weights `W` and Gram matrix `G`,
/// `least_squares` takes `W[:, K]` to `W G[:, K] (G[K, K] + damp)^-1`; with means it centers `G` and moves the rest into the bias, which
/// generalises [`fold`](super::fold()). Cut the model afterwards; keep a clone of it to go back.
///
/// ```
/// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
/// # use pruning_burn::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError};
/// # #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
/// # #[serde(default, deny_unknown_fields)]
/// # struct Unchanged {}
/// # impl pruning_burn::plugin::Plugin for Unchanged {
/// #     const NAME: &'static str = "acme.unchanged";
/// #     const SUMMARY: &'static str = "The weights as they are.";
/// # }
/// # impl Reconstruction for Unchanged {
/// #     fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
/// #         let new = |i: usize| if layer.keep.get(i) { layer.weight[i] } else { 0.0 };
/// #         Ok(Reconstructed::new((0..layer.weight.len()).map(new).collect()))
/// #     }
/// # }
/// # pruning_burn::register_reconstruction!(Unchanged);
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::calibrate::Calibration;
/// use pruning_burn::prelude::*;
/// use pruning_burn::shrink::{self, Fields, Shrinker};
/// use pruning_burn::trace::{Scope, Trace};
/// # let device = Device::flex();
/// # let mut model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
/// # let batches = [Tensor::<2>::random([200, 8], Distribution::Default, &device)];
/// let forward = |model: &Vec<Linear>, x: &Tensor<2>, scope: &mut Scope| {
///     let x = scope.input(x);
///     scope.output(model[1].forward(model[0].forward(x)));
/// };
/// let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5\nreconstruct = \"acme.unchanged\"";
/// let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let calibration = Calibration::collect(&model, pruner.needs(), &batches, forward)?;
/// let trace = Trace::record(&model, |model, scope| forward(model, &batches[0], scope))?;
/// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
/// let rebuilt = shrink::reconstruct(&plan, &mut model, &pruner, &CriterionInputs::from(&calibration))?;
/// assert_eq!(rebuilt.parameters, ["1.weight"]);
/// shrink::apply(&plan, &mut model, |_: &mut Vec<Linear>, _: &mut Fields| {}, |m, scope| forward(m, &batches[0], scope))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The recipe names no reconstruction, or one that chooses its own mask; the plan or the calibration is of another model; a layer cannot be
/// reconstructed. The model is unchanged.
pub fn reconstruct<M: Module>(
    plan: &ShrinkPlan,
    model: &mut M,
    recipe: impl Into<Recipe>,
    inputs: &CriterionInputs,
) -> Result<Rebuilt, ShrinkError> {
    plan.check()?;
    let recipe = recipe.into();
    let named = recipe.reconstruct.as_ref().filter(|reconstruction| !reconstruction.chooses());
    let reconstruction = Some(named.ok_or(ShrinkError::NoReconstruction)?);
    belongs(Some(inputs), model)?;
    let all = layers(model)?;
    let places = places(&all);
    let carried = crate::mask::masks(model);
    let masks = plan.parameters.iter().map(|(path, cut)| {
        let (place, mut keep) = (place_of(&all, &places, path, cut)?, kept_elements(cut));
        // What is pruned already stays so.
        carried.get(&all[place].path).into_iter().for_each(|mask| keep.intersect(mask.bits()));
        Ok((place, keep))
    });
    let masks = masks.collect::<Result<Vec<_>, ShrinkError>>()?;
    let granularity = |_: usize| Granularity::Element;
    let problem = Problem { reconstruction, all: &all, masks: &masks, granularity: &granularity, inputs: Some(inputs) };
    let solved = solve(model, &problem)?;
    if let Some(layer) = solved.values.keys().map(|&i| &all[i]).find(|layer| layer.foreign().is_some()) {
        let name = layer.foreign().cloned().unwrap_or_default();
        return Err(PruneError::Reparameterized { path: layer.path.clone(), name }.into());
    }
    *model = set_values(model.clone(), &all, &solved.values, &masks.into_iter().collect()).0;
    let parameters = solved.values.keys().map(|&i| names(&all[i]).next().cloned().unwrap_or_default()).collect();
    Ok(Rebuilt { parameters, warnings: solved.warnings })
}
