//! Sparse layers as an operation of backends.

use crate::nn::sparse::SparseLayerError;
use crate::nn::sparse::conv::Convolution;
use crate::nn::sparse::linear::Product;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::{Device, Shape, Tensor};
use std::sync::Arc;

/// A layer, for an input of the right shape.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    Linear(Arc<Product>),
    Conv2d(Arc<Convolution>),
}

impl Layer {
    /// Shape of the output.
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

    /// Makes what the product of an input of this shape needs, so that nothing can fail in it.
    fn prepare(&self, input: &Shape, device: &Device) -> Result<(), SparseLayerError> {
        match (super::Execution::on(device), self) {
            (super::Execution::Host, Self::Linear(product)) => product.plans.prepare(&product.weights, batch(input)),
            (super::Execution::Host, Self::Conv2d(convolution)) => convolution.prepare(input),
            #[cfg(feature = "cube")]
            (super::Execution::Kernel, layer) => super::cube::prepare(layer, device),
            _ => Ok(()),
        }
    }

    /// The output, on the host.
    fn run(&self, x: &[f32], input: &Shape) -> (Vec<f32>, Shape) {
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

/// Everything but the last axis.
fn batch(input: &Shape) -> usize {
    input.iter().rev().skip(1).product()
}

/// The output of a layer, for an input in single precision that is not empty.
pub(super) fn forward<const D: usize>(x: Tensor<D>, layer: Layer) -> Result<Tensor<D>, SparseLayerError> {
    layer.prepare(&x.shape(), &x.device())?;
    let y = <burn::backend::Dispatch as SparseOps>::sparse(x.into_dispatch(), layer);
    Ok(Tensor::from_dispatch(y))
}

/// What backends do with sparse layers.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
#[diagnostic::on_unimplemented(note = "where Burn fuses operations, `pruning-burn` needs its feature `fusion`")]
pub(super) trait SparseOps: Backend {
    /// The output of a layer for an input in single precision.
    #[fusion(dtype = x, shape = layer.output(x))]
    fn sparse(x: FloatTensor<Self>, layer: Layer) -> FloatTensor<Self>;
}

#[cfg(feature = "flex")]
mod flex {
    use super::{Layer, SparseOps};
    use burn::backend::flex::{FlexTensor, Layout};
    use burn::tensor::{Bytes, DType};

    impl SparseOps for burn::backend::Flex {
        fn sparse(x: FlexTensor, layer: Layer) -> FlexTensor {
            let x = if x.is_contiguous() { x } else { x.to_contiguous() };
            let values = x.as_slice::<f32>().expect("contiguous and in single precision");
            let (y, shape) = layer.run(values, x.layout().shape());
            FlexTensor::new(Bytes::from_elems(y), Layout::contiguous(shape), DType::F32)
        }
    }
}

#[cfg(feature = "ndarray")]
mod ndarray {
    use super::{Layer, SparseOps};
    use burn::backend::NdArray;
    use burn::backend::ndarray::{NdArrayDevice, NdArrayTensor};
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::TensorData;

    impl SparseOps for NdArray {
        fn sparse(x: NdArrayTensor, layer: Layer) -> NdArrayTensor {
            let NdArrayTensor::F32(x) = x else { unreachable!("an input in single precision") };
            let (view, copy);
            view = x.view();
            let values = match view.as_slice() {
                Some(values) => values,
                None => {
                    copy = view.iter().copied().collect::<Vec<f32>>();
                    &copy
                }
            };
            let (y, shape) = layer.run(values, &x.shape().to_vec().into());
            NdArray::float_from_data(TensorData::new(y, shape), &NdArrayDevice::Cpu)
        }
    }
}
