//! A model as plain numbers.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
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
