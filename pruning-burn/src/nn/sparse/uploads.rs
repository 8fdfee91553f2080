//! The weights of a layer on CubeCL devices: [`Kernels`].

use crate::nn::sparse::{SparseLayerError, lock};
use burn::tensor::Bytes;
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::server::Handle;
use std::sync::Mutex;

/// The weights on each device that has needed them.
#[derive(Debug, Default)]
pub(super) struct Kernels(Mutex<Vec<(CubeDevice, Uploaded)>>);

/// The arrays of a layer on a device.
#[derive(Clone, Debug)]
pub(super) struct Uploaded {
    /// The first entry of each slice. For a convolution, the first entry of each row, and the number of entries.
    pub(super) starts: Buffer,
    /// The number of entries of each row. For a convolution, the channel of each entry.
    pub(super) counts: Buffer,
    /// The column of each entry. For a convolution, its row in the kernel, and 16 bits higher its column there.
    pub(super) places: Buffer,
    pub(super) values: Buffer,
    pub(super) bias: Buffer,
}

/// An array on a device.
#[derive(Clone, Debug)]
pub(super) struct Buffer(Handle, usize);

impl Buffer {
    fn new(device: &CubeDevice, len: usize, bytes: Bytes) -> Self {
        Self(device.client().create(bytes), len)
    }

    /// Uploads integers. No device takes an empty array, so an empty one gets an entry that no row reads.
    pub(super) fn integers(device: &CubeDevice, mut values: Vec<u32>) -> Self {
        values.resize(values.len().max(1), 0);
        Self::new(device, values.len(), Bytes::from_elems(values))
    }

    pub(super) fn floats(device: &CubeDevice, mut values: Vec<f32>) -> Self {
        values.resize(values.len().max(1), 0.0);
        Self::new(device, values.len(), Bytes::from_elems(values))
    }

    /// Returns the array on the device, and its length.
    pub(super) fn parts(&self) -> (Handle, usize) {
        (self.0.clone(), self.1)
    }
}

impl Kernels {
    /// Returns the weights on a device. `make` uploads them if they are not there.
    pub(super) fn get(
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
