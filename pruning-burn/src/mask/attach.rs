//! Masks on a model: attach, update, finish, undo.

use crate::layers::{Layer, MASK, first_layers, layer_report, layers, names, paths, places};
use crate::mask::PruningMask;
use crate::mask::before::restored;
use crate::targets::can_carry;
use crate::walk::{self, Map, OneLeaf, Position, Visit};
use crate::{PruneError, host};
use burn::module::{Module, Param, ParamId, Reparameterizer};
use burn::tensor::{Bool, Int, Tensor};
use pruning_core::mask::{Bits, Mask, MaskSet};
use pruning_core::report::Report;
use pruning_core::score::Granularity;
use std::collections::{BTreeMap, HashMap};

pub(super) struct Attach<'a> {
    pub(super) keep: &'a BTreeMap<String, Bits>,
    pub(super) before: &'a BTreeMap<String, Tensor<1, Int>>,
}

impl Reparameterizer for Attach<'_> {
    type Reparam = PruningMask;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<PruningMask>) {
        let before = || self.before.get(path).cloned();
        let mask =
            self.keep.get(path).map(|bits| PruningMask::new(host::keep_on(bits, &param.lazy_device()), before()));
        (param, mask)
    }
}

/// Replaces masks that are attached; `None` stands for one that keeps all.
struct Update<'a> {
    keep: &'a BTreeMap<String, Option<Bits>>,
}

impl Map for Update<'_> {
    fn map_bool<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        let Some((path, rest)) = at.carried() else { return param };
        match self.keep.get(&path).filter(|_| rest == MASK) {
            None => param,
            Some(keep) => {
                let bits = keep.clone().unwrap_or_else(|| Bits::ones(1));
                let (_, old, mapper) = param.consume();
                // A new id, since the id of a mask names its contents.
                let new = host::keep_on(&bits, &old.device()).reshape([bits.len(); D]);
                Param::from_mapped_value(ParamId::new(), new, mapper)
            }
        }
    }
}

/// Puts masks on parameters, attached ones or not. Paths are those of [`Layer`], and masks fit.
///
/// # Errors
/// A weight that a mask removes is not finite.
pub(crate) fn put<M: Module>(model: &M, all: &[Layer], masks: Vec<(usize, Bits)>) -> Result<M, PruneError> {
    finite(model, all, &masks)?;
    let (mut fresh, mut update) = (BTreeMap::new(), BTreeMap::new());
    for (index, bits) in masks {
        let layer = &all[index];
        for path in names(layer) {
            if layer.keep.is_some() {
                update.insert(path.clone(), Some(bits.clone()));
            } else {
                fresh.insert(path.clone(), bits.clone());
            }
        }
    }
    let mut model = model.clone();
    if !fresh.is_empty() {
        model = model.apply_reparameterization(Attach { keep: &fresh, before: &BTreeMap::new() });
    }
    if !update.is_empty() {
        model = walk::map(model, &mut Update { keep: &update });
    }
    Ok(model)
}

/// Checks that the masks that a model carries remove nothing that is not finite, after its weights came from elsewhere.
pub(crate) fn sound<M: Module>(model: &M) -> Result<(), PruneError> {
    let all = layers(model)?;
    let whole = |l: &Layer| l.keep.clone().filter(|keep| keep.dims()[0] == l.layout.len());
    let (carrying, keep): (Vec<_>, Vec<_>) = all.iter().enumerate().filter_map(|(i, l)| Some((i, whole(l)?))).unzip();
    finite(model, &all, &carrying.into_iter().zip(host::bits(&keep)).collect::<Vec<_>>())
}

/// Checks that what masks remove is finite: a mask is a product, and zero times NaN or infinity is NaN.
pub(super) fn finite<M: Module>(model: &M, all: &[Layer], masks: &[(usize, Bits)]) -> Result<(), PruneError> {
    let removing = masks.iter().filter(|(_, keep)| keep.count_ones() < keep.len());
    let mut bases =
        Bases { wanted: removing.map(|(place, keep)| (all[*place].path.as_str(), keep)).collect(), found: Vec::new() };
    walk::visit(model, &mut bases);
    let (removing, weights): (Vec<_>, Vec<_>) = bases.found.into_iter().unzip();
    let finite = host::finite(&weights);
    for (((path, keep), weight), _) in removing.into_iter().zip(weights).zip(finite).filter(|(_, finite)| !finite) {
        let numbers = weight.into_data();
        let removed = numbers.iter::<f64>().enumerate().find(|(i, value)| !keep.get(*i) && !value.is_finite());
        if let Some((index, value)) = removed {
            return Err(PruneError::NonFinite { path, index, value: value.to_string() });
        }
    }
    Ok(())
}

/// The stored weights of some parameters.
struct Bases<'a> {
    wanted: HashMap<&'a str, &'a Bits>,
    found: Vec<((String, &'a Bits), Tensor<1>)>,
}

impl Visit for Bases<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        // What is drawn later is finite.
        if at.carried().is_some() || !param.is_initialized() {
            return;
        }
        let path = at.path();
        if let Some(&keep) = self.wanted.get(path.as_str()) {
            let weight = host::flat(param.base());
            self.found.push(((path, keep), weight));
        }
    }
}

fn fit(all: &[Layer], masks: &MaskSet) -> Result<Vec<(usize, Bits)>, PruneError> {
    let (places, mut taken) = (places(all), vec![false; all.len()]);
    let mut fitted: Vec<(usize, Bits)> = Vec::new();
    for (path, mask) in masks.iter() {
        let unknown = || PruneError::UnknownParameter { path: path.to_string(), paths: paths(all) };
        let index = *places.get(path).ok_or_else(unknown)?;
        let layer = &all[index];
        if layer.shape != mask.shape() {
            let (expected, found) = (layer.shape.clone(), mask.shape().to_vec());
            return Err(PruneError::MaskShape { path: path.to_string(), expected, found });
        }
        can_carry(layer, path, layer.foreign())?;
        // The same parameter under two of its paths.
        if std::mem::replace(&mut taken[index], true) {
            return Err(pruning_core::mask::MaskError::Duplicate { path: path.to_string() }.into());
        }
        fitted.push((index, mask.bits().clone()));
    }
    Ok(fitted)
}

/// Attaches masks that you built to parameters that carry none, and reports what they keep.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// use pruning_burn::mask::{Bits, Mask, MaskSet, attach};
/// let mut layer = LinearConfig::new(2, 3).init(&Device::flex());
/// let keep = Bits::from_bools(&[true, false, true, true, false, true]);
/// let masks = MaskSet::new([("weight".to_string(), Mask::new([2, 3], keep)?)])?;
/// let report = attach(&mut layer, &masks)?;
/// assert_eq!(report.kept(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The set is empty; the model has no parameter of a path; a mask has another shape than its parameter; a parameter carries a mask or
/// another reparameterization, is quantized or has no elements; a removed weight is NaN or infinite. The model is unchanged.
pub fn attach<M: Module>(model: &mut M, masks: &MaskSet) -> Result<Report, PruneError> {
    let all = layers(model)?;
    let fitted = fit(&all, masks)?;
    if fitted.is_empty() {
        return Err(PruneError::NoMask);
    }
    if let Some((index, _)) = fitted.iter().find(|(i, _)| all[*i].keep.is_some()) {
        return Err(PruneError::AlreadyAttached { path: all[*index].path.clone() });
    }
    let masked = put(model, &all, fitted)?;
    let report = report(&masked)?;
    *model = masked;
    Ok(report)
}

/// Replaces masks that are attached. A weight that was pruned can come back, with the value that it has in the base.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// use pruning_burn::mask::{Bits, Mask, MaskSet, attach, masks, update};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut layer = LinearConfig::new(2, 1).init(&Device::flex());
/// let only = |keep: [bool; 2]| MaskSet::new([("weight".to_string(), Mask::new([2, 1], Bits::from_bools(&keep))?)]);
/// attach(&mut layer, &only([true, false])?)?;
/// update(&mut layer, &only([false, true])?)?;
/// assert_eq!(masks(&layer), only([false, true])?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// A parameter carries no mask; otherwise the errors of [`attach`].
pub fn update<M: Module>(model: &mut M, masks: &MaskSet) -> Result<Report, PruneError> {
    let all = layers(model)?;
    let fitted = fit(&all, masks)?;
    if fitted.is_empty() {
        return Err(PruneError::NoMask);
    }
    if let Some((index, _)) = fitted.iter().find(|(i, _)| all[*i].keep.is_none()) {
        return Err(PruneError::NotAttached { path: all[*index].path.clone() });
    }
    let masked = put(model, &all, fitted)?;
    let report = report(&masked)?;
    *model = masked;
    Ok(report)
}

/// Returns the masks that are attached, in the order of the model. A tied parameter is listed under its first path.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::prelude::*;
/// let mut layer = LinearConfig::new(20, 10).init(&Device::flex());
/// assert!(masks(&layer).is_empty());
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut layer, None)?;
/// assert_eq!(masks(&layer).get("weight").unwrap().kept(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn masks<M: Module>(model: &M) -> MaskSet {
    let (carrying, keep): (Vec<_>, Vec<_>) =
        first_layers(model).into_iter().filter_map(|mut layer| layer.keep.take().map(|keep| (layer, keep))).unzip();
    let masks = carrying.into_iter().zip(host::bits(&keep)).filter_map(|(layer, bits)| {
        // A mask of one boolean keeps all.
        let bits = if bits.len() == layer.layout.len() { bits } else { Bits::ones(layer.layout.len()) };
        Mask::new(layer.shape, bits).ok().map(|mask| (layer.path, mask))
    });
    MaskSet::new(masks).unwrap_or_default()
}

/// Reports what the attached masks keep of the parameters that carry them.
///
/// [`Pruner::report`](crate::Pruner::report) counts every target of a recipe instead, also those that it leaves dense.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::{mask::report, prelude::*};
/// let mut layer = LinearConfig::new(20, 10).init(&Device::flex());
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut layer, None)?;
/// let report = report(&layer)?;
/// assert_eq!((report.kept(), report.layers[0].path.as_str()), (20, "weight"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// No mask is attached.
pub fn report<M: Module>(model: &M) -> Result<Report, PruneError> {
    let all = layers(model)?;
    let masks = masks(model);
    if masks.is_empty() {
        return Err(PruneError::NotAttached { path: "model".to_string() });
    }
    let mut report = Report::default();
    report.parameters = parameters(&all);
    for (layer, mask) in all.iter().filter_map(|layer| Some((layer, masks.get(&layer.path)?))) {
        report.layers.push(layer_report(layer, Granularity::Element, mask.kept()));
    }
    Ok(report)
}

/// Float parameters, each once, without buffers.
pub(crate) fn parameters(all: &[Layer]) -> usize {
    all.iter().filter(|l| !l.buffer).map(|l| l.layout.len()).sum()
}

/// Checks that masks are attached, and can be folded in.
fn folding(all: &[Layer]) -> Result<(), PruneError> {
    if all.iter().all(|l| l.keep.is_none()) {
        return Err(PruneError::NotAttached { path: "model".to_string() });
    }
    foldable(all)
}

/// Checks that no reparameterization of another kind would be folded in together with masks.
pub(crate) fn foldable(all: &[Layer]) -> Result<(), PruneError> {
    match all.iter().find_map(|l| l.foreign().map(|name| (l, name))) {
        Some((layer, name)) => Err(PruneError::WouldFold { path: layer.path.clone(), name: name.clone() }),
        None => Ok(()),
    }
}

/// Folds the masks in, so that the model is a plain module with zeros, whose record any Burn program loads.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::prelude::*;
/// let mut layer = LinearConfig::new(20, 10).init(&Device::flex());
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut layer, None)?;
/// finish(&mut layer)?;
/// let weights = layer.weight.val().into_data();
/// assert_eq!(weights.iter::<f32>().filter(|weight| *weight == 0.0).count(), 180);
/// assert!(masks(&layer).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// No mask is attached, or a parameter carries a reparameterization of another kind, which Burn would fold in too. The model is
/// unchanged.
pub fn finish<M: Module>(model: &mut M) -> Result<Report, PruneError> {
    let all = layers(model)?;
    folding(&all)?;
    let report = report(model)?;
    *model = zeroed(model.clone().materialize(), pruned(&all));
    Ok(report)
}

/// What the masks keep, of every path of the parameters that carry one.
fn pruned(all: &[Layer]) -> BTreeMap<String, Tensor<1, Bool>> {
    let whole = |l: &&Layer| l.keep.as_ref().is_some_and(|keep| keep.dims()[0] == l.layout.len());
    let named = |l: &Layer| names(l).filter_map(|path| Some((path.clone(), l.keep.clone()?))).collect::<Vec<_>>();
    all.iter().filter(whole).flat_map(named).collect()
}

/// The module with plain zeros in the base of its parameters where `keep` is false. A product with zero leaves the sign; this
/// does not.
pub(crate) fn zeroed<M: Module>(model: M, keep: BTreeMap<String, Tensor<1, Bool>>) -> M {
    walk::map(model, &mut Zero { keep, leaves: OneLeaf::default() })
}

/// The network as it is, with every weight open to gradients: zeros in the base instead of masks. Ids, flags and running
/// statistics are those of the model.
pub(crate) fn opened<M: Module>(model: &M) -> M {
    let all = first_layers(model);
    let masked = all.iter().filter(|l| l.keep.is_some());
    let open = masked.flat_map(names).map(|path| (path.clone(), None)).collect();
    walk::map(zeroed(model.clone(), pruned(&all)), &mut Update { keep: &open })
}

struct Zero {
    keep: BTreeMap<String, Tensor<1, Bool>>,
    leaves: OneLeaf,
}

impl Map for Zero {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(keep) = self.keep.get(&at.path()) else { return param };
        self.leaves.map(param, |weight| {
            let pruned = host::settled(keep.clone()).bool_not().reshape(weight.shape());
            let trained = weight.is_require_grad();
            weight.detach().mask_fill(pruned, 0.0).detach().set_require_grad(trained)
        })
    }
}

/// Takes the masks off, which restores the dense weights bit for bit.
///
/// Weights and biases that a reconstruction changed become what they were before it, whatever training did to them since. All others stay
/// as training has changed them. The gradients of pruned weights are zero, so an optimizer that follows the gradients
/// alone does not change them. Weight decay does shrink them, and momentum from before the pruning moves them until
/// [`mask_optimizer`](crate::session::mask_optimizer) clears it.
///
/// ```
/// # use burn::{nn::LinearConfig, tensor::Device};
/// # use {pruning_allocation as _, pruning_magnitude as _};
/// use pruning_burn::prelude::*;
/// let mut layer = LinearConfig::new(20, 10).init(&Device::flex());
/// let dense = layer.weight.val().into_data();
/// Pruner::from_toml("sparsity = 0.9\ncriterion = \"magnitude\"", &Plugins::linked())?.prune(&mut layer, None)?;
/// undo(&mut layer)?;
/// assert_eq!(layer.weight.val().into_data(), dense);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`finish`].
pub fn undo<M: Module>(model: &mut M) -> Result<(), PruneError> {
    let all = layers(model)?;
    folding(&all)?;
    let named = |l: &Layer| names(l).filter_map(|path| Some((path.clone(), l.before.clone()?))).collect::<Vec<_>>();
    let before = all.iter().flat_map(named).collect();
    *model = restored(uncovered(model, &all), before);
    Ok(())
}

/// The model without masks, with its weights as they are below them.
pub(crate) fn uncovered<M: Module>(model: &M, all: &[Layer]) -> M {
    let masked = all.iter().filter(|l| l.keep.is_some());
    let keep = masked.flat_map(names).map(|path| (path.clone(), None)).collect();
    walk::map(model.clone(), &mut Update { keep: &keep }).materialize()
}
