//! The parameters of a model by path, to copy them or to check that they did not change: [`Parameters`].

use crate::host;
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param, ParamId};
use burn::tensor::Tensor;
use std::any::Any;
use std::collections::BTreeMap;

/// The id and the tensor (of any rank) of each parameter.
pub(crate) type ByPath = BTreeMap<String, (ParamId, Box<dyn Any>)>;

/// The float parameters of a model by path.
#[derive(Default)]
pub(crate) struct Parameters {
    pub(crate) found: ByPath,
    /// The parameters to compare with.
    before: Option<ByPath>,
    changed: Option<String>,
}

impl Parameters {
    /// Collects the parameters of a model.
    pub(crate) fn of<M: Module>(model: &M) -> Self {
        let mut parameters = Self::default();
        walk::visit(model, &mut parameters);
        parameters
    }

    /// Returns the path of a parameter that has another id or other values in this model.
    pub(crate) fn changed<M: Module>(self, model: &M) -> Option<String> {
        let mut after = Self { before: Some(self.found), ..Self::default() };
        walk::visit(model, &mut after);
        let gone = after.before.and_then(|left| left.into_keys().next());
        after.changed.or(gone)
    }
}

impl Visit for Parameters {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        let path = at.path();
        let Some(before) = &mut self.before else {
            self.found.insert(path, (param.id, Box::new(param.val())));
            return;
        };
        let same = before.remove(&path).is_some_and(|(id, tensor)| {
            let tensor = tensor.downcast_ref::<Tensor<D>>();
            id == param.id
                && tensor.is_some_and(|t| t.dims() == param.val().dims() && host::same(t.clone(), param.val()))
        });
        if !same && self.changed.is_none() {
            self.changed = Some(path);
        }
    }
}
