//! The cut of an optimizer's state together with its weights: [`cut_optimizer`].

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

/// Returns the optimizer of a model for the smaller model, with its state cut like the weights.
///
/// `model` is the model before the cut, whose shapes the state has. Every tensor of the state with the shape of its weight is cut;
/// the others do not change. This suits optimizers such as SGD with momentum, Adam and AdamW.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use burn::optim::{AdamConfig, ModuleOptimizer};
/// use pruning_burn::shrink::{self, Fields, Shrinker};
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
/// let optimizer: ModuleOptimizer = AdamConfig::new().init();
/// let optimizer = shrink::cut_optimizer(&plan, &model, &optimizer)?;
/// shrink::apply(&plan, &mut model, |_: &mut Vec<Linear>, _: &mut Fields| {}, forward)?;
/// # let model = model;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// Returns the kept positions of a stored tensor.
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
