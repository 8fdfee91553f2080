//! The operation of backends that runs sparse layers.

#[cfg(feature = "cube")]
use crate::nn::sparse::cube;
use crate::nn::sparse::layer::Layer;
use crate::nn::sparse::{Execution, SparseLayerError};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::{Device, Shape, Tensor};

/// Computes the output of a layer for a non-empty input in single precision.
pub(super) fn forward<const D: usize>(x: Tensor<D>, layer: Layer) -> Result<Tensor<D>, SparseLayerError> {
    prepare(&layer, &x.shape(), &x.device())?;
    let y = <burn::backend::Dispatch as SparseOps>::sparse(x.into_dispatch(), layer);
    Ok(Tensor::from_dispatch(y))
}

/// Prepares the product for an input of this shape, so that running it cannot fail.
fn prepare(layer: &Layer, input: &Shape, device: &Device) -> Result<(), SparseLayerError> {
    match Execution::on(device) {
        Execution::Host => layer.prepare(input),
        #[cfg(feature = "cube")]
        Execution::Kernel => cube::prepare(layer, device),
        _ => Ok(()),
    }
}

/// A backend that can run sparse layers.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
#[diagnostic::on_unimplemented(note = "where Burn fuses operations, `pruning-burn` needs its feature `fusion`")]
pub(super) trait SparseOps: Backend {
    /// Computes the output of a layer for an input in single precision.
    #[fusion(dtype = x, shape = layer.output(x))]
    fn sparse(x: FloatTensor<Self>, layer: Layer) -> FloatTensor<Self>;
}

#[cfg(feature = "flex")]
mod flex {
    use super::{Layer, SparseOps};
    use burn::backend::flex::{FlexTensor, Layout};
    use burn::tensor::{Bytes, DType};

    impl SparseOps for burn::backend::Flex {
        fn sparse(x: FlexTensor, layer: Layer) -> FlexTensor {
            let x = if x.is_contiguous() { x } else { x.to_contiguous() };
            let values = x.as_slice::<f32>().expect("contiguous and in single precision");
            let (y, shape) = layer.run(values, x.layout().shape());
            FlexTensor::new(Bytes::from_elems(y), Layout::contiguous(shape), DType::F32)
        }
    }
}

#[cfg(feature = "ndarray")]
mod ndarray {
    use super::{Layer, SparseOps};
    use burn::backend::NdArray;
    use burn::backend::ndarray::{NdArrayDevice, NdArrayTensor};
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::TensorData;

    impl SparseOps for NdArray {
        fn sparse(x: NdArrayTensor, layer: Layer) -> NdArrayTensor {
            let NdArrayTensor::F32(x) = x else { unreachable!("an input in single precision") };
            let (view, copy);
            view = x.view();
            let values = match view.as_slice() {
                Some(values) => values,
                None => {
                    copy = view.iter().copied().collect::<Vec<f32>>();
                    &copy
                }
            };
            let (y, shape) = layer.run(values, &x.shape().to_vec().into());
            NdArray::float_from_data(TensorData::new(y, shape), &NdArrayDevice::Cpu)
        }
    }
}

#[cfg(feature = "cube")]
impl SparseOps for burn_cubecl::CubeBackend {
    fn sparse(x: burn_cubecl::tensor::CubeTensor, layer: Layer) -> burn_cubecl::tensor::CubeTensor {
        cube::run(x, &layer)
    }
}
