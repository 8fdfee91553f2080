//! The mask on a parameter: [`PruningMask`].

use crate::host;
use crate::layers::MASK;
use burn::module::{Module, Param, ParamId, Reparameterization};
use burn::tensor::{Bool, DType, Int, Tensor};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A mask on a parameter, by which Burn computes the effective weight: the base with zeros where it is pruned.
///
/// The base keeps its values, also in the record (`fc1.weight`, beside `fc1.weight.prune.keep`), so the mask can be taken off.
/// The gradient of the base is zero where it is pruned.
#[derive(Module, Debug)]
pub struct PruningMask {
    /// One boolean for each element, in memory order; a single one for a mask that keeps all. Its id names its contents: a
    /// mask that changes gets a new one.
    keep: Param<Tensor<1, Bool>>,
    /// The weights before a reconstruction gave them new values: their bytes in memory order, as integers, which no optimizer trains.
    before: Option<Param<Tensor<1, Int>>>,
    #[module(skip)]
    factor: Factor,
}

impl PruningMask {
    pub(crate) fn new(keep: Tensor<1, Bool>, before: Option<Tensor<1, Int>>) -> Self {
        let before = before.map(|words| Param::initialized(ParamId::new(), words));
        Self { keep: Param::initialized(ParamId::new(), keep), before, factor: Factor::default() }
    }
}

impl Reparameterization for PruningMask {
    const NAME: &'static str = MASK[0];

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        // Packed integers have no product with a mask.
        let base = if matches!(base.dtype(), DType::QFloat(_)) { base.dequantize() } else { base };
        let shape = base.shape();
        if self.keep.lazy_shape().num_elements() != shape.num_elements() {
            return base;
        }
        // A product costs a tenth of what `mask_fill` costs on Flex, forward and backward.
        let factor = self.factor.of(&self.keep, &base).reshape(shape);
        base * factor
    }
}

/// The mask as numbers of the weight's own type, made when it is first asked for and kept for the steps after.
#[derive(Default)]
pub(crate) struct Factor(Mutex<Option<(ParamId, Tensor<1>)>>);

impl Factor {
    fn of<const D: usize>(&self, keep: &Param<Tensor<1, Bool>>, base: &Tensor<D>) -> Tensor<1> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, factor)) = &*slot
            && *id == keep.id
            && factor.dtype() == base.dtype()
            && factor.is_autodiff() == base.is_autodiff()
            && factor.device() == base.device()
        {
            return factor.clone();
        }
        let factor = host::settled(keep.val()).float();
        let factor = if factor.dtype() == base.dtype() { factor } else { factor.cast(base.dtype()) };
        *slot = Some((keep.id, factor.clone()));
        factor
    }
}

impl Clone for Factor {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Factor")
    }
}
