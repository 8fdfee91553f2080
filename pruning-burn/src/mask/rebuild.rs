//! Masks together with new values for the weights that stay: [`rebuild`].

use crate::layers::{Layer, names};
use crate::mask::attach::{Attach, finite, foldable, uncovered};
use crate::mask::before::words;
use crate::walk::{self, Map, OneLeaf, Position};
use crate::{PruneError, host};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};
use pruning_core::mask::Bits;
use std::collections::BTreeMap;

/// New values for parameters, in memory order. Where a mask removes, the weight stays as it is below the mask.
pub(crate) type NewValues = BTreeMap<usize, Vec<f64>>;

/// Puts masks on a model, and new values below them; `undo` goes back to the weights from before. Paths are those of [`Layer`].
///
/// # Errors
/// A weight that a mask removes is not finite, or the model carries another reparameterization besides masks.
pub(crate) fn rebuild<M: Module>(
    model: &M,
    all: &[Layer],
    masks: Vec<(usize, Bits)>,
    values: &NewValues,
) -> Result<M, PruneError> {
    finite(model, all, &masks)?;
    // Burn gives no access to a mask that is attached, so all are taken off and put on anew.
    let open = if all.iter().any(|layer| layer.keep.is_some()) {
        foldable(all)?;
        uncovered(model, all)
    } else {
        model.clone()
    };
    let mut masks: BTreeMap<usize, Bits> = masks.into_iter().collect();
    let carrying: Vec<_> = (0..all.len()).filter(|i| all[*i].keep.is_some() && !masks.contains_key(i)).collect();
    let keep: Vec<_> = carrying.iter().filter_map(|&i| all[i].keep.clone()).collect();
    for (i, bits) in carrying.into_iter().zip(host::bits(&keep)) {
        let whole = bits.len() == all[i].layout.len();
        masks.insert(i, if whole { bits } else { Bits::ones(all[i].layout.len()) });
    }
    for &i in values.keys() {
        masks.entry(i).or_insert_with(|| Bits::ones(all[i].layout.len()));
    }
    let (rebuilt, mut before) = set_values(open, all, values, &masks);
    // The first reconstruction of several is the one that is undone.
    for layer in all {
        before.extend(names(layer).filter_map(|path| Some((path.clone(), layer.before.clone()?))));
    }
    Ok(covered(rebuilt, all, &masks, &before))
}

/// Puts masks on a model that carries none, some of them with the weights from before a reconstruction, by every path.
pub(crate) fn covered<M: Module>(
    model: M,
    all: &[Layer],
    masks: &BTreeMap<usize, Bits>,
    before: &BTreeMap<String, Tensor<1, Int>>,
) -> M {
    let named =
        |(&i, bits): (&usize, &Bits)| names(&all[i]).map(|path| (path.clone(), bits.clone())).collect::<Vec<_>>();
    let keep = masks.iter().flat_map(named).collect();
    model.apply_reparameterization(Attach { keep: &keep, before })
}

/// Gives parameters new values where their masks keep. Returns the weights from before too, by every path.
pub(crate) fn set_values<M: Module>(
    model: M,
    all: &[Layer],
    values: &NewValues,
    masks: &BTreeMap<usize, Bits>,
) -> (M, BTreeMap<String, Tensor<1, Int>>) {
    let mut set = Set { new: BTreeMap::new(), before: BTreeMap::new(), leaves: OneLeaf::default() };
    for (&i, values) in values {
        let whole = || Bits::ones(all[i].layout.len());
        let keep = masks.get(&i).cloned().unwrap_or_else(whole);
        set.new.extend(names(&all[i]).map(|path| (path.clone(), (values.as_slice(), keep.clone()))));
    }
    (walk::map(model, &mut set), set.before)
}

struct Set<'a> {
    new: BTreeMap<String, (&'a [f64], Bits)>,
    before: BTreeMap<String, Tensor<1, Int>>,
    leaves: OneLeaf,
}

impl Map for Set<'_> {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = at.path();
        let Some((values, keep)) = self.new.get(&path) else { return param };
        self.before.insert(path, words(host::flat(param.base())));
        self.leaves.map(param, |weight| {
            let (shape, dtype, trained) = (weight.shape(), weight.dtype(), weight.is_require_grad());
            let old = host::flat(weight.clone()).into_data();
            let new = old.iter::<f64>().enumerate().map(|(i, old)| if keep.get(i) { values[i] } else { old });
            let data = TensorData::new(new.collect::<Vec<f64>>(), shape).convert_dtype(dtype);
            Tensor::from_data(data, (&weight.device(), dtype)).set_require_grad(trained)
        })
    }
}
