//! Sparse layers of either kind: [`Layer`].

use crate::nn::sparse::SparseLayerError;
use crate::nn::sparse::convolution::Convolution;
use crate::nn::sparse::product::Product;
use burn::tensor::Shape;
use std::sync::Arc;

/// A sparse layer of either kind, for an input of the right shape.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    Linear(Arc<Product>),
    Conv2d(Arc<Convolution>),
}

impl Layer {
    /// Returns the shape of the output.
    pub(super) fn output(&self, input: &Shape) -> Shape {
        let mut shape = input.clone();
        match self {
            Self::Linear(product) => {
                let last = shape.num_dims() - 1;
                shape[last] = product.weights.matrix.rows();
            }
            Self::Conv2d(convolution) => {
                // The input was checked against these weights before it came here.
                let output = convolution.shape([input[2], input[3]]).output();
                let [height, width] = output.expect("a convolution that was checked");
                (shape[1], shape[2], shape[3]) = (convolution.weights.matrix.rows(), height, width);
            }
        }
        shape
    }

    /// Makes the plans for an input of this shape on the host.
    pub(super) fn prepare(&self, input: &Shape) -> Result<(), SparseLayerError> {
        match self {
            Self::Linear(product) => product.plans.prepare(&product.weights, batch(input)),
            Self::Conv2d(convolution) => convolution.prepare(input),
        }
    }

    /// Computes the output on the host.
    pub(super) fn run(&self, x: &[f32], input: &Shape) -> (Vec<f32>, Shape) {
        let output = self.output(input);
        let mut y = vec![0.0; output.num_elements()];
        let done = match self {
            Self::Linear(product) => product.plans.run(&product.weights, x, batch(input), &mut y),
            Self::Conv2d(convolution) => convolution.run(x, input, &mut y),
        };
        done.expect("a product that was prepared for this shape");
        (y, output)
    }
}

/// Returns the product of all axes except the last.
fn batch(input: &Shape) -> usize {
    input.iter().rev().skip(1).product()
}
