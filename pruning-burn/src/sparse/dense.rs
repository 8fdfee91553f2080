//! Passes whose sparse products are operations of Burn again: [`dense`].

use crate::sparse::layer::Layer;
use crate::sparse::pass::Pass;
use crate::sparse::product::{Kind, transposed};
use crate::sparse::program::{Constant, Program};
use crate::sparse::report::LayerRow;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape, TensorData};
use burn_ir::{
    ActivationOperationIr, BinaryOpIr, Conv1dOpIr, Conv1dOptionsIr, Conv2dOpIr, Conv2dOptionsIr, FloatOperationIr,
    HandleKind, MatmulOpIr, ModuleOperationIr, NumericOperationIr, OperationIr, TensorId, TensorIr, TensorStatus,
    UnaryOpIr,
};
use pruning_sparse::Activation;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The dense weights and biases that passes share, by the memory of the sparse ones and their shape.
#[derive(Default)]
pub(super) struct Shared(HashMap<(usize, Vec<usize>), FlexTensor>);

impl Shared {
    fn tensor<T: ?Sized>(&mut self, of: &Arc<T>, shape: Vec<usize>, values: impl FnOnce() -> Vec<f32>) -> FlexTensor {
        let key = (Arc::as_ptr(of).cast::<()>() as usize, shape.clone());
        self.0.entry(key).or_insert_with(|| FlexTensor::from_data(TensorData::new(values(), shape))).clone()
    }
}

/// Returns the program of a pass, with a dense product for each of its layers.
pub(super) fn dense(pass: &Pass, rows: &[LayerRow], shared: &mut Shared) -> Program {
    let mut program = Program { operations: Vec::new(), ..pass.program.clone() };
    let of_operations = pass.program.operations.iter().flat_map(OperationIr::nodes);
    let all = of_operations.chain(&program.inputs).chain(&program.outputs);
    let taken: HashSet<TensorId> = all.map(|t| t.id).chain(program.constants.keys().copied()).collect();
    let mut rewriter = Rewriter { program: &mut program, ids: (0..).map(TensorId::new), taken, shared };
    for op in &pass.program.operations {
        let custom = if let OperationIr::Custom(custom) = op { Some(custom) } else { None };
        let layer = custom.and_then(|custom| Some((custom, &pass.layers.iter().find(|(id, _)| *id == custom.id)?.1)));
        match layer {
            Some((custom, layer)) => {
                // A layer has the number of its row.
                let number = custom.id.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok());
                let path = number.and_then(|n| rows.get(n)).map(|row| row.path.clone()).filter(|path| !path.is_empty());
                rewriter.replace(&custom.inputs[0], layer, &custom.outputs[0], path);
            }
            None => rewriter.program.operations.push(op.clone()),
        }
    }
    program
}

struct Rewriter<'a, I> {
    program: &'a mut Program,
    ids: I,
    taken: HashSet<TensorId>,
    shared: &'a mut Shared,
}

impl<I: Iterator<Item = TensorId>> Rewriter<'_, I> {
    /// Adds the operations of a layer: the product, its bias and its ReLU.
    fn replace(&mut self, x: &TensorIr, layer: &Layer, out: &TensorIr, path: Option<String>) {
        let matrix = &layer.weights.matrix;
        let (rows, cols, rank) = (matrix.rows(), matrix.cols(), out.shape.as_slice().len());
        let values = || matrix.to_dense().values().to_vec();
        let relu = layer.activation == Activation::Relu;
        let product = if relu { self.result(&layer.output) } else { out.clone() };
        match &layer.weights.kind {
            Kind::Linear => {
                let shape = [vec![1; rank.saturating_sub(2)], vec![cols, rows]].concat();
                let values = || transposed(&values(), rows, cols);
                let weight = self.shared.tensor(matrix, shape.clone(), values);
                let weight = self.constant(weight, shape, path);
                let lead = vec![1; rank.saturating_sub(1)];
                let bias = self.bias(layer, [lead, vec![rows]].concat());
                let sum = if bias.is_some() { self.result(&layer.output) } else { product.clone() };
                let matmul = MatmulOpIr { lhs: read(x), rhs: weight, out: sum.clone() };
                self.push(OperationIr::Float(DType::F32, FloatOperationIr::Matmul(matmul)));
                if let Some(bias) = bias {
                    let add = BinaryOpIr { lhs: read(&sum), rhs: bias, out: product.clone() };
                    self.push(OperationIr::NumericFloat(DType::F32, NumericOperationIr::Add(add)));
                }
            }
            Kind::Conv(window) => {
                let fan_in = window.channels / window.groups.max(1);
                let one = rank == 3;
                let kernel = if one { &window.kernel[1..] } else { &window.kernel[..] };
                let shape = [&[rows, fan_in], kernel].concat();
                let weight = self.shared.tensor(matrix, shape.clone(), values);
                let weight = self.constant(weight, shape, path);
                let bias = self.bias(layer, vec![rows]);
                let (x, out) = (read(x), product.clone());
                let [stride, dilation, groups] = [window.stride, window.dilation, [window.groups; 2]];
                self.push(OperationIr::Module(if one {
                    let padding = [window.padding[1]];
                    let (stride, dilation) = ([stride[1]], [dilation[1]]);
                    let options = Conv1dOptionsIr { stride, padding, dilation, groups: groups[0] };
                    ModuleOperationIr::Conv1d(Conv1dOpIr { x, weight, bias, options, out })
                } else {
                    let options = Conv2dOptionsIr { stride, padding: window.padding, dilation, groups: groups[0] };
                    ModuleOperationIr::Conv2d(Conv2dOpIr { x, weight, bias, options, out })
                }));
            }
        }
        if relu {
            let relu = UnaryOpIr { input: read(&product), out: out.clone() };
            self.push(OperationIr::Activation(ActivationOperationIr::Relu(relu)));
        }
    }

    fn push(&mut self, op: OperationIr) {
        self.program.operations.push(op);
    }

    fn bias(&mut self, layer: &Layer, shape: Vec<usize>) -> Option<TensorIr> {
        let bias = layer.bias.as_ref()?;
        let tensor = self.shared.tensor(bias, shape.clone(), || bias.to_vec());
        Some(self.constant(tensor, shape, None))
    }

    fn constant(&mut self, tensor: FlexTensor, shape: Vec<usize>, path: Option<String>) -> TensorIr {
        let ir = read(&self.result(&shape));
        self.program.constants.insert(ir.id, Constant { value: HandleKind::Float(tensor), ir: ir.clone(), path });
        ir
    }

    /// Returns the description of a new tensor.
    fn result(&mut self, shape: &[usize]) -> TensorIr {
        let taken = &self.taken;
        let id = self.ids.find(|id| !taken.contains(id)).expect("fewer tensors than numbers");
        TensorIr { id, shape: Shape::from(shape.to_vec()), status: TensorStatus::NotInit, dtype: DType::F32 }
    }
}

/// Returns the description of a use.
fn read(tensor: &TensorIr) -> TensorIr {
    TensorIr { status: TensorStatus::ReadOnly, ..tensor.clone() }
}
