//! The state of an optimizer under masks: [`mask_optimizer`].

use crate::layers::layers;
use crate::{PruneError, host};
use burn::module::{Module, list_param_ids};
use burn::optim::ModuleOptimizer;
use burn::tensor::Bytes;
use burn_pack::{Reader, Tensor, Writer};
use pruning_core::mask::Bits;
use std::collections::{BTreeMap, HashSet};

/// The optimizer with moments of zero where the masks of the model prune, so that no stale velocity is left when a weight comes
/// back.
///
/// Works for every optimizer whose state is of the shape of the weights, such as SGD with momentum, Adam and AdamW; other state,
/// such as the number of steps, stays. Pruned weights are zero without this too.
///
/// ```
/// # use burn::{nn::LinearConfig, optim::AdamConfig, tensor::Device};
/// # use pruning_burn::plugin::Plugins;
/// # use pruning_burn::Pruner;
/// # use pruning_burn::session::mask_optimizer;
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// # let mut model = LinearConfig::new(20, 10).init(&Device::flex().autodiff());
/// let pruner = Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?;
/// let optimizer = AdamConfig::new().init();
/// // train
/// pruner.prune(&mut model, None)?;
/// let optimizer = mask_optimizer(&model, &optimizer)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The state cannot be read, or is that of another model.
pub fn mask_optimizer<M: Module>(model: &M, optimizer: &ModuleOptimizer) -> Result<ModuleOptimizer, PruneError> {
    clear(model, optimizer, &BTreeMap::new())
}

/// The same, with moments of zero for the weights of `grown` too, by the path of their layer.
pub(crate) fn clear<M: Module>(
    model: &M,
    optimizer: &ModuleOptimizer,
    grown: &BTreeMap<String, Bits>,
) -> Result<ModuleOptimizer, PruneError> {
    let (masked, keep): (Vec<_>, Vec<_>) = layers(model)?
        .into_iter()
        .filter_map(|mut l| l.keep.take().filter(|keep| keep.dims()[0] == l.layout.len()).map(|keep| (l, keep)))
        .unzip();
    let mut stay = BTreeMap::new();
    for (layer, mut bits) in masked.into_iter().zip(host::bits(&keep)) {
        if let Some(grown) = grown.get(&layer.path).filter(|grown| grown.len() == bits.len()) {
            bits.intersect(&grown.complement());
        }
        stay.insert(layer.id.val().to_string(), (layer.shape, bits));
    }
    let zeroed = |tensor: Tensor| match stay.get(parameter(&tensor)) {
        Some((shape, bits)) if tensor.shape.as_slice() == shape => {
            let (name, dtype, shape, param, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
            let mut bytes = bytes.to_vec();
            // Zero is all zero bits in every type of numbers.
            let size = bytes.len() / bits.len().max(1);
            bits.complement().iter_ones().for_each(|i| bytes[i * size..(i + 1) * size].fill(0));
            Ok(Tensor::new(name, dtype, shape, param, Bytes::from_bytes_vec(bytes)))
        }
        _ => Ok(tensor),
    };
    rewritten(model, optimizer, zeroed)
}

/// The parameter that a tensor of an optimizer's state belongs to, by its id.
pub(crate) fn parameter(tensor: &Tensor) -> &str {
    tensor.name.split('.').next().unwrap_or_default()
}

/// The optimizer with every tensor of its state replaced; scalars, such as the number of steps, stay. State can be reached
/// through Burn's file format alone.
pub(crate) fn rewritten<M: Module>(
    model: &M,
    optimizer: &ModuleOptimizer,
    each: impl Fn(Tensor) -> Result<Tensor, String>,
) -> Result<ModuleOptimizer, PruneError> {
    let failed = |reason: String| PruneError::Optimizer { reason };
    let text = |error: burn_pack::Error| failed(error.to_string());
    let bytes = optimizer.into_bytes().map_err(|error| failed(error.to_string()))?;
    let reader = Reader::from_bytes(bytes).map_err(text)?;
    let (metadata, scalars) = (reader.metadata().clone(), reader.scalars().clone());
    let tensors = reader.into_tensors().map_err(text)?;
    // Some may belong to a module around this one, but not all.
    let ours: HashSet<String> = list_param_ids(model).into_iter().map(|id| id.val().to_string()).collect();
    if !tensors.is_empty() && !tensors.iter().any(|tensor| ours.contains(parameter(tensor))) {
        return Err(PruneError::AnotherOptimizer { moments: tensors.len() });
    }
    let tensors = tensors.into_iter().map(each).collect::<Result<_, _>>().map_err(failed)?;
    let writer = metadata.iter().fold(Writer::new(tensors), |w, (key, value)| w.with_metadata(key, value));
    let writer = scalars.into_iter().fold(writer, |w, (key, value)| w.with_scalar(&key, value));
    let bytes = writer.into_bytes().map_err(text)?;
    optimizer.clone().from_bytes(bytes).map_err(|error| failed(error.to_string()))
}
