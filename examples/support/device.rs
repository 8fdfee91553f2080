//! Devices by the name they have on a command line.

use burn::tensor::Device;

/// The device called `name`: `flex`, or `ndarray` and `wgpu` where the program is built with those features.
///
/// # Errors
/// The name is unknown, or its feature is off.
pub fn by_name(name: &str) -> Result<Device, DeviceError> {
    match name {
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        // Deprecated upstream, and still a device that people use.
        #[allow(deprecated)]
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(not(feature = "ndarray"))]
        "ndarray" => Err(DeviceError::NotBuilt { name: name.to_string() }),
        #[cfg(not(feature = "wgpu"))]
        "wgpu" => Err(DeviceError::NotBuilt { name: name.to_string() }),
        _ => Err(DeviceError::Unknown { name: name.to_string() }),
    }
}

/// A name that is no device here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No device has this name.
    #[error("unknown device {name:?}; there are: flex, ndarray, wgpu")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The program is built without it.
    #[error("device {name:?} is not in this build: run it with `--features pruning-examples/{name}`")]
    NotBuilt {
        /// The name.
        name: String,
    },
}
