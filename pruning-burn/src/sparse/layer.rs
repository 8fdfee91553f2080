//! One product with its sparse weights, ready to run.

use super::product::{Kind, Product, Window};
use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;
use pruning_core::sparse::{Activation, ConvPlan, ConvShape, Plan, Sparse, SparseError, Workspace};
use std::sync::{Arc, Mutex, PoisonError};

/// What is there once for all threads, and taken by one at a time.
#[derive(Debug)]
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pool<T> {
    fn with<R>(&self, make: impl FnOnce() -> T, f: impl FnOnce(&mut T) -> R) -> R {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut item = idle.unwrap_or_else(make);
        let result = f(&mut item);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        result
    }
}

/// Weights in the order of use, for all layers that have them.
#[derive(Debug)]
pub(super) enum Prepared {
    Linear {
        plan: Plan,
        idle: Pool<Workspace>,
    },
    Conv {
        plan: ConvPlan,
        /// Plans work in memory of their own.
        idle: Pool<ConvPlan>,
    },
}



impl Prepared {
    /// For batches of up to `batch`.
    pub(super) fn new(matrix: &Sparse<f32>, kind: &Kind, batch: usize) -> Result<Self, SparseError> {
        Ok(match kind {
            Kind::Linear => {
                Self::Linear { plan: Plan::new(matrix, batch)?, idle: Pool::default() }
            }
            Kind::Conv(window) => {
                let plan = ConvPlan::new(matrix, &window.shape(), batch)?;
                Self::Conv { plan, idle: Pool::default() }
            }
        })
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Linear { plan, .. } => plan.bytes(),
            Self::Conv { plan, .. } => plan.bytes(),
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
        match self {
            Self::Linear { plan, idle } => {
                idle.with(|| plan.workspace(), |workspace| plan.run_in(workspace, x, batch, bias, activation, y))
            }
            Self::Conv { plan, idle } => idle.with(|| plan.clone(), |own| own.run(x, batch, bias, activation, y)),
        }
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

/// A product: weights, bias, what follows, and the shape of what comes out.
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

    /// The result for an input, which is read in place where its elements lie one after the other.
    ///
    /// # Panics
    /// The input has not the shape of the trace, which is checked before anything runs.
    pub(super) fn run(&self, x: FlexTensor) -> FlexTensor {
        let x = if x.as_slice::<f32>().is_some() { x } else { x.to_contiguous() };
        let input = x.as_slice::<f32>().expect("contiguous numbers in single precision");
        let mut y = vec![0.0; self.output.iter().product()];
        let done = self.weights.run(input, self.batch, self.bias.as_deref(), self.activation, &mut y);
        done.expect("shapes of the trace");
        FlexTensor::from_data(TensorData::new(y, self.output.clone()))
    }
}
