//! The weights of a model as the tensors of a trace: [`Trace::weights`].

use crate::trace::replay::same_kind;
use crate::trace::{ReplayBackend, ReplayError, Trace};
use crate::walk::{self, Position, Visit};
use burn::backend::DispatchTensor;
use burn::module::{Module, Param};
use burn::tensor::{Bool, DType, Float, Int, Tensor};
use burn_ir::{HandleKind, TensorId};
use std::collections::HashMap;

impl Trace {
    /// Returns the weights of a model, masks applied, each with the tensor of the trace that holds it.
    pub(crate) fn weights<B: ReplayBackend, M: Module>(
        &self,
        model: &M,
    ) -> Result<Vec<(TensorId, HandleKind<B>)>, ReplayError> {
        let mut weights = Weights { found: HashMap::new() };
        walk::visit(&model.valid().materialize(), &mut weights);
        let described = self.tensors();
        let mut handles = Vec::new();
        for (id, &param) in &self.param_of {
            let param = &self.params[param];
            let path = param.path().to_string();
            let Some((tensor, shape, dtype)) = param.paths.iter().find_map(|p| weights.found.get(p)) else {
                return Err(ReplayError::Parameter { path, expected: param.shape.clone(), found: Vec::new() });
            };
            if *shape != param.shape {
                return Err(ReplayError::Parameter { path, expected: param.shape.clone(), found: shape.clone() });
            }
            // An input that no operation uses has no description.
            if let Some(ir) = described.get(id).filter(|ir| !same_kind(ir.dtype, *dtype)) {
                let (expected, found) = (format!("{:?}", ir.dtype), format!("{dtype:?}"));
                return Err(ReplayError::Type { path, expected, found });
            }
            let failed = |reason| ReplayError::Backend { what: path.clone(), reason };
            handles.push((*id, B::take(tensor.clone()).map_err(failed)?));
        }
        Ok(handles)
    }
}

struct Weights {
    found: HashMap<String, (DispatchTensor, Vec<usize>, DType)>,
}

macro_rules! weight {
    ($name:ident, $kind:ty) => {
        fn $name<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D, $kind>>) {
            let tensor = param.val();
            let (shape, dtype) = (tensor.dims().to_vec(), tensor.dtype());
            self.found.insert(at.path(), (tensor.into_dispatch(), shape, dtype));
        }
    };
}

impl Visit for Weights {
    weight!(visit_float, Float);
    weight!(visit_int, Int);
    weight!(visit_bool, Bool);
}
