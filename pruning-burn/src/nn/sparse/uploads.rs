//! The weights of a layer on the devices of CubeCL: [`Kernels`].

use crate::nn::sparse::{SparseLayerError, lock};
use burn::tensor::Bytes;
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::server::Handle;
use std::sync::Mutex;

/// The weights on each device that has needed them.
#[derive(Debug, Default)]
pub(super) struct Kernels(Mutex<Vec<(CubeDevice, Uploaded)>>);

/// Arrays on a device.
#[derive(Clone, Debug)]
pub(super) struct Uploaded {
    /// The first entry of each slice; for a convolution of each row, and the number of entries.
    pub(super) starts: Buffer,
    /// Entries of each row; for a convolution the channel of each entry.
    pub(super) counts: Buffer,
    /// The column of each entry; for a convolution its row in the kernel, and 16 bits higher its column there.
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

    /// No device takes an empty one, and what no row begins with is not read.
    pub(super) fn integers(device: &CubeDevice, mut values: Vec<u32>) -> Self {
        values.resize(values.len().max(1), 0);
        Self::new(device, values.len(), Bytes::from_elems(values))
    }

    pub(super) fn floats(device: &CubeDevice, mut values: Vec<f32>) -> Self {
        values.resize(values.len().max(1), 0.0);
        Self::new(device, values.len(), Bytes::from_elems(values))
    }

    /// The array on the device, and its length.
    pub(super) fn parts(&self) -> (Handle, usize) {
        (self.0.clone(), self.1)
    }
}

impl Kernels {
    /// The weights on a device, which `make` puts there if they are not.
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
