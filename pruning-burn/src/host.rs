//! Reading tensors on the host, without a copy where they are there already.

use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use pruning_core::{Bits, MatrixLayout};

/// A parameter as matrix `[rows, cols]` in 32-bit floats, without gradients.
pub(crate) fn to_matrix<const D: usize>(tensor: Tensor<D>, layout: &MatrixLayout) -> Tensor<2> {
    let tensor = tensor.without_autodiff();
    let tensor = if tensor.dtype() == DType::F32 { tensor } else { tensor.cast(DType::F32) };
    let [outer, rows, inner] = [layout.outer(), layout.rows(), layout.inner()];
    match (outer, inner) {
        (1, _) => tensor.reshape([rows, inner]),
        (_, 1) => tensor.reshape([outer, rows]).swap_dims(0, 1),
        _ => tensor.reshape([outer, rows, inner]).swap_dims(0, 1).reshape([rows, outer * inner]),
    }
}

/// Back to the memory order of the parameter.
fn to_memory(matrix: Tensor<2>, layout: &MatrixLayout) -> Tensor<1> {
    let [outer, rows, inner] = [layout.outer(), layout.rows(), layout.inner()];
    match (outer, inner) {
        (1, _) => matrix.reshape([rows * inner]),
        (_, 1) => matrix.swap_dims(0, 1).reshape([outer * rows]),
        _ => matrix.reshape([rows, outer, inner]).swap_dims(0, 1).reshape([outer * rows * inner]),
    }
}

/// The numbers of a tensor, in host memory.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// Still those of the tensor.
    #[cfg(feature = "flex")]
    Shared(burn::backend::flex::FlexTensor),
    Read(Vec<f32>),
}

impl Numbers {
    /// The scores `matrix` in memory order.
    pub(crate) fn read(matrix: Tensor<2>, layout: &MatrixLayout) -> Self {
        let flat = to_memory(matrix.without_autodiff(), layout);
        #[cfg(feature = "flex")]
        if let Ok(tensor) = flat.clone().try_into_primitive::<burn::backend::Flex>()
            && tensor.as_slice::<f32>().is_some_and(|slice| slice.len() == layout.len())
        {
            return Self::Shared(tensor);
        }
        Self::Read(flat.into_data().iter::<f32>().collect())
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            #[cfg(feature = "flex")]
            Self::Shared(tensor) => tensor.as_slice::<f32>().unwrap_or(&[]),
            Self::Read(numbers) => numbers,
        }
    }
}

/// The bits of a mask that is on a device.
pub(crate) fn bits(keep: Tensor<1, Bool>) -> Bits {
    let data = keep.into_data();
    match data.as_slice::<bool>() {
        Ok(bools) => Bits::from_bools(bools),
        // A device without one-byte booleans.
        Err(_) => Bits::from_bools(&data.iter::<bool>().collect::<Vec<_>>()),
    }
}

/// A mask on a device.
pub(crate) fn keep_on(bits: &Bits, device: &Device) -> Tensor<1, Bool> {
    use burn::tensor::BoolStore;
    let data = TensorData::from_bytes_vec(bits.to_bytes(), [bits.len()], DType::Bool(BoolStore::Native));
    Tensor::from_data(data, device)
}
