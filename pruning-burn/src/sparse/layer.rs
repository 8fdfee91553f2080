//! A product with its sparse weights, ready to run.

use crate::sparse::product::{Kind, Product, Window};
use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;
use pruning_sparse::WorkspacePool;
use pruning_sparse::{Activation, ConvPlan, ConvShape, Plan, Sparse, SparseError};
use std::sync::Arc;

/// Weights in the order of their use, shared by all layers that have them.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The weights as they are stored.
    pub(super) matrix: Arc<Sparse<f32>>,
    pub(super) kind: Kind,
    /// The largest number of vectors or images in a call.
    pub(super) batch: usize,
    form: Form,
    /// Memory of finished calls.
    idle: WorkspacePool,
}

#[derive(Debug)]
enum Form {
    Linear(Box<Plan>),
    Conv(Box<ConvPlan>),
}

impl Prepared {
    /// Prepares weights for batches of up to `batch`.
    pub(super) fn new(matrix: Arc<Sparse<f32>>, kind: &Kind, batch: usize) -> Result<Self, SparseError> {
        let form = match kind {
            Kind::Linear => Form::Linear(Box::new(Plan::new(&matrix, batch)?)),
            Kind::Conv(window) => Form::Conv(Box::new(ConvPlan::new(&matrix, &window.shape(), batch)?)),
        };
        Ok(Self { matrix, kind: kind.clone(), batch, form, idle: WorkspacePool::default() })
    }

    /// Returns the bytes of the prepared weights.
    pub(super) fn bytes(&self) -> usize {
        match &self.form {
            Form::Linear(plan) => plan.bytes(),
            Form::Conv(plan) => plan.bytes(),
        }
    }

    /// Returns the numbers of input and output elements of one vector or image.
    fn lengths(&self) -> (usize, usize) {
        match &self.form {
            Form::Linear(plan) => (plan.cols(), plan.rows()),
            Form::Conv(plan) => {
                let shape = plan.shape();
                (shape.channels * shape.input[0] * shape.input[1], plan.output().iter().product())
            }
        }
    }

    fn run(
        &self,
        x: &[f32],
        batch: usize,
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) -> Result<(), SparseError> {
        self.idle.with(|workspace| match &self.form {
            Form::Linear(plan) => plan.run_in(workspace, x, batch, bias, activation, y),
            Form::Conv(plan) => plan.run_in(workspace, x, batch, bias, activation, y),
        })
    }
}

impl Window {
    fn shape(&self) -> ConvShape {
        ConvShape::new(self.channels, self.input, self.kernel)
            .with_stride(self.stride)
            .with_sides(self.padding.map(|(before, after)| [before, after]))
            .with_dilation(self.dilation)
            .with_groups(self.groups)
    }
}

/// A product: weights, bias, activation, and the shape of the output.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) weights: Arc<Prepared>,
    pub(super) bias: Option<Arc<[f32]>>,
    pub(super) activation: Activation,
    pub(super) batch: usize,
    pub(super) output: Vec<usize>,
}

impl Layer {
    pub(super) fn new(product: &Product, weights: Arc<Prepared>, bias: Option<Arc<[f32]>>) -> Self {
        let output = product.out.shape.as_slice().to_vec();
        Self { weights, bias, activation: product.activation, batch: product.batch, output }
    }

    /// Returns whether input and output have these numbers of elements.
    pub(super) fn fits(&self, input: usize, output: usize) -> bool {
        let (cols, rows) = self.weights.lengths();
        let all = |len: usize| len.checked_mul(self.batch);
        let bias = self.bias.as_ref().is_none_or(|b| b.len() == self.weights.matrix.rows());
        bias && self.batch <= self.weights.batch && all(cols) == Some(input) && all(rows) == Some(output)
    }

    /// Returns the output for an input, which is read in place if it is contiguous.
    ///
    /// # Panics
    /// The input does not have the shape of the trace, which callers check before.
    pub(super) fn run(&self, x: FlexTensor) -> FlexTensor {
        let x = if x.as_slice::<f32>().is_some() { x } else { x.to_contiguous() };
        let input = x.as_slice::<f32>().expect("contiguous numbers in single precision");
        let mut y = vec![0.0; self.output.iter().product()];
        let done = self.weights.run(input, self.batch, self.bias.as_deref(), self.activation, &mut y);
        done.expect("shapes of the trace");
        FlexTensor::from_data(TensorData::new(y, self.output.clone()))
    }
}
