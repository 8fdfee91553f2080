//! The kernels for CubeCL devices, and the weights on each device.

mod conv;
mod linear;
mod relu;

pub(super) use conv::check;

use crate::nn::sparse::SparseLayerError;
use crate::nn::sparse::layer::Layer;
use crate::nn::sparse::uploads::Buffer;
use crate::nn::sparse::weights::Weights;
use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// Uploads the weights of a layer to a device, unless they are there.
pub(super) fn prepare(layer: &Layer, device: &Device) -> Result<(), SparseLayerError> {
    if let DispatchDevice::Cube(device) = device.as_dispatch() {
        match layer {
            Layer::Linear(product) => product.uploaded(device)?,
            Layer::Conv2d(convolution) => convolution.uploaded(device)?,
        };
    }
    Ok(())
}

/// Returns the biases, or zeros if there are none.
fn biases(weights: &Weights) -> Vec<f32> {
    weights.bias.clone().unwrap_or_else(|| vec![0.0; weights.matrix.rows()])
}

/// Computes the output of a layer.
pub(super) fn run(x: CubeTensor, layer: &Layer) -> CubeTensor {
    let x = into_contiguous(x);
    let shape = layer.output(&x.meta.shape().clone());
    let y = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, DType::F32);
    match layer {
        Layer::Linear(product) => linear::launch(product, x, &y),
        Layer::Conv2d(convolution) => conv::launch(convolution, x, &y),
    }
    y
}

/// Returns a buffer as an argument of a kernel.
fn arg(buffer: &Buffer) -> BufferArg {
    let (array, len) = buffer.parts();
    // SAFETY: the length is that of the array it was made of.
    unsafe { BufferArg::from_raw_parts(array, len) }
}

/// Returns the type of integers that index all of these arrays.
fn address(x: &CubeTensor, y: &CubeTensor, weights: &Buffer) -> AddressType {
    let lengths = [x.meta.shape().num_elements(), y.meta.shape().num_elements(), weights.parts().1];
    AddressType::from_len(lengths.into_iter().max().unwrap_or(0))
}
