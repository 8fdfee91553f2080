//! Which parameters a module has, and how each is seen as a matrix.

use crate::host;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, DType, Tensor};
use pruning_core::score::MatrixLayout;
use std::any::Any;
use std::collections::HashMap;

/// A float parameter of a module.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Path from the root, as in `encoder.0.fc1.weight`.
    pub(crate) path: String,
    /// Other paths of the same parameter.
    pub(crate) aliases: Vec<String>,
    /// Type of the module that owns it: the innermost struct.
    pub(crate) kind: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) layout: MatrixLayout,
    pub(crate) id: ParamId,
    /// A weight of a linear or convolution layer.
    pub(crate) by_default: bool,
    /// A value that training keeps track of, but no optimizer trains.
    pub(crate) buffer: bool,
    /// Whether it can take gradients.
    pub(crate) autodiff: bool,
    /// Whether its values are packed integers.
    pub(crate) quantized: bool,
    /// Name of the reparameterization it carries.
    pub(crate) carries: Option<String>,
    /// The bits of our mask, if it carries one.
    pub(crate) keep: Option<Tensor<1, Bool>>,
}

/// Every path of a parameter.
pub(crate) fn names(layer: &Layer) -> impl Iterator<Item = &String> {
    std::iter::once(&layer.path).chain(&layer.aliases)
}

/// Place of the parameter in a list of them, by every path.
pub(crate) fn places(all: &[Layer]) -> HashMap<&str, usize> {
    all.iter().enumerate().flat_map(|(place, layer)| names(layer).map(move |name| (name.as_str(), place))).collect()
}

/// Two parameters with one id, which Burn and this library take for one parameter, and with different values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{first} and {second}: have the same parameter id and different values (an optimizer of Burn updates only the first of them); make \
     both one tensor again, or give one of them a new id"
)]
#[non_exhaustive]
pub struct SharedId {
    /// Path of the one.
    pub first: String,
    /// Path of the other.
    pub second: String,
}

/// All float parameters of a module, each once, in the order of its fields.
///
/// # Errors
/// Two parameters share an id and are not the same.
pub(crate) fn layers<M: Module>(module: &M) -> Result<Vec<Layer>, SharedId> {
    let mut visitor = Visitor { checks: true, ..Visitor::default() };
    module.visit(&mut visitor);
    visitor.shared.map_or(Ok(visitor.layers), Err)
}

/// The same, where no error can be told: of parameters that share an id, the first one counts.
pub(crate) fn first_layers<M: Module>(module: &M) -> Vec<Layer> {
    let mut visitor = Visitor::default();
    module.visit(&mut visitor);
    visitor.layers
}

/// The matrix view of a parameter of a layer type. One table for all of Burn's layers; any other parameter of two or more
/// dimensions counts its first one as rows.
pub(crate) fn layout(kind: &str, field: &str, shape: &[usize]) -> MatrixLayout {
    let product = |dims: &[usize]| dims.iter().product::<usize>();
    match (kind, field, shape) {
        ("Linear" | "Embedding", "weight", &[fan_in, units]) => MatrixLayout::column_major(units, fan_in),
        ("ConvTranspose1d" | "ConvTranspose2d" | "ConvTranspose3d", "weight", [channels, units, kernel @ ..]) => {
            MatrixLayout::new(*channels, *units, product(kernel), product(kernel))
        }
        ("Conv1d" | "Conv2d" | "Conv3d" | "DeformConv2d", "weight", [units, channels, kernel @ ..]) => {
            let kernel = product(kernel);
            // A parameter without elements has no kernel to divide by.
            if kernel == 0 {
                return MatrixLayout::row_major(*units, 0);
            }
            MatrixLayout::new(1, *units, channels * kernel, kernel)
        }
        (_, _, []) => MatrixLayout::row_major(1, 1),
        (_, _, [units, rest @ ..]) => MatrixLayout::row_major(*units, product(rest)),
    }
}

fn by_default(kind: &str, field: &str) -> bool {
    let kinds = [
        "Linear",
        "Conv1d",
        "Conv2d",
        "Conv3d",
        "ConvTranspose1d",
        "ConvTranspose2d",
        "ConvTranspose3d",
        "DeformConv2d",
    ];
    field == "weight" && kinds.contains(&kind)
}

/// Where a traversal is; the same calls for visitors and mappers.
#[derive(Debug, Default)]
pub(crate) struct Position {
    names: Vec<String>,
    containers: Vec<String>,
    /// Depth at which a reparameterization was entered.
    inside: Option<usize>,
}

impl Position {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        if self.inside.is_none() && container == REPARAMETERIZATION {
            self.inside = Some(self.names.len());
        }
        self.names.push(name.to_string());
        self.containers.push(container.to_string());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
        if self.inside.is_some_and(|depth| depth >= self.names.len()) {
            self.inside = None;
        }
    }

    pub(crate) fn path(&self) -> String {
        self.names.join(".")
    }

    /// Within a reparameterization: the path of the parameter that carries it, and the rest of the path.
    pub(crate) fn carried(&self) -> Option<(String, &[String])> {
        self.inside.map(|depth| (self.names[..depth].join("."), &self.names[depth..]))
    }

    /// Whether this is a running statistic. Burn visits those as parameters, so they are told by their layer.
    pub(crate) fn at_buffer(&self) -> bool {
        self.in_batch_norm() && self.names.last().is_some_and(|field| field.starts_with("running_"))
    }

    /// Whether this is a field of a batch norm.
    pub(crate) fn in_batch_norm(&self) -> bool {
        self.kind() == "BatchNorm"
    }

    /// The structs around this place, outermost first, and the path of each.
    #[cfg(feature = "trace")]
    pub(crate) fn owners(&self) -> Vec<(String, String)> {
        let structs = self.containers.iter().enumerate().filter_map(|(i, c)| Some((i, c.strip_prefix("Struct:")?)));
        structs.map(|(i, kind)| (kind.to_string(), self.names[..i].join("."))).collect()
    }

    fn kind(&self) -> &str {
        self.containers.iter().rev().find_map(|c| c.strip_prefix("Struct:")).unwrap_or("Param")
    }
}

/// What Burn calls the container of a reparameterization's fields.
pub(crate) const REPARAMETERIZATION: &str = "Reparameterization";

#[derive(Default)]
struct Visitor {
    position: Position,
    layers: Vec<Layer>,
    /// Where each id is in `layers`.
    places: HashMap<ParamId, usize>,
    /// The parameter that was visited last, unless that was another path of an earlier one.
    last: Option<usize>,
    /// Whether parameters that share an id are compared.
    checks: bool,
    /// The parameters themselves, of any rank, in the order of `layers`.
    params: Vec<Box<dyn Any>>,
    shared: Option<SharedId>,
}

impl Visitor {
    /// The parameter whose reparameterization is being visited, which comes right after it.
    fn carrier(&mut self) -> Option<&mut Layer> {
        self.position.carried()?;
        self.layers.get_mut(self.last?)
    }

    /// A transposed convolution does not show its groups to visitors, but its bias has a number for each output channel, which the weight
    /// counts by group. Without a bias it is taken for one group.
    fn count_groups(&mut self, bias: &str, kind: &str, shape: &[usize]) {
        let weight = self.layers.last_mut().filter(|l| {
            let beside = l.path.strip_suffix("weight").zip(bias.strip_suffix("bias"));
            kind.starts_with("ConvTranspose") && l.kind == kind && beside.is_some_and(|(a, b)| a == b)
        });
        let (Some(weight), &[outputs]) = (weight, shape) else { return };
        let groups = outputs.checked_div(weight.layout.rows()).unwrap_or_default();
        if groups > 0 && weight.layout.input_channels().is_multiple_of(groups) {
            weight.layout = weight.layout.with_groups(groups);
        }
    }
}

impl ModuleVisitor for Visitor {
    fn enter_module(&mut self, name: &str, container: &str) {
        let outside = self.position.inside.is_none();
        self.position.enter(name, container);
        if outside && let Some(layer) = self.carrier() {
            layer.carries = Some(name.to_string());
        }
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.position.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.position.carried().is_some() {
            return;
        }
        let path = self.position.path();
        if let Some(&place) = self.places.get(&param.id) {
            self.last = None;
            let first = self.params.get(place);
            // Statistics of clones go their own ways, and nobody takes them for one.
            if let Some(first) = first.filter(|_| self.shared.is_none() && !self.position.at_buffer())
                && !first.downcast_ref().is_some_and(|first| same(first, param))
            {
                self.shared = Some(SharedId { first: self.layers[place].path.clone(), second: path.clone() });
            }
            self.layers[place].aliases.push(path);
            return;
        }
        let kind = self.position.kind().to_string();
        let field = path.rsplit('.').next().unwrap_or_default();
        // A shape that does not make a lazy parameter draw its values.
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
            layout: layout(&kind, field, &shape),
            by_default: by_default(&kind, field),
            buffer: self.position.at_buffer(),
            autodiff: param.lazy_device().is_autodiff(),
            quantized: param.is_initialized() && matches!(param.base().dtype(), DType::QFloat(_)),
            aliases: Vec::new(),
            id: param.id,
            carries: None,
            keep: None,
            shape,
            kind,
            path,
        });
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let ours = self
            .position
            .carried()
            .is_some_and(|(_, rest)| rest == [crate::mask::pruning_mask::NAME, crate::mask::pruning_mask::FIELD]);
        if ours && let Some(layer) = self.carrier() {
            layer.keep = Some(param.val().flatten(0, D - 1));
        }
    }
}

/// Whether two parameters have the same values. Those that are not drawn yet stay so: they are clones of one another.
fn same<const D: usize>(one: &Param<Tensor<D>>, other: &Param<Tensor<D>>) -> bool {
    if one.lazy_shape() != other.lazy_shape() {
        return false;
    }
    let drawn = one.is_initialized() || other.is_initialized();
    !drawn || host::same(one.base(), other.base())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_type_has_output_units_as_rows() {
        let is = |kind: &str, shape: &[usize]| {
            let l = layout(kind, "weight", shape);
            (l.rows(), l.cols(), l.kernel())
        };
        assert_eq!(is("Linear", &[784, 300]), (300, 784, 1));
        assert_eq!(is("Embedding", &[1000, 64]), (64, 1000, 1));
        assert_eq!(is("Conv2d", &[64, 3, 7, 7]), (64, 147, 49));
        assert_eq!(is("Conv1d", &[8, 4, 3]), (8, 12, 3));
        assert_eq!(is("ConvTranspose2d", &[16, 8, 2, 2]), (8, 64, 4));
        assert_eq!(is("LayerNorm", &[32]), (32, 1, 1));
        assert_eq!(is("Mine", &[5, 2, 3]), (5, 6, 1));
        assert_eq!(layout("Linear", "bias", &[7]).cols(), 1);
    }
}
