//! Products with weights in a program: linear layers and convolutions, with the bias and the ReLU that follow.

use crate::sparse::program::{Constant, Program, uses};
use burn::tensor::DType;
use burn_ir::{
    ActivationOperationIr, CustomOpIr, FloatOperationIr, ModuleOperationIr, NumericOperationIr, OperationIr, TensorId,
    TensorIr,
};
use pruning_sparse::{Activation, Dense, SparseError};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The kind of a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// `X W`, `W` `[cols, rows]`.
    Linear,
    /// A convolution with two spatial axes; with one spatial axis, the first has length one.
    Conv(Window),
}

/// The window of a convolution: sizes, stride, padding, dilation and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) channels: usize,
    pub(super) input: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [(usize, usize); 2],
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
}

/// A product that sparse weights could compute.
#[derive(Clone, Debug)]
pub(super) struct Product {
    /// The operations of the product, the last of which gives the result.
    pub(super) operations: Vec<usize>,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) x: TensorIr,
    pub(super) out: TensorIr,
    pub(super) weight: TensorId,
    pub(super) bias: Option<TensorId>,
    pub(super) activation: Activation,
    pub(super) path: String,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// The number of rows of `X`, or of images.
    pub(super) batch: usize,
}

impl Product {
    /// Returns the weights, `[rows, cols]`.
    pub(super) fn matrix(&self, weight: &Constant) -> Result<Dense<f32>, SparseError> {
        let floats = weight.floats().unwrap_or_default();
        let values = match self.kind {
            Kind::Conv(_) => floats,
            Kind::Linear => transposed(&floats, self.cols, self.rows),
        };
        // A mask is a product, which leaves minus zeros. They affect only the signs of zeros.
        let values = values.into_iter().map(|v| if v == 0.0 { 0.0 } else { v }).collect();
        Dense::new(self.rows, self.cols, values)
    }

    /// Returns the number of weights for each input channel of an output unit.
    pub(super) fn kernel(&self) -> usize {
        match &self.kind {
            Kind::Linear => 1,
            Kind::Conv(window) => window.kernel.iter().product(),
        }
    }

    /// Returns the custom operation that replaces the product.
    pub(super) fn custom(&self, id: String) -> OperationIr {
        OperationIr::Custom(CustomOpIr {
            id,
            inputs: vec![self.x.clone()],
            outputs: vec![self.out.clone()],
            scalars: Vec::new(),
        })
    }
}

/// Transposes `[rows, cols]` to `[cols, rows]`, block by block.
pub(super) fn transposed(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for first in (0..rows).step_by(16) {
        for (col, out) in out.chunks_exact_mut(rows.max(1)).enumerate() {
            for row in first..(first + 16).min(rows) {
                out[row] = values[row * cols + col];
            }
        }
    }
    out
}

/// Returns every product of a program with single-precision weights on its right, in the order of operations.
pub(super) fn products(program: &Program) -> Vec<Product> {
    let uses = uses(&program.operations);
    let outputs: HashSet<TensorId> = program.outputs.iter().map(|t| t.id).collect();
    let find = Find { program, uses, outputs };
    (0..program.operations.len()).filter_map(|place| find.at(place)).collect()
}

struct Find<'a> {
    program: &'a Program,
    uses: HashMap<TensorId, Vec<usize>>,
    outputs: HashSet<TensorId>,
}

impl Find<'_> {
    fn weight(&self, ir: &TensorIr) -> Option<&Constant> {
        (ir.dtype == DType::F32).then(|| self.program.constants.get(&ir.id)).flatten()
    }

    fn at(&self, place: usize) -> Option<Product> {
        let known = |t: &TensorIr| self.program.constants.contains_key(&t.id);
        let (name, x, weight, bias, out, kind) = match &self.program.operations[place] {
            OperationIr::Float(_, FloatOperationIr::Matmul(o)) => {
                // The matrix must be the same for the whole batch.
                let lead = o.rhs.shape.as_slice().split_last_chunk::<2>()?.0;
                if lead.iter().any(|&len| len != 1) {
                    return None;
                }
                ("linear", &o.lhs, &o.rhs, None, &o.out, Kind::Linear)
            }
            OperationIr::Module(ModuleOperationIr::Linear(o)) => {
                ("linear", &o.x, &o.weight, o.bias.as_ref(), &o.out, Kind::Linear)
            }
            OperationIr::Module(ModuleOperationIr::Conv2d(o)) => {
                let &[_, channels, height, width] = o.x.shape.as_slice() else { return None };
                let &[_, _, tall, wide] = o.weight.shape.as_slice() else { return None };
                let window = Window {
                    channels,
                    input: [height, width],
                    kernel: [tall, wide],
                    stride: o.options.stride,
                    padding: o.options.padding,
                    dilation: o.options.dilation,
                    groups: o.options.groups,
                };
                ("conv2d", &o.x, &o.weight, o.bias.as_ref(), &o.out, Kind::Conv(window))
            }
            OperationIr::Module(ModuleOperationIr::Conv1d(o)) => {
                let &[_, channels, length] = o.x.shape.as_slice() else { return None };
                let &[_, _, kernel] = o.weight.shape.as_slice() else { return None };
                let window = Window {
                    channels,
                    input: [1, length],
                    kernel: [1, kernel],
                    stride: [1, o.options.stride[0]],
                    padding: [(0, 0), o.options.padding[0]],
                    dilation: [1, o.options.dilation[0]],
                    groups: o.options.groups,
                };
                ("conv1d", &o.x, &o.weight, o.bias.as_ref(), &o.out, Kind::Conv(window))
            }
            _ => return None,
        };
        let constant = self.weight(weight)?;
        if known(x) || x.dtype != DType::F32 || bias.is_some_and(|b| self.weight(b).is_none()) {
            return None;
        }
        let shape = weight.shape.as_slice();
        let (rows, cols, batch) = match &kind {
            Kind::Linear => {
                let &[cols, rows] = shape.last_chunk::<2>()?;
                (rows, cols, x.shape.num_elements() / cols.max(1))
            }
            Kind::Conv(_) => (shape[0], shape[1..].iter().product(), x.shape.as_slice()[0]),
        };
        let path = constant.path.clone().unwrap_or_default();
        let (x, out, weight, bias) = (x.clone(), out.clone(), weight.id, bias.map(|b| b.id));
        let operations = vec![place];
        let activation = Activation::None;
        let mut product = Product { operations, name, kind, x, out, weight, bias, activation, path, rows, cols, batch };
        self.take_bias(&mut product);
        self.take_relu(&mut product);
        Some(product)
    }

    /// Returns the only operation that uses the result so far.
    fn next(&self, product: &Product) -> Option<usize> {
        match self.uses.get(&product.out.id).map(Vec::as_slice) {
            Some(&[place]) if !self.outputs.contains(&product.out.id) => Some(place),
            _ => None,
        }
    }

    fn take_bias(&self, product: &mut Product) {
        if product.kind != Kind::Linear || product.bias.is_some() {
            return;
        }
        let Some(place) = self.next(product) else { return };
        let OperationIr::NumericFloat(_, NumericOperationIr::Add(o)) = &self.program.operations[place] else { return };
        let bias = if o.lhs.id == product.out.id { &o.rhs } else { &o.lhs };
        let row = bias.shape.as_slice().last() == Some(&product.rows) && bias.shape.num_elements() == product.rows;
        if row && self.weight(bias).is_some() && o.out.shape == product.out.shape {
            product.bias = Some(bias.id);
            product.out = o.out.clone();
            product.operations.push(place);
        }
    }

    fn take_relu(&self, product: &mut Product) {
        let Some(place) = self.next(product) else { return };
        if let OperationIr::Activation(ActivationOperationIr::Relu(o)) = &self.program.operations[place] {
            product.activation = Activation::Relu;
            product.out = o.out.clone();
            product.operations.push(place);
        }
    }
}
