//! A model as plain numbers.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::score::{CriterionInputs, Need, NeedShape};
use std::collections::BTreeMap;

/// Every float parameter by its path, as it is stored: without its mask.
#[must_use]
pub fn base<M: Module>(model: &M) -> BTreeMap<String, TensorData> {
    #[derive(Default)]
    struct Read {
        path: Vec<String>,
        values: BTreeMap<String, TensorData>,
    }

    impl ModuleVisitor for Read {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.values.insert(self.path.join("."), param.base().into_data());
        }
    }

    let mut read = Read::default();
    model.visit(&mut read);
    read.values
}

/// Every float parameter by its path, as the layers use it.
#[must_use]
pub fn effective<M: Module>(model: &M) -> BTreeMap<String, TensorData> {
    base(&model.valid().materialize())
}

/// The same as single-precision numbers.
#[must_use]
pub fn weights<M: Module>(model: &M, path: &str) -> Vec<f32> {
    effective(model)[path].iter::<f32>().collect()
}

/// Whether two models have the same numbers, bit for bit.
#[must_use]
pub fn same_bits(a: &BTreeMap<String, TensorData>, b: &BTreeMap<String, TensorData>) -> bool {
    let bits = |data: &TensorData| (data.shape().clone(), data.dtype(), data.as_bytes().to_vec());
    a.len() == b.len() && a.iter().zip(b).all(|((p, x), (q, y))| p == q && bits(x) == bits(y))
}

/// Adds what a calibration of a model of linear layers collects, made up: numbers in (0, 1) that rise from column to column and from output
/// to output.
///
/// # Panics
/// An input does not fit.
#[must_use]
pub fn calibrated<M: Module>(inputs: CriterionInputs, model: &M, device: &Device) -> CriterionInputs {
    let weights: Vec<_> =
        base(model).into_iter().filter(|(p, w)| p.ends_with("weight") && w.shape().num_dims() == 2).collect();
    let needs = [Need::INPUT_NORM, Need::INPUT_ACTIVATION, Need::OUTPUT_ZEROS, Need::OUTPUT_RANK];
    needs.into_iter().fold(inputs, |inputs, need| {
        let values = weights.iter().map(|(path, weight)| {
            let len = weight.shape()[usize::from(need.shape() == NeedShape::Output)];
            let numbers: Vec<f32> = (0..len).map(|i| (i + 1) as f32 / (len + 1) as f32).collect();
            (path.clone(), Tensor::<1>::from_data(TensorData::new(numbers, [len]), device))
        });
        inputs.with_input(need, model, values).expect("inputs of the model")
    })
}
