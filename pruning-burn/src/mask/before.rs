//! The weights from before a reconstruction, which a mask carries: [`words`] and [`restored`].

use crate::layers::Layer;
use crate::walk::{self, Map, OneLeaf, Position, Visit};
use burn::module::{Module, Param};
use burn::tensor::{Bytes, DType, Int, Tensor, TensorData};
use std::collections::BTreeMap;

/// The bytes of weights in memory order, as integers.
pub(crate) fn words(weight: Tensor<1>) -> Tensor<1, Int> {
    let device = weight.device().without_autodiff();
    let data = weight.without_autodiff().into_data();
    let mut bytes = data.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let words: Vec<i32> = bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let len = words.len();
    Tensor::from_data(TensorData::new(words, [len]), (&device, DType::I32))
}

/// Returns the first parameter whose weights from before cannot be its own, with the numbers of words that it has and should have.
pub(crate) fn misfit<M: Module>(model: &M, all: &[Layer]) -> Option<(String, usize, usize)> {
    let kept = all.iter().filter_map(|layer| Some((layer.path.as_str(), layer.before.as_ref()?.dims()[0])));
    let mut measure = Measure { kept: kept.collect(), misfit: None };
    if !measure.kept.is_empty() {
        walk::visit(model, &mut measure);
    }
    measure.misfit
}

struct Measure<'a> {
    kept: BTreeMap<&'a str, usize>,
    misfit: Option<(String, usize, usize)>,
}

impl Visit for Measure<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        let Some(&found) = self.kept.get(at.path().as_str()).filter(|_| at.carried().is_none()) else { return };
        let base = param.base();
        let expected = (base.shape().num_elements() * base.dtype().size()).div_ceil(4);
        if found != expected {
            self.misfit.get_or_insert((at.path(), expected, found));
        }
    }
}

/// The model with these weights, by every path.
pub(super) fn restored<M: Module>(model: M, before: BTreeMap<String, Tensor<1, Int>>) -> M {
    walk::map(model, &mut Restore { before, leaves: OneLeaf::default() })
}

struct Restore {
    before: BTreeMap<String, Tensor<1, Int>>,
    leaves: OneLeaf,
}

impl Map for Restore {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(words) = self.before.get(&at.path()) else { return param };
        let words = words.clone().into_data();
        self.leaves.map(param, |weight| {
            let (shape, dtype, trained) = (weight.shape(), weight.dtype(), weight.is_require_grad());
            let mut bytes: Vec<u8> = words.iter::<i32>().flat_map(i32::to_le_bytes).collect();
            bytes.truncate(shape.num_elements() * dtype.size());
            let data = TensorData::from_bytes(Bytes::from_bytes_vec(bytes), shape, dtype);
            Tensor::from_data(data, (&weight.device(), dtype)).set_require_grad(trained)
        })
    }
}
