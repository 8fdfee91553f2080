//! The products with weights in a trace, and the operand that each of them reads: [`find`].

use crate::calibrate::weight_view::{WeightView, Weights, follow, parameters};
use crate::calibrate::window::Window;
use crate::layers::Layer;
use crate::score::statistics::Reads;
use crate::trace::{Tap, Trace};
use burn_ir::{ActivationOperationIr, BaseOperationIr as Base, FloatOperationIr as Flt, ModuleOperationIr as Mod};
use burn_ir::{NumericOperationIr as Num, OperationIr, TensorId, TensorIr};
use pruning_core::score::MatrixLayout;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The form of an operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// Rows of columns: the last axis is summed over, or the one before if it is `transposed`.
    Rows { transposed: bool },
    /// Windows of images `[batch, channels, ..]`.
    Windows(Window),
    /// Channels of images, each of which meets a whole kernel.
    Channels { kernel: usize },
    /// Indices of so many rows of a table.
    Indices { classes: usize },
}

/// An operand that weights read.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) tap: Tap,
    pub(super) operand: Operand,
    /// The tensor that the operand is before its leading axes are merged, and its shape.
    pub(super) root: TensorId,
    pub(super) shape: Vec<usize>,
    /// The layers that read it, by index, and how.
    pub(super) readers: BTreeMap<usize, Reads>,
}

/// What a layer puts out after its activation.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) tap: Tap,
    pub(super) layer: usize,
    pub(super) axis: usize,
    /// Whether it comes after an activation.
    pub(super) active: bool,
}

/// All that is to be seen in a pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Sights {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// The layers in products that nothing can be collected for, each with the reason.
    pub(super) skipped: BTreeMap<usize, &'static str>,
}

/// Finds the operand of every product with a weight. `layers` gives the index and layout of each parameter of the trace.
pub(super) fn find(trace: &Trace, layers: &[Option<(usize, &Layer)>]) -> Sights {
    let whole = trace.param_of.iter().filter_map(|(id, &param)| {
        let (_, layer) = layers[param]?;
        Some((*id, param, layer.shape.as_slice()))
    });
    let mut fixed: HashSet<TensorId> = trace.param_of.keys().chain(trace.constants.keys()).copied().collect();
    for op in &trace.operations {
        if op.inputs().all(|t| fixed.contains(&t.id)) {
            fixed.extend(op.outputs().map(|t| t.id));
        }
    }
    let mut finder = Finder {
        trace,
        layers,
        fixed,
        weights: parameters(whole),
        roots: HashMap::new(),
        known: HashMap::new(),
        reads: HashMap::new(),
        parts: HashSet::new(),
        sights: Sights::default(),
    };
    for (index, op) in trace.operations.iter().enumerate() {
        finder.see(index, op);
        follow(&mut finder.weights, op);
        finder.merge_axes(op);
    }
    for layer in finder.parts {
        if finder.sights.inputs.iter().filter(|input| input.readers.contains_key(&layer)).count() > 1 {
            finder.sights.skipped.insert(layer, "parts of its output units see different inputs");
        }
    }
    finder.sights
}

struct Finder<'a> {
    trace: &'a Trace,
    layers: &'a [Option<(usize, &'a Layer)>],
    /// The tensors that no input has a part in.
    fixed: HashSet<TensorId>,
    weights: HashMap<TensorId, Weights>,
    /// The tensor that another one is with its leading axes merged or split.
    roots: HashMap<TensorId, (TensorId, Vec<usize>)>,
    /// Inputs by root and form.
    known: HashMap<(TensorId, String), usize>,
    /// How each layer is read.
    reads: HashMap<usize, Reads>,
    /// The layers of which a product takes a part of the output units.
    parts: HashSet<usize>,
    sights: Sights,
}

impl Finder<'_> {
    /// Notes a change of shape that keeps the last axis.
    fn merge_axes(&mut self, op: &OperationIr) {
        let (input, out) = match op {
            OperationIr::BaseFloat(Base::Reshape(o)) => (&o.input, &o.out),
            OperationIr::BaseFloat(Base::Cast(o)) => (&o.input, &o.out),
            _ => return,
        };
        if input.shape.as_slice().last() == out.shape.as_slice().last() {
            let root = self.root(input);
            self.roots.insert(out.id, root);
        }
    }

    fn root(&self, tensor: &TensorIr) -> (TensorId, Vec<usize>) {
        self.roots.get(&tensor.id).cloned().unwrap_or_else(|| (tensor.id, tensor.shape.as_slice().to_vec()))
    }

    fn layer(&self, param: usize) -> Option<(usize, &MatrixLayout, &[usize])> {
        self.layers[param].map(|(index, layer)| (index, &layer.layout, layer.shape.as_slice()))
    }

    fn see(&mut self, index: usize, op: &OperationIr) {
        macro_rules! conv {
            ($o:expr, $padding:expr) => {
                self.convolution(index, op, &$o.x, &$o.weight, || {
                    let o = &$o.options;
                    Window::new(&$o.x, &$o.weight, &o.stride, $padding, &o.dilation, o.groups)
                })
            };
        }
        match op {
            OperationIr::Float(_, Flt::Matmul(o)) => match (self.weights.get(&o.lhs.id), self.weights.get(&o.rhs.id)) {
                (Some(lhs), Some(rhs)) => {
                    let both: Vec<_> = lhs.iter().chain(rhs).map(|view| view.param).collect();
                    both.into_iter().for_each(|param| self.skip(param, "it is multiplied with another weight"));
                }
                (None, Some(views)) => {
                    let views = views.clone();
                    self.matrix(index, op, &o.lhs, &views, false);
                }
                (Some(views), None) => {
                    let views = views.clone();
                    self.matrix(index, op, &o.rhs, &views, true);
                }
                (None, None) => {}
            },
            OperationIr::Module(Mod::Linear(o)) => {
                if let Some(views) = self.weights.get(&o.weight.id).cloned() {
                    self.matrix(index, op, &o.x, &views, false);
                }
            }
            OperationIr::Module(Mod::Conv1d(o)) => conv!(o, &o.options.padding),
            OperationIr::Module(Mod::Conv2d(o)) => conv!(o, &o.options.padding),
            OperationIr::Module(Mod::Conv3d(o)) => conv!(o, &o.options.padding.map(|p| (p, p))),
            OperationIr::Module(Mod::ConvTranspose1d(o)) => self.transposed(index, op, &o.x, &o.weight),
            OperationIr::Module(Mod::ConvTranspose2d(o)) => self.transposed(index, op, &o.x, &o.weight),
            OperationIr::Module(Mod::ConvTranspose3d(o)) => self.transposed(index, op, &o.x, &o.weight),
            OperationIr::Module(Mod::Embedding(o)) => self.table(index, &o.indices, &o.weights),
            // By indices that are the same in each pass, weights are moved and not looked up.
            OperationIr::BaseFloat(Base::Select(o)) if o.dim == 0 && !self.fixed.contains(&o.indices.id) => {
                self.table(index, &o.indices, &o.tensor);
            }
            OperationIr::Module(Mod::DeformableConv2d(o)) => {
                if let Some(param) = self.whole(&o.weight) {
                    self.skip(param, "it is the weight of a deformable convolution, whose windows are computed");
                }
            }
            _ => {}
        }
    }

    fn skip(&mut self, param: usize, why: &'static str) {
        if let Some((layer, _)) = self.layers[param] {
            self.sights.skipped.insert(layer, why);
        }
    }

    /// The parameter that a tensor is, in its own shape.
    fn whole(&self, weight: &TensorIr) -> Option<usize> {
        let [view] = self.weights.get(&weight.id)?.as_slice() else { return None };
        self.layer(view.param).is_some_and(|(.., shape)| view.is_whole(shape)).then_some(view.param)
    }

    fn matrix(&mut self, index: usize, op: &OperationIr, x: &TensorIr, views: &[WeightView], transposed: bool) {
        let mut readers = BTreeMap::new();
        for view in views {
            let Some((layer, layout, _)) = self.layer(view.param) else { continue };
            match view.reads(layout, transposed) {
                Some(reads) => {
                    readers.insert(layer, reads);
                    if !view.is_of_all(layout) {
                        self.parts.insert(layer);
                    }
                }
                None => self.skip(view.param, "the product sums over a part of its inputs, or over its entries in another order than its matrix has"),
            }
        }
        self.add(index, x, Operand::Rows { transposed }, readers);
        if let ([view], false) = (views, transposed)
            && let (Some((layer, layout, _)), Some(out)) = (self.layer(view.param), op.outputs().next())
            && out.shape.as_slice().last() == Some(&layout.rows())
            && view.reads(layout, false) == Some(Reads::Columns)
        {
            self.output(index, layer, out.clone(), out.shape.as_slice().len() - 1);
        }
    }

    fn convolution(
        &mut self,
        index: usize,
        op: &OperationIr,
        x: &TensorIr,
        weight: &TensorIr,
        window: impl FnOnce() -> Window,
    ) {
        let Some(param) = self.whole(weight) else { return };
        let Some((layer, ..)) = self.layer(param) else { return };
        let window = window();
        let reads = if window.groups == 1 { Reads::Columns } else { Reads::Groups(window.groups) };
        self.add(index, x, Operand::Windows(window), [(layer, reads)].into());
        if let Some(out) = op.outputs().next() {
            self.output(index, layer, out.clone(), 1);
        }
    }

    fn transposed(&mut self, index: usize, op: &OperationIr, x: &TensorIr, weight: &TensorIr) {
        let Some(param) = self.whole(weight) else { return };
        let Some((layer, layout, _)) = self.layer(param) else { return };
        let kernel = layout.kernel();
        self.add(index, x, Operand::Channels { kernel }, [(layer, Reads::Columns)].into());
        if let Some(out) = op.outputs().next() {
            self.output(index, layer, out.clone(), 1);
        }
    }

    fn table(&mut self, index: usize, indices: &TensorIr, weight: &TensorIr) {
        let Some(param) = self.whole(weight) else { return };
        let Some((layer, layout, shape)) = self.layer(param) else { return };
        let &[classes, _] = shape else { return };
        let reads = if layout.outer() == classes { Reads::Columns } else { Reads::Rows };
        self.add(index, indices, Operand::Indices { classes }, [(layer, reads)].into());
    }

    fn add(&mut self, index: usize, x: &TensorIr, operand: Operand, readers: BTreeMap<usize, Reads>) {
        if readers.is_empty() {
            return;
        }
        let (root, shape) = match operand {
            Operand::Rows { transposed: false } => self.root(x),
            _ => (x.id, x.shape.as_slice().to_vec()),
        };
        let inputs = &mut self.sights.inputs;
        let place = *self.known.entry((root, format!("{operand:?}"))).or_insert_with(|| {
            let tap = Tap { operation: index, after: false, tensor: x.clone() };
            inputs.push(Input { tap, operand, root, shape, readers: BTreeMap::new() });
            inputs.len() - 1
        });
        for (layer, reads) in readers {
            inputs[place].readers.insert(layer, reads);
            // A tied weight, say: its columns would be added to its rows.
            if *self.reads.entry(layer).or_insert(reads) != reads {
                self.sights.skipped.insert(layer, "it is read along both of its axes, whose sums differ");
            }
        }
    }

    /// Notes the output of a layer: after its bias, its norm and its activation, up to the first activation that follows.
    fn output(&mut self, index: usize, layer: usize, mut out: TensorIr, mut axis: usize) {
        let (mut at, mut active) = (index, false);
        while let Some((next, op)) = self.only_use(at, out.id) {
            let [result] = op.outputs().collect::<Vec<_>>()[..] else { break };
            let (before, after) = (out.shape.as_slice(), result.shape.as_slice());
            // Axes in front of the units of a linear layer may be merged.
            let reshapes = matches!(op, OperationIr::BaseFloat(Base::Reshape(_)));
            let merged = axis > 0 && reshapes && axis + 1 == before.len() && before.last() == after.last();
            let numeric = matches!(
                op,
                OperationIr::NumericFloat(..) | OperationIr::Float(..) | OperationIr::Module(Mod::BatchNorm(_))
            );
            let alone = op.inputs().all(|t| t.id == out.id || self.fixed.contains(&t.id));
            if !(merged || before == after && (activates(op) || numeric && alone)) {
                break;
            }
            (at, axis, out) = (next, axis + after.len() - before.len(), result.clone());
            active = activates(op);
            if active {
                break;
            }
        }
        let tap = Tap { operation: at, after: true, tensor: out };
        self.sights.outputs.push(Output { tap, layer, axis, active });
    }

    fn only_use(&self, after: usize, id: TensorId) -> Option<(usize, &OperationIr)> {
        let mut uses =
            self.trace.operations.iter().enumerate().skip(after + 1).filter(|(_, op)| op.inputs().any(|t| t.id == id));
        let first = uses.next()?;
        (uses.next().is_none() && !self.trace.outputs.contains(&id)).then_some(first)
    }
}

/// Whether an operation is what is called the activation of a layer.
fn activates(op: &OperationIr) -> bool {
    use ActivationOperationIr as Act;
    match op {
        OperationIr::Activation(op) => !matches!(op, Act::Softmax(_) | Act::LogSoftmax(_) | Act::Softmin(_)),
        OperationIr::NumericFloat(_, op) => matches!(op, Num::Clamp(_) | Num::ClampMin(_) | Num::ClampMax(_)),
        _ => false,
    }
}
