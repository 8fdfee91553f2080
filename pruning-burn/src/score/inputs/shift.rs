//! Copies of a model with its parameters elsewhere: [`Shift`].

use crate::score::inputs::Values;
use crate::walk::{Map, Position};
use burn::module::{Flag, Param, ParamId};
use burn::tensor::{DType, Tensor};
use std::any::Any;
use std::collections::BTreeMap;

/// A copy whose parameters are elsewhere, all of them leaves that take gradients; buffers stay.
pub(super) struct Shift<'a> {
    by: By<'a>,
    /// Tensors of any rank by the id of their parameter: a tied parameter stays one leaf, with one gradient.
    made: BTreeMap<ParamId, Box<dyn Any>>,
}

impl<'a> Shift<'a> {
    pub(super) fn new(by: By<'a>) -> Self {
        Self { by, made: BTreeMap::new() }
    }
}

pub(super) enum By<'a> {
    Nothing,
    Absolute,
    Along(&'a Values, f64),
    /// To double precision, running statistics too.
    Double,
}

impl Map for Shift<'_> {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Packed integers take no gradient.
        if matches!(param.base().dtype(), DType::QFloat(_)) {
            return param;
        }
        if at.at_buffer() {
            return match self.by {
                By::Double => param.map(|old| old.cast(DType::F64)),
                _ => param,
            };
        }
        let path = at.path();
        let id = param.id;
        let made = self.made.get(&id).and_then(|made| made.downcast_ref::<Tensor<D>>()).cloned();
        let param = param.map(|old| {
            if let Some(made) = made {
                return made;
            }
            let (shape, old) = (old.shape(), old.without_autodiff());
            let new = match &self.by {
                By::Nothing => old,
                By::Double => old.cast(DType::F64),
                By::Absolute => old.abs(),
                By::Along(direction, by) => match direction.get(&path) {
                    Some(direction) => old + direction.clone().reshape(shape) * *by,
                    None => old,
                },
            };
            Tensor::from_inner(new).require_grad()
        });
        self.made.insert(id, Box::new(param.base()));
        param
    }

    fn map_flag(&mut self, _: &Position, flag: Param<Flag>) -> Param<Flag> {
        match self.by {
            // The statistics of one example of ones would be those of a constant, which lets no flow through.
            By::Absolute => flag.with_value(false),
            By::Nothing | By::Along(..) | By::Double => flag,
        }
    }
}
