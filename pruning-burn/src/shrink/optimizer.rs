//! The state of an optimizer, cut with its weights: [`cut_optimizer`].

use crate::PruneError;
use crate::layers::{layers, places};
use crate::optimizer_state::{parameter, rewritten};
use crate::shrink::ShrinkError;
use crate::shrink::mask::place_of;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Shape};
use burn_pack::Tensor;
use pruning_core::graph::{Cut, ShrinkPlan};
use std::collections::BTreeMap;

/// The optimizer of a model, for the smaller one: every moment that has the shape of its weight is cut like it.
///
/// `model` is the model before the cut, since that has the shapes of the moments. Works for every optimizer whose state is
/// of the shape of the weights, such as SGD with momentum, Adam and AdamW; other tensors are left as they are.
///
/// # Errors
/// The plan or the optimizer is for another model, or the state cannot be read.
pub fn cut_optimizer<M: Module>(
    plan: &ShrinkPlan,
    model: &M,
    optimizer: &ModuleOptimizer,
) -> Result<ModuleOptimizer, ShrinkError> {
    plan.check()?;
    let all = layers(model)?;
    let places = places(&all);
    let mut cuts: BTreeMap<String, &Cut> = BTreeMap::new();
    for (path, cut) in &plan.parameters {
        cuts.insert(all[place_of(&all, &places, path, cut)?].id.val().to_string(), cut);
    }
    let smaller = |tensor: Tensor| match cuts.get(parameter(&tensor)) {
        Some(cut) if tensor.shape.as_slice() == cut.shape => cut_tensor(tensor, cut),
        _ => Ok(tensor),
    };
    rewritten(model, optimizer, smaller).map_err(|error| match error {
        PruneError::Optimizer { reason } => ShrinkError::State { reason },
        other => other.into(),
    })
}

/// A stored tensor with some positions of some axes.
fn cut_tensor(tensor: Tensor, cut: &Cut) -> Result<Tensor, String> {
    let (name, dtype, shape, param, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
    let (mut shape, mut bytes) = (shape.as_slice().to_vec(), bytes.to_vec());
    for (&axis, keep) in &cut.keep {
        let run = shape[axis + 1..].iter().product::<usize>() * dtype.size();
        let outer: usize = shape[..axis].iter().product();
        let mut left = Vec::with_capacity(outer * keep.len() * run);
        for block in 0..outer {
            for position in keep {
                let from = (block * shape[axis] + position) * run;
                left.extend_from_slice(&bytes[from..from + run]);
            }
        }
        shape[axis] = keep.len();
        bytes = left;
    }
    Ok(Tensor::new(name, dtype, Shape::from(shape), param, Bytes::from_bytes_vec(bytes)))
}
