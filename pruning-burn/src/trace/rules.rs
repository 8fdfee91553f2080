//! What each operation does to the axes of its operands: from a [`Trace`] to the groups of its channels.

use crate::layer_types;
use crate::trace::Trace;
use crate::trace::arithmetic_rules::Zero;
use crate::trace::name::name;
use crate::trace::shape_rules;
use burn_ir::{BaseOperationIr as Base, BoolOperationIr as Bool, FloatOperationIr as Flt, IntOperationIr as Int};
use burn_ir::{OperationIr, TensorId, TensorIr};
use pruning_core::graph::{AxisGraph, Dim, Factor, Groups, ParamIndex, Rule, ShrinkPlan};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A trace whose channels cannot be grouped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Nothing is known of an operation that works on channels, and the rules are strict.
    #[error(
        "operation {index} ({operation}), after {near}: no rule says which channels of its operands belong together; \
         give one with `AxisRules::with`, or leave `AxisRules::strict` out, and they stay"
    )]
    NoRule {
        /// Its place in the trace.
        index: usize,
        /// Its name.
        operation: String,
        /// The path of the nearest parameter.
        near: String,
    },
}

/// AxisRules by names of operations, such as `cross` or the id of a custom operation.
///
/// An operation that has no rule keeps all channels of its operands, and [`ChannelGroups::fixed`] names it as the reason.
///
/// [`ChannelGroups::fixed`]: crate::shrink::ChannelGroups::fixed
#[derive(Clone, Debug, Default)]
pub struct AxisRules {
    pub(crate) by_name: BTreeMap<String, Rule>,
    strict: bool,
}

impl AxisRules {
    /// Creates the built-in rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule for an operation that has none.
    #[must_use]
    pub fn with(mut self, operation: impl Into<String>, rule: Rule) -> Self {
        self.by_name.insert(operation.into(), rule);
        self
    }

    /// AxisRules that a plan was made with.
    pub(crate) fn of(plan: &ShrinkPlan) -> Self {
        Self { by_name: plan.rules.clone(), strict: false }
    }

    /// Makes an operation without a rule an error ([`GroupError::NoRule`]) where it works on channels.
    #[must_use]
    pub fn with_strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

/// Multiply-accumulates of one operation: the product of these axes.
#[derive(Clone, Debug)]
pub(crate) struct Contraction {
    pub(crate) operation: usize,
    pub(crate) dims: Vec<Dim>,
}

/// A grouped convolution.
#[derive(Clone, Debug)]
pub(crate) struct Grouped {
    /// Tensor of its weight.
    pub(crate) weight: TensorId,
    /// The axis of its groups.
    pub(crate) groups: Dim,
}

/// The axis of the heads of an attention.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    pub(crate) axis: Dim,
    /// Channels of each, where they are known.
    pub(crate) size: Option<usize>,
    /// A parameter of the attention.
    pub(crate) param: Option<usize>,
}

/// The axes of every tensor of a trace.
#[derive(Debug)]
pub(crate) struct Analysis<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) graph: AxisGraph,
    pub(crate) dims: HashMap<TensorId, Vec<Dim>>,
    /// The graph's index of a parameter of the trace, once it is used.
    pub(crate) index: Vec<Option<ParamIndex>>,
    pub(crate) contractions: Vec<Contraction>,
    pub(crate) grouped: Vec<Grouped>,
    pub(crate) heads: Vec<Heads>,
    /// The input and output axis of parameters that matrices are multiplied with.
    pub(crate) channels: HashMap<usize, [usize; 2]>,
    /// Positions of even pieces that an axis is cut into: `(tensor, axis)` to their length.
    pub(crate) chunks: HashMap<(TensorId, usize), usize>,
    /// Tensors that the code makes.
    pub(crate) made: HashSet<TensorId>,
    near: HashMap<TensorId, usize>,
    /// Tensors that are a parameter in another form.
    forms: HashMap<TensorId, usize>,
    users: HashMap<usize, Vec<String>>,
    /// Nothing may be removed: only costs are asked for.
    costs_only: bool,
}

impl<'a> Analysis<'a> {
    /// Follows all operations.
    pub(crate) fn new(trace: &'a Trace, rules: &AxisRules) -> Result<Self, GroupError> {
        Self::run(trace, rules, false)
    }

    /// The same with every axis fixed, for what products cost.
    pub(crate) fn costing(trace: &'a Trace) -> Result<Self, GroupError> {
        Self::run(trace, &AxisRules::new(), true)
    }

    fn run(trace: &'a Trace, rules: &AxisRules, costs_only: bool) -> Result<Self, GroupError> {
        let mut this = Self {
            trace,
            graph: AxisGraph::new(),
            dims: HashMap::new(),
            index: vec![None; trace.params.len()],
            contractions: Vec::new(),
            grouped: Vec::new(),
            heads: Vec::new(),
            channels: HashMap::new(),
            chunks: shape_rules::chunks(trace),
            made: HashSet::new(),
            near: HashMap::new(),
            forms: HashMap::new(),
            users: HashMap::new(),
            costs_only,
        };
        for (index, op) in trace.operations.iter().enumerate() {
            this.follow(index, op, rules)?;
        }
        for id in &trace.outputs {
            let dims = this.known(*id);
            dims.iter().for_each(|d| this.graph.pin(d, "an output of the model"));
        }
        this.pin_fixed_layers();
        Ok(this)
    }

    /// The path of the nearest parameter before an operation.
    pub(crate) fn near(&self, op: &OperationIr) -> &str {
        let near = self.weight_in(op).or_else(|| op.inputs().find_map(|t| self.near.get(&t.id)).copied());
        near.map_or("the inputs", |p| self.trace.params[p].path())
    }

    /// Names of the operations that use a parameter.
    pub(crate) fn users(&self, param: usize) -> Vec<String> {
        self.users.get(&param).cloned().unwrap_or_default()
    }

    /// Into how many groups a group norm splits the channels that a scale belongs to.
    pub(crate) fn norm_groups(&self, scale: usize) -> Option<usize> {
        // The last change of shape before the scale: from groups back to channels.
        let mut groups = None;
        for op in &self.trace.operations {
            if op.inputs().any(|t| self.weight_of(t.id) == Some(scale)) {
                return groups;
            }
            if let OperationIr::BaseFloat(Base::Reshape(o)) = op
                && o.input.shape.as_slice().len() == 3
            {
                groups = Some(o.input.shape.as_slice()[1]);
            }
        }
        None
    }

    /// Into how many heads an attention splits its queries, which the parameters of the layer `queries` make.
    pub(crate) fn heads_of(&self, queries: &str) -> Option<usize> {
        let from_queries = |id: TensorId| {
            self.near.get(&id).is_some_and(|&p| self.trace.params[p].paths.iter().any(|p| p.starts_with(queries)))
        };
        self.trace.operations.iter().find_map(|op| match op {
            OperationIr::BaseFloat(Base::Reshape(o)) if from_queries(o.out.id) => {
                let shape = o.out.shape.as_slice();
                (shape.len() == 4).then(|| shape[2])
            }
            _ => None,
        })
    }

    pub(crate) fn solve(&self, prefer: Factor) -> Groups {
        self.graph.solve(prefer)
    }

    fn follow(&mut self, index: usize, op: &OperationIr, rules: &AxisRules) -> Result<(), GroupError> {
        let near = self.weight_in(op).or_else(|| op.inputs().find_map(|t| self.near.get(&t.id)).copied());
        for out in op.outputs() {
            self.near.extend(near.map(|param| (out.id, param)));
        }
        if let OperationIr::BaseFloat(Base::Reshape(_) | Base::SwapDims(_) | Base::Permute(_) | Base::Cast(_)) = op {
            let form = op.inputs().find_map(|t| self.weight_of(t.id));
            self.forms.extend(op.outputs().filter_map(|out| Some((out.id, form?))));
        }
        if !self.costs_only {
            let params: Vec<_> = op.inputs().filter_map(|t| self.weight_of(t.id)).collect();
            for param in params {
                let (users, name) = (self.users.entry(param).or_default(), name(op));
                if name != "reshape" && !users.contains(&name) {
                    users.push(name);
                }
            }
        }
        let free = op.inputs().any(|t| self.of(t).iter().any(Dim::is_free));
        let multiplies = matches!(op, OperationIr::Module(_) | OperationIr::Float(_, Flt::Matmul(_)));
        let fits = matches!(
            op,
            OperationIr::BaseInt(Base::Expand(_) | Base::RepeatDim(_))
                | OperationIr::BaseBool(Base::Expand(_) | Base::RepeatDim(_))
        );
        let creates = op.inputs().next().is_none() || fits;
        if (free || creates || multiplies) && self.known_rule(index, op) {
            return Ok(());
        }
        if !free {
            op.outputs().for_each(|out| self.set_fixed(out));
            return Ok(());
        }
        let operation = name(op);
        let why = match rules.by_name.get(&operation) {
            Some(&Rule::Elementwise { keeps_zero }) => {
                self.elementwise(op, &operation, keeps_zero);
                return Ok(());
            }
            Some(Rule::Fixed) => format!("`{operation}` mixes all positions"),
            None if rules.strict => {
                let near = near.map_or("the inputs", |p| self.trace.params[p].path()).to_string();
                return Err(GroupError::NoRule { index, operation, near });
            }
            None => format!("no rule says what `{operation}` does to channels"),
        };
        for t in op.inputs() {
            let dims = self.of(t);
            self.pin(&dims, &why);
        }
        op.outputs().for_each(|out| self.set_fixed(out));
        Ok(())
    }

    /// A rule of the user's: results at one place come from operands at the same place.
    fn elementwise(&mut self, op: &OperationIr, name: &str, keeps_zero: bool) {
        let why = format!("`{name}` joins it with an axis that stays, or of another size");
        let mut operands = op.inputs();
        let Some(first) = operands.next() else { return };
        let mut dims = self.of(first);
        for other in operands {
            let other = self.of(other);
            dims = self.graph.broadcast(&dims, &other, false, &why);
        }
        let dims: Vec<_> = dims.iter().map(|d| d.keeping_zero(keeps_zero)).collect();
        op.outputs().for_each(|out| self.set(out, dims.clone()));
    }

    /// The parameter that a tensor is, as it is or in another form.
    pub(crate) fn weight_of(&self, id: TensorId) -> Option<usize> {
        self.trace.param_of.get(&id).or_else(|| self.forms.get(&id)).copied()
    }

    /// The parameter that an operation multiplies with.
    pub(crate) fn weight_in(&self, op: &OperationIr) -> Option<usize> {
        op.inputs().find_map(|t| self.weight_of(t.id))
    }

    /// Axes of an operand.
    pub(crate) fn of(&mut self, tensor: &TensorIr) -> Vec<Dim> {
        if let Some(dims) = self.dims.get(&tensor.id) {
            return dims.clone();
        }
        let dims = match self.trace.param_of.get(&tensor.id) {
            Some(&param) if self.trace.params[param].float && !self.costs_only => {
                let index = *self.index[param].get_or_insert_with(|| self.graph.param(&self.trace.params[param].shape));
                self.graph.dims(index).to_vec()
            }
            // Inputs, constants, and parameters that no one prunes.
            _ => tensor.shape.as_slice().iter().map(|&s| Dim::Fixed(s)).collect(),
        };
        self.dims.insert(tensor.id, dims.clone());
        dims
    }

    fn known(&self, id: TensorId) -> Vec<Dim> {
        self.dims.get(&id).cloned().unwrap_or_default()
    }

    /// Gives a result its axes. Those of a rule that does not fit the result's shape stay.
    pub(crate) fn set(&mut self, out: &TensorIr, dims: Vec<Dim>) {
        if dims.iter().map(Dim::len).eq(out.shape.as_slice().iter().copied()) {
            self.dims.insert(out.id, dims);
        } else {
            self.pin(&dims, "an operation gives another shape than its rule says");
            self.set_fixed(out);
        }
    }

    pub(crate) fn set_fixed(&mut self, out: &TensorIr) {
        let dims = out.shape.as_slice().iter().map(|&s| Dim::Fixed(s)).collect();
        self.dims.insert(out.id, dims);
    }

    pub(crate) fn pin(&mut self, dims: &[Dim], why: &str) {
        dims.iter().for_each(|d| self.graph.pin(d, why));
    }

    fn known_rule(&mut self, index: usize, op: &OperationIr) -> bool {
        match op {
            OperationIr::BaseFloat(op) => self.base_rule(op, false),
            // Indices and masks are made to fit what they are used on.
            OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => self.base_rule(op, true),
            OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => self.numeric(op),
            OperationIr::Float(_, op) => self.float(index, op),
            OperationIr::Module(op) => self.module_rule(index, op),
            OperationIr::Activation(op) => self.activation(op),
            OperationIr::Int(Int::Matmul(_)) => false,
            OperationIr::Int(Int::IntoFloat(o)) | OperationIr::Bool(Bool::IntoFloat(o) | Bool::IntoInt(o)) => {
                self.unary(&o.input, &o.out, true);
                true
            }
            OperationIr::Int(_) | OperationIr::Bool(_) => {
                let inputs: Vec<_> = op.inputs().cloned().collect();
                let Some(out) = op.outputs().next() else { return false };
                match &inputs[..] {
                    [one] => self.unary(one, out, false),
                    [a, b] => self.binary(a, b, out, Zero::Never, "element-wise"),
                    _ => return false,
                }
                true
            }
            _ => false,
        }
    }

    /// Notes the heads of a product of activations: an axis along which each entry has a product of its own.
    pub(crate) fn note_heads(&mut self, of: &TensorIr, axes: &[Dim], channels: [&Dim; 2]) {
        let size = channels.into_iter().find(|d| d.is_free()).map(Dim::len);
        let param = self.near.get(&of.id).copied();
        let free = axes.iter().filter(|d| d.is_free());
        self.heads.extend(free.map(|axis| Heads { axis: axis.clone(), size, param }));
    }

    /// Notes which axes of a parameter are summed over and left in a product.
    pub(crate) fn note_channels(&mut self, weight: &TensorIr, input: &Dim, output: &Dim) {
        let Some(param) = self.weight_of(weight.id) else { return };
        let Some(axes) = self.index[param].map(|index| self.graph.dims(index)) else { return };
        let at = |dim: &Dim| axes.iter().position(|own| own.is_free() && own.same(dim));
        if let (Some(input), Some(output)) = (at(input), at(output)) {
            self.channels.entry(param).or_insert([input, output]);
        }
    }

    /// Layers of Burn whose code leaves no room for fewer channels.
    fn pin_fixed_layers(&mut self) {
        for (param, traced) in self.trace.params.iter().enumerate() {
            let Some(index) = self.index[param] else { continue };
            let why = traced.owners.iter().find_map(|(kind, path)| {
                let pin = layer_types::of(kind).pin.as_ref()?;
                pin.holds(traced.within(path)).then_some(pin.why)
            });
            if let Some(why) = why {
                let dims = self.graph.dims(index).to_vec();
                self.pin(&dims, why);
            }
        }
    }

    /// A tensor that the code makes, whose size it takes from somewhere.
    pub(crate) fn create(&mut self, out: &TensorIr, zero: bool) {
        let dims = out.shape.as_slice().iter().map(|&s| self.made(s, zero)).collect();
        self.made.insert(out.id);
        self.set(out, dims);
    }

    /// An axis whose size the code takes from somewhere.
    pub(crate) fn made(&mut self, size: usize, zero: bool) -> Dim {
        if self.costs_only { Dim::Fixed(size) } else { self.graph.fresh(size, zero) }
    }
}
