//! Kernels for every device of CubeCL, and the weights on each of them.

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

/// Puts the weights of a layer on a device, if they are not there.
pub(super) fn prepare(layer: &Layer, device: &Device) -> Result<(), SparseLayerError> {
    if let DispatchDevice::Cube(device) = device.as_dispatch() {
        match layer {
            Layer::Linear(product) => product.uploaded(device)?,
            Layer::Conv2d(convolution) => convolution.uploaded(device)?,
        };
    }
    Ok(())
}

/// Biases, zeros where there is none.
fn biases(weights: &Weights) -> Vec<f32> {
    weights.bias.clone().unwrap_or_else(|| vec![0.0; weights.matrix.rows()])
}

/// The output of a layer.
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

/// An argument of a kernel.
fn arg(buffer: &Buffer) -> BufferArg {
    let (array, len) = buffer.parts();
    // SAFETY: the length is that of the array it was made of.
    unsafe { BufferArg::from_raw_parts(array, len) }
}

/// Integers that index all of some arrays.
fn address(x: &CubeTensor, y: &CubeTensor, weights: &Buffer) -> AddressType {
    let lengths = [x.meta.shape().num_elements(), y.meta.shape().num_elements(), weights.parts().1];
    AddressType::from_len(lengths.into_iter().max().unwrap_or(0))
}
