//! The parameters of a module, and the matrix view of each.

use crate::host;
use crate::layer_types::{self, Axes};
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Bool, DType, Int, Tensor};
use pruning_core::report::LayerReport;
use pruning_core::score::{Granularity, MatrixLayout};
use std::any::Any;
use std::collections::HashMap;

/// A float parameter of a module.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// The path from the root, as in `encoder.0.fc1.weight`.
    pub(crate) path: String,
    /// The other paths of the same parameter.
    pub(crate) aliases: Vec<String>,
    /// The type of the module that owns it, the innermost struct.
    pub(crate) kind: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) layout: MatrixLayout,
    pub(crate) id: ParamId,
    /// Whether it is a weight of a linear or convolution layer.
    pub(crate) by_default: bool,
    /// Whether it is a running statistic, which no optimizer trains.
    pub(crate) buffer: bool,
    /// Whether it can take gradients.
    pub(crate) autodiff: bool,
    /// Whether its values are packed integers.
    pub(crate) quantized: bool,
    /// The name of the reparameterization that it carries.
    pub(crate) carries: Option<String>,
    /// The bits of our mask, if it carries one.
    pub(crate) keep: Option<Tensor<1, Bool>>,
    /// The weights before a reconstruction, in our mask.
    pub(crate) before: Option<Tensor<1, Int>>,
}

impl Layer {
    /// Returns the reparameterization of the parameter, if that is not our mask.
    pub(crate) fn foreign(&self) -> Option<&String> {
        self.carries.as_ref().filter(|_| self.keep.is_none())
    }
}

/// The name of our mask on a parameter, and the name of its bits.
pub(crate) const MASK: [&str; 2] = ["prune", "keep"];

/// The name of the weights before a reconstruction, in our mask on a parameter.
pub(crate) const BEFORE: [&str; 2] = ["prune", "before"];

/// Returns the path of the layer that owns a parameter.
#[cfg(feature = "trace")]
pub(crate) fn layer_path(param: &str) -> &str {
    param.rsplit_once('.').map_or("", |(layer, _)| layer)
}

/// Returns the first path of each parameter.
pub(crate) fn paths(all: &[Layer]) -> Vec<String> {
    all.iter().map(|l| l.path.clone()).collect()
}

/// Returns the report on a layer whose elements are its units.
pub(crate) fn layer_report(layer: &Layer, granularity: Granularity, kept: usize) -> LayerReport {
    LayerReport::new(&layer.path, &layer.kind, layer.shape.clone(), kept)
        .with_granularity(granularity)
        .with_aliases(layer.aliases.clone())
}

/// Returns every path of a parameter.
pub(crate) fn names(layer: &Layer) -> impl Iterator<Item = &String> {
    std::iter::once(&layer.path).chain(&layer.aliases)
}

/// Returns the index of each parameter, by each of its paths.
pub(crate) fn places(all: &[Layer]) -> HashMap<&str, usize> {
    all.iter().enumerate().flat_map(|(place, layer)| names(layer).map(move |name| (name.as_str(), place))).collect()
}

/// An error that two parameters share an id but have different values.
///
/// Burn and this library take parameters with the same id for one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{first} and {second}: have the same parameter id and different values (an optimizer of Burn updates only the first of them); make \
     both one tensor again, or give one of them a new id"
)]
#[non_exhaustive]
pub struct SharedId {
    /// The path of the first parameter.
    pub first: String,
    /// The path of the second parameter.
    pub second: String,
}

/// Returns all float parameters of a module, each once, in the order of its fields.
///
/// # Errors
/// Two parameters share an id but have different values.
pub(crate) fn layers<M: Module>(module: &M) -> Result<Vec<Layer>, SharedId> {
    let mut visitor = Visitor { checks: true, ..Visitor::default() };
    walk::visit(module, &mut visitor);
    visitor.shared.map_or(Ok(visitor.layers), Err)
}

/// Returns all float parameters like [`layers`], without an error: of those that share an id, the first one counts.
pub(crate) fn first_layers<M: Module>(module: &M) -> Vec<Layer> {
    let mut visitor = Visitor::default();
    walk::visit(module, &mut visitor);
    visitor.layers
}

#[derive(Default)]
struct Visitor {
    layers: Vec<Layer>,
    /// The index of each id in `layers`.
    places: HashMap<ParamId, usize>,
    /// The index of the last visited parameter, unless that was another path of an earlier one.
    last: Option<usize>,
    /// Whether to compare parameters that share an id.
    checks: bool,
    /// The parameters themselves, of any rank, in the order of `layers`.
    params: Vec<Box<dyn Any>>,
    shared: Option<SharedId>,
}

impl Visitor {
    /// Returns the parameter whose reparameterization is being visited, which comes right after it.
    fn carrier(&mut self) -> Option<&mut Layer> {
        self.layers.get_mut(self.last?)
    }

    /// Counts the groups of a transposed convolution by its bias.
    ///
    /// Visitors do not see the groups, but the bias has a value for each output channel, which the weight counts by group. A layer without
    /// a bias is assumed to have one group.
    fn count_groups(&mut self, bias: &str, kind: &str, shape: &[usize]) {
        let weight = self.layers.last_mut().filter(|l| {
            let beside = l.path.strip_suffix("weight").zip(bias.strip_suffix("bias"));
            layer_types::of(kind).axes == Axes::InOutKernel && l.kind == kind && beside.is_some_and(|(a, b)| a == b)
        });
        let (Some(weight), &[outputs]) = (weight, shape) else { return };
        let groups = outputs.checked_div(weight.layout.rows()).unwrap_or_default();
        if groups > 0 && weight.layout.input_channels().is_multiple_of(groups) {
            weight.layout = weight.layout.with_groups(groups);
        }
    }
}

impl Visit for Visitor {
    fn visit_carried(&mut self, name: &str) {
        if let Some(layer) = self.carrier() {
            layer.carries = Some(name.to_string());
        }
    }

    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_some() {
            return;
        }
        let path = at.path();
        if let Some(&place) = self.places.get(&param.id) {
            self.last = None;
            let first = self.params.get(place);
            // Statistics of clones differ, and nothing treats them as one parameter.
            if let Some(first) = first.filter(|_| self.shared.is_none() && !at.at_buffer())
                && !first.downcast_ref().is_some_and(|first| same(first, param))
            {
                self.shared = Some(SharedId { first: self.layers[place].path.clone(), second: path.clone() });
            }
            self.layers[place].aliases.push(path);
            return;
        }
        let (kind, field, row) = (at.kind().to_string(), at.field(), at.layer_type());
        // `lazy_shape` does not initialize a lazy parameter.
        let shape: Vec<usize> = param.lazy_shape().iter().copied().collect();
        if field == "bias" {
            self.count_groups(&path, &kind, &shape);
        }
        self.places.insert(param.id, self.layers.len());
        self.last = Some(self.layers.len());
        if self.checks {
            self.params.push(Box::new(param.clone()));
        }
        self.layers.push(Layer {
            layout: row.layout(field, &shape),
            by_default: row.is_default_target(field),
            buffer: row.is_buffer(field),
            autodiff: param.lazy_device().is_autodiff(),
            quantized: param.is_initialized() && matches!(param.base().dtype(), DType::QFloat(_)),
            aliases: Vec::new(),
            id: param.id,
            carries: None,
            keep: None,
            before: None,
            shape,
            kind,
            path,
        });
    }

    fn visit_bool<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D, Bool>>) {
        let ours = at.carried().is_some_and(|(_, rest)| rest == MASK);
        if ours && let Some(layer) = self.carrier() {
            layer.keep = Some(param.val().flatten(0, D - 1));
        }
    }

    fn visit_int<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D, Int>>) {
        let ours = at.carried().is_some_and(|(_, rest)| rest == BEFORE);
        if ours && let Some(layer) = self.carrier() {
            layer.before = Some(param.val().flatten(0, D - 1));
        }
    }
}

/// Returns whether two parameters have the same values. Uninitialized ones are clones of one another and stay uninitialized.
fn same<const D: usize>(one: &Param<Tensor<D>>, other: &Param<Tensor<D>>) -> bool {
    if one.lazy_shape() != other.lazy_shape() {
        return false;
    }
    let drawn = one.is_initialized() || other.is_initialized();
    !drawn || host::same(one.base(), other.base())
}
