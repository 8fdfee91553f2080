//! The replay of a batch on whatever backend the model is on: [`watch`].

use crate::trace::{ReplayBackend, ReplayError, Tap, Trace, Values};
use burn::backend::{DispatchTensor, Flex};
use burn::module::Module;
use burn::tensor::Bool;
use burn::tensor::{DType, Device, Float, Int, Tensor, TensorData, kind::Basic};

/// Replays a trace on the backend of the model, and shows each tap.
///
/// A backend that this crate was built without runs on the CPU instead, on copies.
pub(super) fn watch<M: Module, E: From<ReplayError>>(
    trace: &Trace,
    model: &M,
    inputs: Vec<TensorData>,
    taps: &[Tap],
    mut see: impl FnMut(usize, DispatchTensor) -> Result<(), E>,
) -> Result<(), E> {
    let device = model.devices().into_iter().next().unwrap_or_default().without_autodiff();
    let on = |device: &Device| inputs.iter().fold(Values::new(), |values, data| with(values, data.clone(), device));
    if is::<Flex>(&device) {
        return trace.watch::<Flex, M, E>(model, on(&device), taps, see);
    }
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)]
    if is::<burn::backend::NdArray>(&device) {
        return trace.watch::<burn::backend::NdArray, M, E>(model, on(&device), taps, see);
    }
    #[cfg(feature = "cube")]
    if is::<burn_cubecl::Cube>(&device) {
        return trace.watch::<burn_cubecl::Cube, M, E>(model, on(&device), taps, see);
    }
    let device = Device::flex();
    trace.watch::<Flex, M, E>(&model.clone().to_device(&device), on(&device), taps, &mut see)
}

/// Whether a device is one of this backend.
fn is<B: ReplayBackend>(device: &Device) -> bool {
    B::take(Tensor::<1>::zeros([1], device).into_dispatch()).is_ok()
}

fn with(values: Values, data: TensorData, device: &Device) -> Values {
    fn put<K: Basic>(
        values: Values,
        data: TensorData,
        options: impl Into<burn::tensor::TensorCreationOptions>,
    ) -> Values {
        macro_rules! ranks {
            ($($rank:literal),+) => {
                match data.shape().as_slice().len() {
                    $($rank => values.with(Tensor::<$rank, K>::from_data(data, options)),)+
                    _ => values,
                }
            };
        }
        ranks!(1, 2, 3, 4, 5, 6, 7, 8)
    }
    match data.dtype() {
        dtype if dtype.is_float() => put::<Float>(values, data, (device, dtype)),
        DType::Bool(_) => put::<Bool>(values, data, device),
        _ => put::<Int>(values, data, device),
    }
}
