//! Masks that are learned with the weights: soft threshold reparameterization (STR).
//!
//! The method is that of Kusupati et al. 2020, "Soft Threshold Weight Reparameterization for Learnable Sparsity", arXiv:2002.03231.
//! Each layer has its own threshold, a parameter `s` that the optimizer trains like any other, and its weights are
//!
//! ```text
//! W' = sign(W) relu(|W| - g(s)),   g(s) = 1 / (1 + exp(-s))                (section 3, equations 4 and 5)
//! ```
//!
//! There is no budget and no schedule: weight decay pulls `s` towards 0, which raises the threshold, and the loss holds it back where a
//! layer needs its weights. More decay makes the model sparser.
//!
//! ```
//! # use burn::{module::Module, nn::{Linear, LinearConfig}, optim::{GradientsParams, SgdConfig}, tensor::{Device, Tensor}};
//! # use burn::optim::decay::WeightDecayConfig;
//! use pruning_burn::recipe::Targets;
//! use pruning_burn::mask::{finish, soft_threshold};
//! # let device = Device::flex().autodiff();
//! # let mut model = LinearConfig::new(20, 10).init(&device);
//! # let x = Tensor::<2>::ones([4, 20], &device);
//! soft_threshold::learn(&mut model, &Targets::default(), -5.0)?;      // almost no threshold at the start
//! let decay = WeightDecayConfig::new(1e-2);
//! let mut optimizer = SgdConfig::new().with_weight_decay(Some(decay)).init();
//! # for _ in 0..3 {
//! // train
//! let loss = model.forward(x.clone()).square().mean();
//! let gradients = GradientsParams::from_grads(loss.backward(), &model);
//! model = optimizer.step(0.1, model, gradients);
//! # }
//! let report = soft_threshold::report(&model)?;
//! assert!(report.sparsity() > 0.0);
//! assert_eq!(soft_threshold::settle(&mut model)?, report);            // the thresholds become masks like any other
//! finish(&mut model)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::layers::{Layer, layers, names, places};
use crate::mask::attach::{put, zeroed};
use crate::targets::{Patterns, can_carry, named};
use crate::walk::{self, Position, Visit};
use crate::{PruneError, host};
use burn::module::{Module, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Bool, DType, Tensor};
use pruning_core::recipe::Targets;
use pruning_core::report::Report;
use std::collections::{BTreeMap, HashSet};

const NAME: &str = "soft_threshold";

/// A threshold that is trained with a parameter, and is subtracted from the absolute value of each of its weights.
///
/// The gradient of a weight is that of the effective weight if the weight is above the threshold, and zero otherwise. The gradient of
/// `s` is `-g'(s)` times the sum of the gradients of the weights above the threshold, each with the sign of its weight (section 3,
/// equation 7).
#[derive(Module, Debug)]
pub struct SoftThreshold {
    s: Param<Tensor<1>>,
}

impl Reparameterization for SoftThreshold {
    const NAME: &'static str = NAME;

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let base = if matches!(base.dtype(), DType::QFloat(_)) { base.dequantize() } else { base };
        let s = self.s.val();
        let s = if s.dtype() == base.dtype() { s } else { s.cast(base.dtype()) };
        base.clone().sign() * relu(base.abs() - sigmoid(s).reshape([1; D]))
    }
}

/// Attaches a threshold `g(s)` to every target, by default to the weights of linear and convolution layers.
///
/// Thresholds are saved with their model. To load them, attach thresholds to the new model first. The [module](self) has an example.
///
/// # Errors
/// `s` is not finite, a pattern matches nothing, there is no target, or a target is a running statistic, is quantized, has no elements, or
/// carries a mask or another reparameterization. The model is unchanged.
pub fn learn<M: Module>(model: &mut M, targets: &Targets, s: f64) -> Result<(), PruneError> {
    if !(s as f32).is_finite() {
        return Err(PruneError::Threshold { value: s.to_string() });
    }
    let all = layers(model)?;
    let all = named(targets, &all)?;
    let patterns = Patterns::new(targets, &all)?;
    let chosen: Vec<&Layer> = all.iter().filter(|layer| patterns.skip(layer).is_none()).collect();
    if chosen.is_empty() {
        return Err(PruneError::NoTarget);
    }
    chosen.iter().try_for_each(|layer| can_carry(layer, &layer.path, layer.carries.as_ref()))?;
    let paths = chosen.into_iter().flat_map(names).cloned().collect();
    *model = model.clone().apply_reparameterization(Attach { paths, s, made: BTreeMap::new() });
    Ok(())
}

/// Reports the sparsity that the thresholds give now: every effective weight that is not zero counts as kept.
///
/// # Errors
/// No threshold is attached.
pub fn report<M: Module>(model: &M) -> Result<Report, PruneError> {
    let mut copy = model.clone();
    settle(&mut copy)
}

/// Replaces the thresholds by masks: each weight becomes its effective weight, and the mask keeps those that are not zero.
///
/// After that the model is like any pruned model, and can be trained further, finished or saved.
///
/// # Errors
/// No threshold is attached, or a parameter carries a mask or another reparameterization, which Burn would fold in too. The model is
/// unchanged.
pub fn settle<M: Module>(model: &mut M) -> Result<Report, PruneError> {
    let all = layers(model)?;
    let carries = |layer: &&Layer| layer.carries.as_deref() == Some(NAME);
    if !all.iter().any(|layer| carries(&layer)) {
        return Err(PruneError::NotAttached { path: "model".to_string() });
    }
    if let Some((layer, name)) = all.iter().filter(|l| !carries(l)).find_map(|l| Some((l, l.carries.as_ref()?))) {
        return Err(PruneError::WouldFold { path: layer.path.clone(), name: name.clone() });
    }
    let bare = model.clone().materialize();
    let mut kept = Kept { keep: BTreeMap::new() };
    walk::visit(&bare, &mut kept);
    let chosen: Vec<&Layer> = all.iter().filter(carries).collect();
    let keep: Vec<_> = chosen.iter().filter_map(|layer| kept.keep.get(&layer.path).cloned()).collect();
    let named =
        chosen.iter().zip(&keep).flat_map(|(layer, keep)| names(layer).map(move |path| (path.clone(), keep.clone())));
    // Also makes a tied parameter one tensor again, which folding in does not.
    let bare = zeroed(bare, named.collect());
    let now = layers(&bare)?;
    let places = places(&now);
    let place = |layer: &Layer| places.get(layer.path.as_str()).copied();
    let masks = chosen.iter().zip(host::bits(&keep)).filter_map(|(layer, bits)| Some((place(layer)?, bits)));
    let settled = put(&bare, &now, masks.collect())?;
    let report = crate::mask::report(&settled)?;
    *model = settled;
    Ok(report)
}

struct Attach {
    paths: HashSet<String>,
    s: f64,
    /// By the id of the parameter: a tied one has one threshold.
    made: BTreeMap<ParamId, SoftThreshold>,
}

impl Reparameterizer for Attach {
    type Reparam = SoftThreshold;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<SoftThreshold>) {
        if !self.paths.contains(path) {
            return (param, None);
        }
        let new = || SoftThreshold { s: Param::from_tensor(Tensor::full([1], self.s, &param.lazy_device())) };
        let threshold = self.made.entry(param.id).or_insert_with(new).clone();
        (param, Some(threshold))
    }
}

/// Where the parameters of a module are not zero.
struct Kept {
    keep: BTreeMap<String, Tensor<1, Bool>>,
}

impl Visit for Kept {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        let weight = param.val().without_autodiff();
        let len = weight.shape().num_elements();
        self.keep.insert(at.path(), weight.reshape([len]).not_equal_elem(0.0));
    }
}
