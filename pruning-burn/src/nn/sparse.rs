//! Layers for inference, whose pruned weights are kept, and multiplied, without their zeros.
//!
//! | device | how | [`Execution`] |
//! |---|---|---|
//! | Flex (feature `flex`), NdArray (`ndarray`) | on the memory of the tensors, by [`Plan`](pruning_sparse::Plan) | `Host` |
//! | wgpu, Vulkan, Metal, CUDA, ROCm (`cube`, or `fusion` where Burn fuses) | a kernel; weights are copied to each device once | `Kernel` |
//! | any other, and devices with autodiff | Burn's own layer, of weights with their zeros | `Dense` |
//!
//! # Contract
//!
//! Sparse layers are constants: an `Arc` that no visitor sees and no record carries. A forward is one operation of a backend extension,
//! whose argument is the layer. On the host it borrows the tensor's memory; plans are made when a batch first needs them and are shared,
//! and memory that a call works in is taken from a pool and given back, never held locked, since a rayon thread that waits may start
//! another call. Which plan a batch takes depends on the batch alone, so that results do not depend on earlier calls. On CubeCL devices
//! weights are uploaded once for each device: slices of 32 rows, entries side by side, one unit for a row and four samples; convolutions
//! have a unit for each output. Whatever can fail does so before the operation, which cannot return an error. Where Burn fuses, the
//! feature `fusion` is needed: it decides the type of Burn's backend. Elsewhere, and under autodiff, Burn's own layer runs on weights with
//! their zeros, kept for the last device (but not for one that records).

mod conv;
mod convolution;
// Launches of CubeCL kernels are unsafe: the only ones of this crate.
#[cfg(feature = "cube")]
#[allow(unsafe_code)]
mod cube;
mod layer;
mod linear;
// Burn deprecates its NdArray backend as a whole.
#[cfg_attr(feature = "ndarray", allow(deprecated))]
mod ops;
mod product;
#[cfg(feature = "cube")]
mod uploads;
mod weights;

pub use conv::SparseConv2d;
pub use linear::SparseLinear;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device};
use pruning_sparse::{Activation, Format, SparseError};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a sparse layer is made.
///
/// ```
/// use pruning_burn::nn::SparseOptions;
/// use pruning_sparse::{Activation, Format};
/// let options = SparseOptions::new().with_format(Format::Bitmap).with_activation(Activation::Relu);
/// assert_eq!(options.format, Some(Format::Bitmap));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SparseOptions {
    /// The format the weights are kept in; compressed sparse rows if none is given. On the host it decides how single samples
    /// are multiplied, too, which [`fastest`](pruning_sparse::fastest) does if none is given.
    pub format: Option<Format>,
    /// What follows the layer, in the same pass over its output.
    pub activation: Activation,
}

impl SparseOptions {
    /// Compressed sparse rows, and no activation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a format for the weights.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// With an activation after the layer.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

/// What a sparse layer does on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// Products without zeros, on the host and in the memory of the tensors.
    Host,
    /// Products without zeros, by a kernel on the device.
    Kernel,
    /// Burn's own layer, of weights with their zeros: as fast as the dense layer, and as large. Gradients reach the input.
    Dense,
}

impl Execution {
    /// What sparse layers do on a device, in this build.
    #[must_use]
    pub fn on(device: &Device) -> Self {
        match device.as_dispatch() {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => Self::Host,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => Self::Host,
            #[cfg(feature = "cube")]
            DispatchDevice::Cube(_) => Self::Kernel,
            #[allow(unreachable_patterns)]
            _ => Self::Dense,
        }
    }
}

/// Why a sparse layer cannot be made of a layer, or cannot take an input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseLayerError {
    /// The weights do not fit the format, the layer is none, or the input does not fit the layer.
    #[error(transparent)]
    Sparse(#[from] SparseError),
    /// Weights or inputs that single precision does not hold.
    #[error("{what} are {dtype:?}, which single precision does not hold")]
    Type {
        /// Weights or inputs.
        what: &'static str,
        /// Their type.
        dtype: DType,
    },
}

/// An error unless single precision holds values of this type.
fn check_type(what: &'static str, dtype: DType) -> Result<(), SparseLayerError> {
    match dtype {
        DType::F32 | DType::Flex32 | DType::F16 | DType::BF16 => Ok(()),
        dtype => Err(SparseLayerError::Type { what, dtype }),
    }
}

/// An error unless a length is what belongs there.
fn check_len(what: &'static str, expected: usize, actual: usize) -> Result<(), SparseLayerError> {
    if expected == actual { Ok(()) } else { Err(SparseError::Length { what, expected, actual }.into()) }
}

/// An error if a number is above what holds it.
#[cfg(feature = "cube")]
fn check_most(what: &'static str, limit: usize, actual: usize) -> Result<(), SparseLayerError> {
    if actual <= limit { Ok(()) } else { Err(SparseError::TooLarge { what, limit, actual }.into()) }
}

/// What a lock guards; a call that panicked has left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
