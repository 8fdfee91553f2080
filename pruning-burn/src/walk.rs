//! The walk over the parameters of a module: [`visit`] and [`map`] pass on the [`Position`] of each parameter.

use crate::layer_types::{self, LayerType};
use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor};
use std::any::Any;
use std::collections::BTreeMap;

/// A visitor of the parameters of a module. A tied parameter comes at each of its paths.
pub(crate) trait Visit {
    /// Notes that the last parameter carries a reparameterization of this name.
    fn visit_carried(&mut self, _name: &str) {}

    fn visit_float<const D: usize>(&mut self, _at: &Position, _param: &Param<Tensor<D>>) {}

    fn visit_int<const D: usize>(&mut self, _at: &Position, _param: &Param<Tensor<D, Int>>) {}

    fn visit_bool<const D: usize>(&mut self, _at: &Position, _param: &Param<Tensor<D, Bool>>) {}
}

/// A mapper that changes the parameters of a module.
pub(crate) trait Map {
    fn map_float<const D: usize>(&mut self, _at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param
    }

    fn map_int<const D: usize>(&mut self, _at: &Position, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param
    }

    fn map_bool<const D: usize>(&mut self, _at: &Position, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        param
    }

    fn map_flag(&mut self, _at: &Position, flag: Param<Flag>) -> Param<Flag> {
        flag
    }
}

/// Shows all parameters to `with`.
pub(crate) fn visit<M: Module>(module: &M, with: &mut impl Visit) {
    module.visit(&mut Walker { at: Position::default(), with });
}

/// Replaces each parameter by the result of `with`.
#[must_use]
pub(crate) fn map<M: Module>(module: M, with: &mut impl Map) -> M {
    module.map(&mut Walker { at: Position::default(), with })
}

/// The position of a walk.
#[derive(Debug, Default)]
pub(crate) struct Position {
    names: Vec<String>,
    containers: Vec<String>,
    /// The depth at which a reparameterization was entered.
    inside: Option<usize>,
}

/// Burn's name for the container of a reparameterization's fields.
const REPARAMETERIZATION: &str = "Reparameterization";

impl Position {
    fn enter(&mut self, name: &str, container: &str) {
        if self.inside.is_none() && container == REPARAMETERIZATION {
            self.inside = Some(self.names.len());
        }
        self.names.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
        if self.inside.is_some_and(|depth| depth >= self.names.len()) {
            self.inside = None;
        }
    }

    pub(crate) fn path(&self) -> String {
        self.names.join(".")
    }

    /// Returns the last part of the path.
    pub(crate) fn field(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// Returns, within a reparameterization, the path of the parameter that carries it, and the rest of the path.
    pub(crate) fn carried(&self) -> Option<(String, &[String])> {
        self.inside.map(|depth| (self.names[..depth].join("."), &self.names[depth..]))
    }

    /// Returns whether this is a running statistic. Burn visits those as parameters, so the layer type tells.
    pub(crate) fn at_buffer(&self) -> bool {
        self.layer_type().is_buffer(self.field())
    }

    /// Returns the type of the layer around this position.
    pub(crate) fn layer_type(&self) -> &'static LayerType {
        layer_types::of(self.kind())
    }

    /// Returns the structs around this position, outermost first, and the path of each.
    #[cfg(feature = "trace")]
    pub(crate) fn owners(&self) -> Vec<(String, String)> {
        let structs = self.containers.iter().enumerate().filter_map(|(i, c)| Some((i, c.strip_prefix("Struct:")?)));
        structs.map(|(i, kind)| (kind.to_string(), self.names[..i].join("."))).collect()
    }

    /// Returns the name of the innermost struct around this position.
    pub(crate) fn kind(&self) -> &str {
        self.containers.iter().rev().find_map(|c| c.strip_prefix("Struct:")).unwrap_or("Param")
    }
}

/// A walker that keeps the position, which Burn reports in separate calls.
struct Walker<'a, V> {
    at: Position,
    with: &'a mut V,
}

impl<V: Visit> ModuleVisitor for Walker<'_, V> {
    fn enter_module(&mut self, name: &str, container: &str) {
        let outside = self.at.inside.is_none();
        self.at.enter(name, container);
        if outside && self.at.inside.is_some() {
            self.with.visit_carried(name);
        }
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.at.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.with.visit_float(&self.at, param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.with.visit_int(&self.at, param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.with.visit_bool(&self.at, param);
    }
}

impl<V: Map> ModuleMapper for Walker<'_, V> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.at.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.at.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.with.map_float(&self.at, param)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.with.map_int(&self.at, param)
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        self.with.map_bool(&self.at, param)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.with.map_flag(&self.at, flag)
    }
}

/// New tensors for parameters, made once for each id, so that a tied parameter stays one leaf.
#[derive(Default)]
pub(crate) struct OneLeaf(BTreeMap<ParamId, Box<dyn Any>>);

impl OneLeaf {
    /// Returns the parameter with the tensor that `make` returns for it, or that it returned for another path of the parameter.
    pub(crate) fn map<const D: usize>(
        &mut self,
        param: Param<Tensor<D>>,
        make: impl FnOnce(Tensor<D>) -> Tensor<D>,
    ) -> Param<Tensor<D>> {
        let id = param.id;
        let made = self.0.get(&id).and_then(|made| made.downcast_ref::<Tensor<D>>()).cloned();
        let param = param.map(|weight| made.unwrap_or_else(|| make(weight)));
        self.0.insert(id, Box::new(param.base()));
        param
    }
}
