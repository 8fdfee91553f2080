//! All parameters of a module at one time: to rewind to, to compute with, to tell from another module's.

use crate::layers::{Position, layers};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Tensor};
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

/// A copy with running statistics of its own, which a plain clone shares, and in the same mode.
pub(crate) fn apart<M: Module>(model: &M) -> M {
    let copy = model.valid();
    if layers(model).iter().any(|l| l.autodiff) { copy.train() } else { copy }
}

/// A number of all parameters, running statistics and masks: the same for the same bits at the same paths.
pub(crate) fn fingerprint<M: Module>(model: &M) -> String {
    let mut hash = Hash { position: Position::default(), state: 0xcbf2_9ce4_8422_2325 };
    model.valid().visit(&mut hash);
    format!("{:016x}", hash.state)
}

/// FNV-1a, which stays the same from one version of Rust to the next.
struct Hash {
    position: Position,
    state: u64,
}

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = (self.state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl ModuleVisitor for Hash {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.position.path();
        self.add(path.as_bytes());
        self.add(param.base().into_data().as_bytes());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let path = self.position.path();
        self.add(path.as_bytes());
        // Devices store booleans in different ways.
        let bytes: Vec<u8> = param.base().into_data().iter::<bool>().map(u8::from).collect();
        self.add(&bytes);
    }
}
