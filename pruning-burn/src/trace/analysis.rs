//! The axes of every tensor of a trace, which the rules read and write operation by operation.

use crate::trace::Trace;
use burn_ir::{BaseOperationIr as Base, OperationIr, TensorId, TensorIr};
use pruning_core::graph::{AxisGraph, Dim, Factor, Groups, ParamIndex};
use std::collections::{HashMap, HashSet};

/// The axes of one operation whose product is its number of multiply-accumulates.
#[derive(Clone, Debug)]
pub(crate) struct Contraction {
    pub(crate) operation: usize,
    pub(crate) dims: Vec<Dim>,
}

/// A grouped convolution.
#[derive(Clone, Debug)]
pub(crate) struct Grouped {
    /// The tensor of its weight.
    pub(crate) weight: TensorId,
    /// The axis of its groups.
    pub(crate) groups: Dim,
}

/// The axis of the heads of an attention.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    pub(crate) axis: Dim,
    /// The channels of each head, if known.
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
    /// The graph's index of each parameter of the trace, once an operation uses it.
    pub(crate) index: Vec<Option<ParamIndex>>,
    pub(crate) contractions: Vec<Contraction>,
    pub(crate) grouped: Vec<Grouped>,
    pub(crate) heads: Vec<Heads>,
    /// The input and output axis of each parameter that is a factor of a matrix product.
    pub(crate) channels: HashMap<usize, [usize; 2]>,
    /// The length of the even pieces that an axis is cut into, by `(tensor, axis)`.
    pub(crate) chunks: HashMap<(TensorId, usize), usize>,
    /// Tensors that the user's code creates.
    pub(crate) made: HashSet<TensorId>,
    pub(crate) near: HashMap<TensorId, usize>,
    /// Tensors that are a parameter in another form.
    pub(crate) forms: HashMap<TensorId, usize>,
    pub(crate) users: HashMap<usize, Vec<String>>,
    /// Whether only costs are needed, so that every axis stays.
    pub(crate) costs_only: bool,
    /// Whether sizes may change that only the code of the module needs.
    pub(crate) without_code: bool,
}

impl<'a> Analysis<'a> {
    /// Creates an analysis that knows nothing yet. `costs_only` leaves every axis fixed.
    pub(crate) fn empty(trace: &'a Trace, costs_only: bool) -> Self {
        Self {
            trace,
            graph: AxisGraph::new(),
            dims: HashMap::new(),
            index: vec![None; trace.params.len()],
            contractions: Vec::new(),
            grouped: Vec::new(),
            heads: Vec::new(),
            channels: HashMap::new(),
            chunks: HashMap::new(),
            made: HashSet::new(),
            near: HashMap::new(),
            forms: HashMap::new(),
            users: HashMap::new(),
            costs_only,
            without_code: false,
        }
    }

    /// Returns the path of the nearest parameter before an operation.
    pub(crate) fn near(&self, op: &OperationIr) -> &str {
        let near = self.weight_in(op).or_else(|| op.inputs().find_map(|t| self.near.get(&t.id)).copied());
        near.map_or("the inputs", |p| self.trace.params[p].path())
    }

    /// Returns the names of the operations that use a parameter.
    pub(crate) fn users(&self, param: usize) -> Vec<String> {
        self.users.get(&param).cloned().unwrap_or_default()
    }

    /// Returns the number of groups of the group norm that a scale belongs to.
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

    /// Returns the number of heads of an attention, by the path of the layer that makes its queries.
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

    /// Returns the parameter that a tensor holds, unchanged or in another form.
    pub(crate) fn weight_of(&self, id: TensorId) -> Option<usize> {
        self.trace.param_of.get(&id).or_else(|| self.forms.get(&id)).copied()
    }

    /// Returns the parameter that an operation multiplies with.
    pub(crate) fn weight_in(&self, op: &OperationIr) -> Option<usize> {
        op.inputs().find_map(|t| self.weight_of(t.id))
    }

    /// Returns the axes of an operand.
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

    pub(crate) fn known(&self, id: TensorId) -> Vec<Dim> {
        self.dims.get(&id).cloned().unwrap_or_default()
    }

    /// Sets the axes of a result. If they do not fit its shape, they are all pinned.
    pub(crate) fn set(&mut self, out: &TensorIr, dims: Vec<Dim>) {
        if dims.iter().map(Dim::len).eq(out.shape.as_slice().iter().copied()) {
            self.dims.insert(out.id, dims);
        } else {
            self.pin(&dims, "the result of an operation has another shape than its rule predicts");
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

    /// Notes the heads of a product of activations: each entry along this axis has a product of its own.
    pub(crate) fn note_heads(&mut self, of: &TensorIr, axes: &[Dim], channels: [&Dim; 2]) {
        let size = channels.into_iter().find(|d| d.is_free()).map(Dim::len);
        let param = self.near.get(&of.id).copied();
        let free = axes.iter().filter(|d| d.is_free());
        self.heads.extend(free.map(|axis| Heads { axis: axis.clone(), size, param }));
    }

    /// Notes which axis of a parameter a product sums over, and which one remains.
    pub(crate) fn note_channels(&mut self, weight: &TensorIr, input: &Dim, output: &Dim) {
        let Some(param) = self.weight_of(weight.id) else { return };
        let Some(axes) = self.index[param].map(|index| self.graph.dims(index)) else { return };
        let at = |dim: &Dim| axes.iter().position(|own| own.is_free() && own.same(dim));
        if let (Some(input), Some(output)) = (at(input), at(output)) {
            self.channels.entry(param).or_insert([input, output]);
        }
    }

    /// Sets the axes of a tensor that the code creates, with a size that it reads somewhere.
    pub(crate) fn create(&mut self, out: &TensorIr, zero: bool) {
        let dims = out.shape.as_slice().iter().map(|&s| self.made(s, zero)).collect();
        self.made.insert(out.id);
        self.set(out, dims);
    }

    /// Returns an axis whose size the code reads somewhere.
    pub(crate) fn made(&mut self, size: usize, zero: bool) -> Dim {
        if self.costs_only { Dim::Fixed(size) } else { self.graph.fresh(size, zero) }
    }
}
