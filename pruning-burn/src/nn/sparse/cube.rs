//! Kernels for every device of CubeCL, and the weights on each of them.

mod conv;
mod linear;
mod relu;

pub(super) use conv::check;

use crate::nn::sparse::SparseLayerError;
use crate::nn::sparse::ops::{Layer, SparseOps};
use crate::nn::sparse::weights::{Weights, lock};
use burn::backend::DispatchDevice;
use burn::tensor::{Bytes, DType, Device};
use burn_cubecl::cubecl::{prelude::*, server::Handle};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use std::sync::Mutex;

/// The weights on each device that has needed them.
#[derive(Debug, Default)]
pub(super) struct Kernels(Mutex<Vec<(CubeDevice, Uploaded)>>);

/// Arrays on a device.
#[derive(Clone, Debug)]
struct Uploaded {
    /// The first entry of each slice; for a convolution of each row, and the number of entries.
    starts: Buffer,
    /// Entries of each row; for a convolution the channel of each entry.
    counts: Buffer,
    /// The column of each entry; for a convolution its row in the kernel, and 16 bits higher its column there.
    places: Buffer,
    values: Buffer,
    bias: Buffer,
}

/// An array on a device.
#[derive(Clone, Debug)]
struct Buffer(Handle, usize);

impl Buffer {
    fn new(device: &CubeDevice, len: usize, bytes: Bytes) -> Self {
        Self(device.client().create(bytes), len)
    }

    /// No device takes an empty one, and what no row begins with is not read.
    fn integers(device: &CubeDevice, mut values: Vec<u32>) -> Self {
        values.resize(values.len().max(1), 0);
        Self::new(device, values.len(), Bytes::from_elems(values))
    }

    fn floats(device: &CubeDevice, mut values: Vec<f32>) -> Self {
        values.resize(values.len().max(1), 0.0);
        Self::new(device, values.len(), Bytes::from_elems(values))
    }

    fn arg(&self) -> BufferArg {
        // SAFETY: the length is that of the array it was made of.
        unsafe { BufferArg::from_raw_parts(self.0.clone(), self.1) }
    }
}

impl Kernels {
    /// The weights on a device, which `make` puts there if they are not.
    fn get(
        &self,
        device: &CubeDevice,
        make: impl FnOnce() -> Result<Uploaded, SparseLayerError>,
    ) -> Result<Uploaded, SparseLayerError> {
        let mut all = lock(&self.0);
        if let Some((_, uploaded)) = all.iter().find(|(here, _)| here == device) {
            return Ok(uploaded.clone());
        }
        let uploaded = make()?;
        all.push((device.clone(), uploaded.clone()));
        Ok(uploaded)
    }
}

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

impl SparseOps for CubeBackend {
    fn sparse(x: CubeTensor, layer: Layer) -> CubeTensor {
        let x = into_contiguous(x);
        let shape = layer.output(&x.meta.shape().clone());
        let y = empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, DType::F32);
        match layer {
            Layer::Linear(product) => linear::launch(&product, x, &y),
            Layer::Conv2d(convolution) => conv::launch(&convolution, x, &y),
        }
        y
    }
}

/// Integers that index all of some arrays.
fn address(x: &CubeTensor, y: &CubeTensor, weights: &Buffer) -> AddressType {
    let lengths = [x.meta.shape().num_elements(), y.meta.shape().num_elements(), weights.1];
    AddressType::from_len(lengths.into_iter().max().unwrap_or(0))
}
