//! The weights that passes share, as matrices and prepared for use.

use crate::sparse::SparseModelError;
use crate::sparse::layer::Prepared;
use crate::sparse::product::{Kind, Product};
use crate::sparse::program::{Key, Program, primitive};
use pruning_sparse::{Dense, Format, Plan, Sparse};
use std::collections::HashMap;
use std::sync::Arc;

/// The key of weights that are prepared in one way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Use {
    weight: Key,
    format: Format,
    how: How,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum How {
    /// A linear layer, by the number of lanes.
    Linear(usize),
    /// A convolution, by its window and the batch.
    Conv(String, usize),
}

impl How {
    fn of(product: &Product) -> Self {
        match &product.kind {
            Kind::Linear => Self::Linear(Plan::lanes(product.batch)),
            Kind::Conv(window) => Self::Conv(format!("{window:?}"), product.batch),
        }
    }
}

/// A weight as a dense matrix, with its sparsity.
pub(super) struct Weight {
    pub(super) dense: Dense<f32>,
    pub(super) sparsity: f64,
}

/// The weights and biases that passes share.
#[derive(Default)]
pub(super) struct WeightCache {
    weights: HashMap<Key, Arc<Weight>>,
    prepared: HashMap<Use, Arc<Prepared>>,
    /// The largest batch of each use.
    most: HashMap<(Key, How), usize>,
    biases: HashMap<Key, Arc<[f32]>>,
}

impl WeightCache {
    /// Notes the largest batch of each use of a weight, before anything is prepared.
    pub(super) fn note(&mut self, program: &Program, product: &Product) {
        let key = Key::of(primitive(&program.constants[&product.weight].value));
        let most = self.most.entry((key, How::of(product))).or_default();
        *most = product.batch.max(*most);
    }

    /// Returns the weights of a product.
    pub(super) fn weight(
        &mut self,
        program: &Program,
        product: &Product,
    ) -> Result<(Key, Arc<Weight>), SparseModelError> {
        let constant = &program.constants[&product.weight];
        let refuse = |source| SparseModelError::Weight { path: product.path.clone(), source };
        let key = Key::of(primitive(&constant.value));
        if let Some(weight) = self.weights.get(&key) {
            return Ok((key, weight.clone()));
        }
        let dense = product.matrix(constant).map_err(refuse)?;
        let len = dense.values().len().max(1);
        let sparsity = 1.0 - dense.nonzeros() as f64 / len as f64;
        let weight = Arc::new(Weight { dense, sparsity });
        self.weights.insert(key.clone(), weight.clone());
        Ok((key, weight))
    }

    /// Prepares weights of a format in the order of their use.
    pub(super) fn prepare(
        &mut self,
        key: &Key,
        weight: &Weight,
        product: &Product,
        format: Format,
    ) -> Result<Arc<Prepared>, SparseModelError> {
        let how = How::of(product);
        let usage = Use { weight: key.clone(), format, how: how.clone() };
        if let Some(prepared) = self.prepared.get(&usage) {
            return Ok(prepared.clone());
        }
        let refuse = |source| SparseModelError::Weight { path: product.path.clone(), source };
        let matrix = Sparse::from_dense(&weight.dense, format).map_err(refuse)?;
        let batch = self.most.get(&(key.clone(), how)).copied().unwrap_or(product.batch);
        let prepared = Arc::new(Prepared::new(Arc::new(matrix), &product.kind, batch).map_err(refuse)?);
        self.prepared.insert(usage, prepared.clone());
        Ok(prepared)
    }

    /// Returns the biases of a product, if it has some.
    pub(super) fn bias(&mut self, program: &Program, product: &Product) -> Option<Arc<[f32]>> {
        let constant = &program.constants[&product.bias?];
        let key = Key::of(primitive(&constant.value));
        if let Some(bias) = self.biases.get(&key) {
            return Some(bias.clone());
        }
        let bias: Arc<[f32]> = constant.floats()?.into();
        self.biases.insert(key, bias.clone());
        Some(bias)
    }
}
