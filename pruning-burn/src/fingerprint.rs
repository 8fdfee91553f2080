//! What identifies the weights of a model: [`Fingerprint`].

use crate::host;
use crate::layers::first_layers;
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shape of every float parameter and a checksum of its effective values, by path. Running statistics do not count.
///
/// A mask changes what later layers see, so the weights count as they are under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint(BTreeMap<String, (Vec<usize>, u32)>);

/// The first difference between two models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A parameter is there in one of them alone, or has another shape.
    Shape { path: String, expected: String, found: String },
    /// A parameter has other values.
    Values { path: String },
}

impl Fingerprint {
    pub(crate) fn of<M: Module>(model: &M) -> Self {
        let mut read = Self::default();
        // Without masks, what is stored counts, and a model that is read from a file is read one parameter at a time.
        if first_layers(model).iter().all(|layer| layer.carries.is_none()) {
            walk::visit(model, &mut read);
        } else {
            walk::visit(&model.valid().materialize(), &mut read);
        }
        read
    }

    /// Returns the first difference of another model from this one.
    pub(crate) fn differs(&self, other: &Self) -> Option<Difference> {
        let shape = |of: &Self, path: &String| {
            of.0.get(path).map_or("no such parameter".to_string(), |(shape, _)| format!("{shape:?}"))
        };
        let paths = || self.0.keys().chain(other.0.keys());
        if let Some(path) = paths().find(|path| shape(self, path) != shape(other, path)) {
            let (expected, found) = (shape(self, path), shape(other, path));
            return Some(Difference::Shape { path: path.clone(), expected, found });
        }
        let changed = paths().find(|path| self.0.get(*path) != other.0.get(*path));
        changed.map(|path| Difference::Values { path: path.clone() })
    }
}

impl Visit for Fingerprint {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_some() || at.at_buffer() {
            return;
        }
        let value = param.base();
        let shape = value.dims().to_vec();
        let data = host::flat(value).into_data();
        self.0.insert(at.path(), (shape, crc32fast::hash(data.as_bytes())));
    }
}
