//! A smaller copy of a model: [`cut`].

use crate::PruneError;
use crate::host;
use crate::layers::{Layer, layers, names, places};
use crate::shrink::ShrinkError;
use crate::shrink::mask::{kept_elements, place_of};
use crate::walk::{self, Map, Position};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_core::graph::{Cut, ShrinkPlan};
use std::collections::BTreeMap;

/// Returns a smaller copy, whose fields are not set yet.
pub(crate) fn cut<M: Module>(plan: &ShrinkPlan, model: &M) -> Result<M, ShrinkError> {
    plan.check()?;
    let all = layers(model)?;
    let places = places(&all);
    for (path, cut) in &plan.parameters {
        place_of(&all, &places, path, cut)?;
    }
    only_masks_of(plan, &all)?;
    let mut cuts: BTreeMap<String, &Cut> = BTreeMap::new();
    for (path, cut) in &plan.parameters {
        cuts.insert(path.clone(), cut);
        cuts.extend(cut.aliases.iter().map(|alias| (alias.clone(), cut)));
    }
    let trains = all.iter().any(|l| l.autodiff);
    // `valid` copies running statistics, which a cut would otherwise take from the model.
    let smaller = walk::map(model.valid().materialize(), &mut Slice { cuts });
    Ok(if trains { smaller.train() } else { smaller })
}

/// Returns an error unless the plan removes everything that attached masks remove.
fn only_masks_of(plan: &ShrinkPlan, all: &[Layer]) -> Result<(), ShrinkError> {
    if let Some((layer, name)) = all.iter().find_map(|l| l.foreign().map(|name| (l, name))) {
        return Err(PruneError::WouldFold { path: layer.path.clone(), name: name.clone() }.into());
    }
    let whole = |l: &&Layer| l.keep.as_ref().is_some_and(|k| k.dims()[0] == l.layout.len());
    let masked: Vec<_> = all.iter().filter(whole).collect();
    let keep: Vec<_> = masked.iter().filter_map(|l| l.keep.clone()).collect();
    for (layer, bits) in masked.into_iter().zip(host::bits(&keep)) {
        let cut = plan.parameters.iter().find(|(path, _)| names(layer).any(|n| n == *path));
        let left = cut.map(|(_, cut)| kept_elements(cut));
        let lost = (0..bits.len()).any(|i| !bits.get(i) && left.as_ref().is_none_or(|left| left.get(i)));
        if lost {
            return Err(ShrinkError::Masked { path: layer.path.clone() });
        }
    }
    Ok(())
}

/// Returns the kept positions of a tensor.
pub(crate) fn sliced<const D: usize>(tensor: Tensor<D>, cut: &Cut) -> Tensor<D> {
    let device = tensor.device();
    cut.keep.iter().fold(tensor, |tensor, (&axis, keep)| {
        let positions = indices(keep.iter().map(|&p| p as i64).collect(), &device);
        let mut shape = tensor.dims();
        let (outer, size) = (shape[..axis].iter().product::<usize>(), shape[axis]);
        let inner = shape[axis + 1..].iter().product::<usize>();
        shape[axis] = keep.len();
        // Burn's kernels copy whole rows of matrices, and single entries of other tensors.
        match (outer, inner) {
            (1, _) => tensor.reshape([size, inner]).select(0, positions).reshape(shape),
            (_, 1) => tensor.reshape([outer, size]).select(1, positions).reshape(shape),
            _ => tensor.select(axis, positions),
        }
    })
}

fn indices(positions: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let len = positions.len();
    Tensor::from_data(TensorData::new(positions, [len]), device)
}

struct Slice<'a> {
    cuts: BTreeMap<String, &'a Cut>,
}

impl Map for Slice<'_> {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.cuts.get(&at.path()) {
            None => param,
            Some(cut) => param.map(|tensor| sliced(tensor, cut)),
        }
    }
}
