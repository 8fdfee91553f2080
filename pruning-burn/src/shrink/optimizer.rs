//! The state of an optimizer, cut with its weights: [`cut_optimizer`].

use super::ShrinkError;
use super::mask::layer_of;
use crate::layers::layers;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Shape};
use burn_pack::{Reader, Writer};
use pruning_core::graph::{Cut, ShrinkPlan};
use std::collections::BTreeMap;

/// The optimizer of a model, for the smaller one: every moment that has the shape of its weight is cut like it.
///
/// `model` is the model before the cut, since that has the shapes of the moments. Works for every optimizer whose state is
/// of the shape of the weights, such as SGD with momentum, Adam and AdamW; other tensors are left as they are.
///
/// # Errors
/// The plan is for another model, or the state cannot be read.
pub fn cut_optimizer<M: Module>(
    plan: &ShrinkPlan,
    model: &M,
    optimizer: &ModuleOptimizer,
) -> Result<ModuleOptimizer, ShrinkError> {
    plan.check()?;
    let all = layers(model);
    let mut cuts: BTreeMap<String, &Cut> = BTreeMap::new();
    for (path, cut) in &plan.parameters {
        cuts.insert(layer_of(&all, path, cut)?.id.val().to_string(), cut);
    }
    let failed = |reason: String| ShrinkError::State { reason };
    let bytes = optimizer.into_bytes().map_err(|error| failed(error.to_string()))?;
    let reader = Reader::from_bytes(bytes).map_err(|error| failed(error.to_string()))?;
    let (metadata, scalars) = (reader.metadata().clone(), reader.scalars().clone());
    let mut tensors = Vec::new();
    for tensor in reader.into_tensors().map_err(|error| failed(error.to_string()))? {
        let id = tensor.name.split('.').next().unwrap_or_default();
        let cut = cuts.get(id).filter(|cut| tensor.shape.as_slice() == cut.shape).copied();
        tensors.push(match cut {
            None => tensor,
            Some(cut) => cut_tensor(tensor, cut).map_err(failed)?,
        });
    }
    let writer = metadata.iter().fold(Writer::new(tensors), |w, (key, value)| w.with_metadata(key, value));
    let writer = scalars.into_iter().fold(writer, |w, (key, value)| w.with_scalar(&key, value));
    let bytes = writer.into_bytes().map_err(|error| failed(error.to_string()))?;
    optimizer.clone().from_bytes(bytes).map_err(|error| failed(error.to_string()))
}

/// A stored tensor with some positions of some axes.
pub(crate) fn cut_tensor(tensor: burn_pack::Tensor, cut: &Cut) -> Result<burn_pack::Tensor, String> {
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
    Ok(burn_pack::Tensor::new(name, dtype, Shape::from(shape), param, Bytes::from_bytes_vec(bytes)))
}
