//! Layers for inference that store and multiply pruned weights without their zeros.
//!
//! | device | how | [`Execution`] |
//! |---|---|---|
//! | Flex (feature `flex`), NdArray (`ndarray`) | on the memory of the tensors, by [`Plan`](pruning_sparse::Plan) | `Host` |
//! | wgpu, Vulkan, Metal, CUDA, ROCm (`cube`, or `fusion` where Burn fuses) | by a kernel; weights are copied to each device once | `Kernel` |
//! | any other, and devices with autodiff | by Burn's own dense layer | `Dense` |
//!
//! # Contract
//!
//! Sparse layers are constants: an `Arc` that no visitor sees and no record carries. A forward is one operation of a backend extension,
//! whose argument is the layer. On the host it borrows the tensor's memory. Plans are made when a batch first needs them, and are shared.
//! A call takes its working memory from a pool and returns it, and never holds a lock, since a waiting rayon thread may start another
//! call. The plan of a batch depends only on the batch, so results do not depend on earlier calls. On CubeCL devices weights are uploaded
//! once for each device: slices of 32 rows, entries side by side, one unit for a row and four samples; convolutions have a unit for each
//! output. Everything that can fail does so before the operation, which cannot return an error. Where Burn fuses, the feature `fusion` is
//! needed, since it decides the type of Burn's backend. On other devices, and under autodiff, Burn's own dense layer runs; its weights
//! are kept for the last device (unless that device records).

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

/// The options for making a sparse layer: the format of the weights, and the activation.
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
    /// The format of the weights; compressed sparse rows if it is `None`.
    ///
    /// On the host it also determines how single samples are multiplied; if it is `None`, [`fastest`](pruning_sparse::fastest) does.
    pub format: Option<Format>,
    /// The activation after the layer, in the same pass over its output.
    pub activation: Activation,
}

impl SparseOptions {
    /// Creates options for compressed sparse rows without an activation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the format of the weights.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Sets the activation after the layer.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

/// The way in which a sparse layer runs on a device.
///
/// ```
/// use burn::tensor::Device;
/// use pruning_burn::nn::Execution;
///
/// assert_eq!(Execution::on(&Device::flex()), Execution::Host);
/// assert_eq!(Execution::on(&Device::flex().autodiff()), Execution::Dense);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// The layer skips zeros, on the host and in the memory of the tensors.
    Host,
    /// The layer skips zeros, with a kernel on the device.
    Kernel,
    /// Burn's own dense layer runs instead, as fast and as large as without pruning. Gradients reach the input.
    Dense,
}

impl Execution {
    /// Returns how sparse layers run on a device in this build.
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

/// An error that keeps a sparse layer from being made, or from taking an input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseLayerError {
    /// The weights do not fit the format, the sizes of the layer are invalid, or the input does not fit the layer.
    #[error(transparent)]
    Sparse(#[from] SparseError),
    /// Weights or inputs have a type that single precision cannot hold.
    #[error("{what} are {dtype:?}, which single precision cannot hold")]
    Type {
        /// The tensors: weights, biases or inputs.
        what: &'static str,
        /// The type of the tensors.
        dtype: DType,
    },
}

/// Returns an error unless single precision can hold values of this type.
fn check_type(what: &'static str, dtype: DType) -> Result<(), SparseLayerError> {
    match dtype {
        DType::F32 | DType::Flex32 | DType::F16 | DType::BF16 => Ok(()),
        dtype => Err(SparseLayerError::Type { what, dtype }),
    }
}

/// Returns an error unless a length is the expected one.
fn check_len(what: &'static str, expected: usize, actual: usize) -> Result<(), SparseLayerError> {
    if expected == actual { Ok(()) } else { Err(SparseError::Length { what, expected, actual }.into()) }
}

/// Returns an error if a number is above its limit.
#[cfg(feature = "cube")]
fn check_most(what: &'static str, limit: usize, actual: usize) -> Result<(), SparseLayerError> {
    if actual <= limit { Ok(()) } else { Err(SparseError::TooLarge { what, limit, actual }.into()) }
}

/// Locks a mutex. A panicked call leaves the content intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
