//! All parameters of a module at one time, to rewind to.

use crate::layers::Position;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// Every float parameter by its path; running statistics are left out, since training keeps track of them anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) values: BTreeMap<String, Tensor<1>>,
}

impl Snapshot {
    pub(crate) fn of<M: Module>(module: &M) -> Self {
        let mut take = Take::default();
        module.visit(&mut take);
        Self { values: take.values }
    }

    /// The module with these values: the same ids, masks and training flags.
    pub(crate) fn restore<M: Module>(&self, module: M) -> M {
        module.map(&mut Restore { position: Position::default(), values: &self.values })
    }
}

#[derive(Default)]
struct Take {
    position: Position,
    values: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Take {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.position.at_buffer() {
            let value = param.base().without_autodiff();
            let len = value.shape().num_elements();
            self.values.insert(self.position.path(), value.reshape([len]));
        }
    }
}

struct Restore<'a> {
    position: Position,
    values: &'a BTreeMap<String, Tensor<1>>,
}

impl ModuleMapper for Restore<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values.get(&self.position.path()).filter(|_| !self.position.at_buffer()) {
            None => param,
            Some(value) => param.map(|old| {
                let value = value.clone().to_device(&old.device().without_autodiff()).reshape(old.shape());
                if old.is_autodiff() {
                    Tensor::from_inner(value).set_require_grad(old.is_require_grad())
                } else {
                    value
                }
            }),
        }
    }
}
