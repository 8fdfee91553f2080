//! The masks of a plan, with which a model computes what the smaller one will.

use crate::PruneError;
use crate::layers::{Layer, layers, places};
use crate::mask::attach::{attach, update};
use crate::shrink::ShrinkError;
use burn::module::Module;
use pruning_core::graph::{Cut, ShrinkPlan};
use pruning_core::mask::{Bits, Mask, MaskSet};
use pruning_core::report::Report;
use std::collections::HashMap;

/// Returns the elements that a cut keeps, in memory order.
pub(crate) fn kept_elements(cut: &Cut) -> Bits {
    let len: usize = cut.shape.iter().product();
    let mut keep = vec![true; len];
    for (&axis, positions) in &cut.keep {
        let inner: usize = cut.shape[axis + 1..].iter().product();
        let mut stays = vec![false; cut.shape[axis]];
        positions.iter().for_each(|&p| stays[p] = true);
        for (row, run) in keep.chunks_exact_mut(inner.max(1)).enumerate() {
            if !stays[row % cut.shape[axis]] {
                run.fill(false);
            }
        }
    }
    Bits::from_bools(&keep)
}

/// Returns the index of the layer that a cut is for. It must have the shape of the cut.
pub(crate) fn place_of(
    all: &[Layer],
    places: &HashMap<&str, usize>,
    path: &str,
    cut: &Cut,
) -> Result<usize, ShrinkError> {
    let found = places.get(path).copied();
    found.filter(|&place| all[place].shape == cut.shape).ok_or_else(|| ShrinkError::OtherModel {
        path: path.to_string(),
        expected: cut.shape.clone(),
        found: found.map(|place| all[place].shape.clone()).unwrap_or_default(),
    })
}

/// Attaches a plan as masks, with which the model computes what the smaller one will.
///
/// The model can be trained before its channels are removed. Every weight of a removed unit is masked, on the side that makes it
/// and on the side that reads it. Masks that are attached already are tightened; running statistics do not change.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{self, Shrinker};
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
/// let report = shrink::mask(&plan, &mut model)?;
/// assert!(report.layers.iter().any(|layer| layer.path == "1.weight" && layer.kept == 8 * 4));
/// assert_eq!(model[1].weight.dims(), [16, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The plan is for another model, or a parameter carries another reparameterization.
pub fn mask<M: Module>(plan: &ShrinkPlan, model: &mut M) -> Result<Report, ShrinkError> {
    plan.check()?;
    let all = layers(model)?;
    let places = places(&all);
    let (mut fresh, mut carrying) = (Vec::new(), Vec::new());
    for (path, cut) in &plan.parameters {
        let layer = &all[place_of(&all, &places, path, cut)?];
        // Statistics of a channel do not matter if its scale and shift are zero.
        if layer.buffer {
            continue;
        }
        let mask = Mask::new(cut.shape.clone(), kept_elements(cut)).map_err(PruneError::from)?;
        let list = if layer.keep.is_some() { &mut carrying } else { &mut fresh };
        list.push((layer.path.clone(), mask));
    }
    let set = |masks: Vec<(String, Mask)>| MaskSet::new(masks).map_err(PruneError::from);
    let mut masked = model.clone();
    let mut attached = None;
    if !carrying.is_empty() {
        let mut both = Vec::new();
        let masks = crate::mask::masks(model);
        for (path, mask) in carrying {
            let mut bits = mask.bits().clone();
            if let Some(old) = masks.get(&path) {
                bits.intersect(old.bits());
            }
            both.push((path, Mask::new(mask.shape().to_vec(), bits).map_err(PruneError::from)?));
        }
        attached = Some(update(&mut masked, &set(both)?)?);
    }
    if !fresh.is_empty() {
        attached = Some(attach(&mut masked, &set(fresh)?)?);
    }
    *model = masked;
    Ok(attached.unwrap_or_default())
}
