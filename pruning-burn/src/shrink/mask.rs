//! A plan as masks: the model computes what the smaller one will, with everything still there.

use crate::PruneError;
use crate::layers::{Layer, layers, places};
use crate::mask::attach::{attach, update};
use crate::shrink::ShrinkError;
use burn::module::Module;
use pruning_core::graph::{Cut, ShrinkPlan};
use pruning_core::mask::{Bits, Mask, MaskSet};
use pruning_core::report::Report;
use std::collections::HashMap;

/// What a cut keeps of the elements, in memory order.
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

/// The place of the layer that a cut is for, which must have its shape.
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

/// Attaches the plan as masks, or tightens those that are attached: the model computes what the smaller one will, and can be
/// trained on before its channels go.
///
/// Every weight of a removed unit is masked, on the side that makes it and on the side that reads it. Running statistics are
/// left alone.
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
        // Statistics of a channel whose scale and shift are zero do not matter.
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
