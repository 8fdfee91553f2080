//! Removing what a plan removes: [`apply`].

use super::mask::{kept_elements, layer_of};
use super::{Fields, ShrinkError};
use crate::PruneError;
use crate::attach::foreign;
use crate::host;
use crate::layers::{Layer, Position, layers};
use crate::trace::{Scope, Trace, TraceError};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_core::graph::{Cut, ShrinkPlan};
use std::collections::BTreeMap;

/// Removes the channels of a plan from every parameter of the model, running statistics included.
///
/// `set` sets the fields of [`ShrinkPlan::fields`], which no visitor reaches; it may do nothing if there are none. Then
/// `forward`, the same as for [`Trace::record`], is recorded once more, and what it costs must be what the plan says.
/// Parameters keep their ids, and a model that trains goes on training; an optimizer needs its state cut as well, by
/// [`cut_optimizer`](super::cut_optimizer), or a new one.
///
/// Masks of the plan, attached by [`mask`](super::mask()), are folded in.
///
/// # Errors
/// The plan is for another model, a field is not set, a mask would be lost, or the smaller model does not run as planned.
/// The model is what it was.
pub fn apply<M: Module>(
    plan: &ShrinkPlan,
    model: &mut M,
    set: impl FnOnce(&mut M, &mut Fields),
    forward: impl FnOnce(&M, &mut Scope),
) -> Result<(), ShrinkError> {
    let mut smaller = cut(plan, model)?;
    let mut fields = Fields::new(&plan.fields);
    set(&mut smaller, &mut fields);
    fields.all_set()?;
    confirm(plan, &smaller, forward)?;
    *model = smaller;
    Ok(())
}

/// A smaller copy, whose fields are not set yet.
pub(crate) fn cut<M: Module>(plan: &ShrinkPlan, model: &M) -> Result<M, ShrinkError> {
    plan.check()?;
    let all = layers(model)?;
    for (path, cut) in &plan.parameters {
        layer_of(&all, path, cut)?;
    }
    only_masks_of(plan, &all)?;
    let mut cuts: BTreeMap<String, &Cut> = BTreeMap::new();
    for (path, cut) in &plan.parameters {
        cuts.insert(path.clone(), cut);
        cuts.extend(cut.aliases.iter().map(|alias| (alias.clone(), cut)));
    }
    let trains = all.iter().any(|l| l.autodiff);
    // `valid` gives running statistics a place of their own, which cutting would otherwise take from the model.
    let smaller = model.valid().materialize().map(&mut Slice { position: Position::default(), cuts });
    Ok(if trains { smaller.train() } else { smaller })
}

/// Records the forward again: it must cost what the plan says.
pub(crate) fn confirm<M: Module>(
    plan: &ShrinkPlan,
    smaller: &M,
    forward: impl FnOnce(&M, &mut Scope),
) -> Result<(), ShrinkError> {
    let broken = |reason: String| ShrinkError::Broken { reason };
    let trace = Trace::record(smaller, forward).map_err(|error| match error {
        TraceError::Panicked { message } => broken(message),
        other => other.into(),
    })?;
    let costs = trace.costs();
    if costs.parameters != plan.after.parameters {
        return Err(broken(format!("it has {} parameters instead of {}", costs.parameters, plan.after.parameters)));
    }
    if costs.operations.len() != plan.products.len() {
        return Err(broken(format!("{} products instead of {}", costs.operations.len(), plan.products.len())));
    }
    for (found, planned) in costs.operations.iter().zip(&plan.products) {
        let outputs = found.output.iter().map(|&s| s as u64).product::<u64>();
        if (found.macs, outputs) != (planned.macs, planned.outputs) {
            let weight = if planned.weight.is_empty() { &found.operation } else { &planned.weight };
            return Err(broken(format!(
                "the product of {weight} has {outputs} results and {} MACs instead of {} and {}",
                found.macs, planned.outputs, planned.macs
            )));
        }
    }
    Ok(())
}

/// Masks can be folded in if all that they remove goes anyway.
fn only_masks_of(plan: &ShrinkPlan, all: &[Layer]) -> Result<(), ShrinkError> {
    if let Some((layer, name)) = all.iter().find_map(|l| foreign(l).map(|name| (l, name))) {
        return Err(PruneError::WouldFold { path: layer.path.clone(), name: name.clone() }.into());
    }
    let whole = |l: &&Layer| l.keep.as_ref().is_some_and(|k| k.dims()[0] == l.layout.len());
    let masked: Vec<_> = all.iter().filter(whole).collect();
    let keep: Vec<_> = masked.iter().filter_map(|l| l.keep.clone()).collect();
    for (layer, bits) in masked.into_iter().zip(host::bits(&keep)) {
        let cut = plan.parameters.iter().find(|(path, _)| crate::layers::names(layer).any(|n| n == *path));
        let left = cut.map(|(_, cut)| kept_elements(cut));
        let lost = (0..bits.len()).any(|i| !bits.get(i) && left.as_ref().is_none_or(|left| left.get(i)));
        if lost {
            return Err(ShrinkError::Masked { path: layer.path.clone() });
        }
    }
    Ok(())
}

/// Keeps some positions of some axes.
pub(crate) fn sliced<const D: usize>(tensor: Tensor<D>, cut: &Cut) -> Tensor<D> {
    let device = tensor.device();
    cut.keep.iter().fold(tensor, |tensor, (&axis, keep)| {
        let positions = indices(keep.iter().map(|&p| p as i64).collect(), &device);
        let mut shape = tensor.dims();
        let (outer, size) = (shape[..axis].iter().product::<usize>(), shape[axis]);
        let inner = shape[axis + 1..].iter().product::<usize>();
        shape[axis] = keep.len();
        // As matrices where that is possible, for which Burn's kernels copy rows and not entries.
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
    position: Position,
    cuts: BTreeMap<String, &'a Cut>,
}

impl ModuleMapper for Slice<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.cuts.get(&self.position.path()) {
            None => param,
            Some(cut) => param.map(|tensor| sliced(tensor, cut)),
        }
    }
}
