//! The rows of the matrix. The only file that names devices.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use libtest_mimic::Trial;
use pruning_burn::trace::{Trace, Values};

/// The devices of `PRUNING_DEVICES`, a list such as `flex,ndarray,wgpu`; `flex` alone if it is not set.
///
/// # Panics
/// A name is unknown, or its feature is off: a device that was asked for and is absent is a failure.
#[must_use]
pub fn devices() -> Vec<(String, Device)> {
    let asked = std::env::var("PRUNING_DEVICES").unwrap_or_else(|_| "flex".to_string());
    let names = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
    let devices: Vec<_> = names.map(|name| (name.to_string(), by_name(name))).collect();
    assert!(!devices.is_empty(), "PRUNING_DEVICES={asked:?} names no device");
    devices
}

fn by_name(name: &str) -> Device {
    match name {
        "flex" => Device::flex(),
        #[cfg(feature = "ndarray")]
        // Deprecated upstream, and still a row of the matrix.
        #[allow(deprecated)]
        "ndarray" => Device::ndarray(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        _ => panic!("PRUNING_DEVICES names {name:?}, which is unknown or not built: --features {name}"),
    }
}

/// The device with autodiff, or that of the CPU where it does not compute in double precision.
#[must_use]
pub fn precise(device: &Device) -> Device {
    let device = if computes_in_double(device) { device.clone() } else { Device::flex() };
    device.autodiff()
}

/// Whether a device has double precision, in exponentials too.
#[must_use]
pub fn computes_in_double(device: &Device) -> bool {
    let exact =
        || Tensor::<1>::from_data(TensorData::from([0.3_f64]), (device, DType::F64)).exp().log().into_scalar::<f64>();
    device.supports_dtype(DType::F64) && (exact() - 0.3).abs() < 1e-14
}

/// Replays a trace on whichever backend the model lives on.
///
/// # Panics
/// It cannot be replayed.
#[must_use]
pub fn replay<M: Module>(trace: &Trace, model: &M, inputs: Values) -> Values {
    let found = trace.replay::<burn::backend::Flex, M>(model, inputs.clone());
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)]
    let found = found.or_else(|_| trace.replay::<burn::backend::NdArray, M>(model, inputs.clone()));
    #[cfg(feature = "wgpu")]
    let found = found.or_else(|_| trace.replay::<burn::backend::Wgpu, M>(model, inputs));
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// A property of the library that must hold on every device.
pub type Property = fn(&Device);

/// One trial for each property on each device.
#[must_use]
pub fn trials(properties: &[(&'static str, Property)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, device) in devices() {
        for &(property, run) in properties {
            let device = device.clone();
            trials.push(Trial::test(format!("{name}::{property}"), move || {
                run(&device);
                Ok(())
            }));
        }
    }
    trials
}
