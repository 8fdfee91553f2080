//! The reading of tensors on the host, without a copy if they are there already.

use burn::tensor::kind::Transaction as Transactional;
use burn::tensor::{Bool, Bytes, DType, Device, Tensor, TensorData, Transaction};
#[cfg(feature = "flex")]
use pruning_core::budget::Scores;
use pruning_core::mask::Bits;
use pruning_core::score::MatrixLayout;
#[cfg(feature = "flex")]
use pruning_core::score::Order;

/// Returns a parameter as a matrix `[rows, cols]` of 32-bit floats (64-bit if it has those), without gradients.
pub(crate) fn to_matrix<const D: usize>(tensor: Tensor<D>, layout: &MatrixLayout) -> Tensor<2> {
    let tensor = tensor.without_autodiff();
    let tensor = if matches!(tensor.dtype(), DType::F32 | DType::F64) { tensor } else { tensor.cast(DType::F32) };
    let [outer, rows, inner] = [layout.outer(), layout.rows(), layout.inner()];
    match (outer, inner) {
        (1, _) => tensor.reshape([rows, inner]),
        (_, 1) => tensor.reshape([outer, rows]).swap_dims(0, 1),
        _ => tensor.reshape([outer, rows, inner]).swap_dims(0, 1).reshape([rows, outer * inner]),
    }
}

/// Returns a matrix in the memory order of the parameter.
fn to_memory(matrix: Tensor<2>, layout: &MatrixLayout) -> Tensor<1> {
    let [outer, rows, inner] = [layout.outer(), layout.rows(), layout.inner()];
    match (outer, inner) {
        (1, _) => matrix.reshape([rows * inner]),
        (_, 1) => matrix.swap_dims(0, 1).reshape([outer * rows]),
        _ => matrix.reshape([rows, outer, inner]).swap_dims(0, 1).reshape([outer * rows * inner]),
    }
}

/// The values of a tensor in host memory.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// Values in the memory of the tensor.
    #[cfg(feature = "flex")]
    Shared(burn::backend::flex::FlexTensor),
    Read(Vec<f32>),
    /// Values in double precision, and rounded to single precision.
    Double(Vec<f64>, Vec<f32>),
}

/// Reads score matrices in the memory order of their parameters: in place on the CPU, by one read from any other device.
pub(crate) fn read(matrices: Vec<(Tensor<2>, MatrixLayout)>) -> Vec<Numbers> {
    let flat: Vec<_> = matrices.into_iter().map(|(m, layout)| to_memory(m.without_autodiff(), &layout)).collect();
    #[cfg(feature = "flex")]
    if let Some(shared) = flat.iter().map(shared).collect() {
        return shared;
    }
    let read = by_device(&flat.iter().map(Tensor::device).collect::<Vec<_>>(), |i| flat[i].clone());
    let numbers = |data: TensorData| match data.dtype() {
        DType::F64 => {
            let exact: Vec<f64> = data.iter::<f64>().collect();
            let rounded = exact.iter().map(|&v| round(v)).collect();
            Numbers::Double(exact, rounded)
        }
        _ => Numbers::Read(data.iter::<f32>().collect()),
    };
    read.into_iter().map(numbers).collect()
}

/// Reads a tensor in single precision: in place on the CPU.
#[cfg(feature = "trace")]
pub(crate) fn numbers(flat: Tensor<1>) -> Numbers {
    let flat = flat.without_autodiff();
    let flat = if flat.dtype() == DType::F32 { flat } else { flat.cast(DType::F32) };
    #[cfg(feature = "flex")]
    if let Some(shared) = shared(&flat) {
        return shared;
    }
    Numbers::Read(flat.into_data().iter::<f32>().collect())
}

/// Rounds to single precision, so that a finite number stays finite.
fn round(value: f64) -> f32 {
    let rounded = value as f32;
    if value.is_finite() { rounded.clamp(f32::MIN, f32::MAX) } else { rounded }
}

#[cfg(feature = "flex")]
fn shared(flat: &Tensor<1>) -> Option<Numbers> {
    let tensor = flat.clone().try_into_primitive::<burn::backend::Flex>().ok()?;
    let whole = tensor.as_slice::<f32>().is_some_and(|slice| slice.len() == flat.dims()[0]);
    whole.then_some(Numbers::Shared(tensor))
}

impl Numbers {
    /// Multiplies single-precision values by a factor. Doubles already contain it.
    #[cfg(feature = "trace")]
    pub(crate) fn times(self, factor: f32) -> Self {
        let times = |v: &f32| round(f64::from(*v) * f64::from(factor));
        match self {
            numbers if factor == 1.0 => numbers,
            Self::Double(exact, rounded) => Self::Double(exact, rounded.iter().map(times).collect()),
            single => Self::Read(single.as_slice().iter().map(times).collect()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            #[cfg(feature = "flex")]
            Self::Shared(tensor) => tensor.as_slice::<f32>().unwrap_or(&[]),
            Self::Read(numbers) | Self::Double(_, numbers) => numbers,
        }
    }

    /// Returns the values in double precision, if they have it.
    pub(crate) fn exact(&self) -> Option<&[f64]> {
        match self {
            Self::Double(exact, _) => Some(exact),
            _ => None,
        }
    }

    /// Multiplies doubles by a factor. Single-precision values stay, since ranking multiplies them.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Double(exact, rounded) => Self::Double(exact.into_iter().map(|v| v * factor).collect(), rounded),
            single => single,
        }
    }
}

/// Reads tensors in one transaction for each device, since every read waits for the device.
fn by_device<K: Transactional>(devices: &[Device], tensor: impl Fn(usize) -> Tensor<1, K>) -> Vec<TensorData> {
    let mut read: Vec<Option<TensorData>> = devices.iter().map(|_| None).collect();
    while let Some(first) = read.iter().position(Option::is_none) {
        let here: Vec<_> =
            (first..devices.len()).filter(|&i| read[i].is_none() && devices[i] == devices[first]).collect();
        let transaction = here.iter().fold(Transaction::default(), |t, &i| t.register(tensor(i)));
        for (i, data) in here.into_iter().zip(transaction.execute()) {
            read[i] = Some(data);
        }
    }
    read.into_iter().flatten().collect()
}

/// Returns a parameter in memory order, without gradients, and dequantized if it has packed integers.
pub(crate) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let tensor = tensor.without_autodiff();
    let tensor = if matches!(tensor.dtype(), DType::QFloat(_)) { tensor.dequantize() } else { tensor };
    let len = tensor.shape().num_elements();
    tensor.reshape([len])
}

/// Returns whether two tensors have the same values. A NaN equals a NaN.
pub(crate) fn same<const D: usize>(one: Tensor<D>, other: Tensor<D>) -> bool {
    if one.dtype() != other.dtype() {
        return false;
    }
    let (one, other) = (flat(one), flat(other));
    // Clones are recognized without comparing their values.
    #[cfg(feature = "flex")]
    if let (Some(Numbers::Shared(one)), Some(Numbers::Shared(other))) = (shared(&one), shared(&other))
        && one.bytes().as_ptr() == other.bytes().as_ptr()
        && one.layout().start_offset() == other.layout().start_offset()
    {
        return true;
    }
    let other = other.to_device(&one.device());
    let same = one.clone().equal(other.clone()).bool_or(one.is_nan().bool_and(other.is_nan()));
    same.all().into_data().iter::<bool>().all(|same| same)
}

/// Returns whether all values of each tensor are finite. On a device other than the CPU, a sum on the device tells.
pub(crate) fn finite(tensors: &[Tensor<1>]) -> Vec<bool> {
    let numbers = |tensor: &Tensor<1>| {
        #[cfg(feature = "flex")]
        if let Some(numbers) = shared(tensor) {
            return Some(Scores::new(numbers.as_slice(), Order::Value).is_ok());
        }
        let _ = tensor;
        None
    };
    let mut finite: Vec<Option<bool>> = tensors.iter().map(numbers).collect();
    let open: Vec<usize> = (0..tensors.len()).filter(|&i| finite[i].is_none()).collect();
    let devices: Vec<_> = open.iter().map(|&i| tensors[i].device()).collect();
    // Zero times a value that is not finite is NaN.
    let sums = by_device(&devices, |i| tensors[open[i]].clone().mul_scalar(0.0).sum());
    for (i, sum) in open.into_iter().zip(sums) {
        finite[i] = Some(sum.iter::<f64>().all(f64::is_finite));
    }
    finite.into_iter().map(|finite| finite.unwrap_or(true)).collect()
}

/// Reads the bits of masks on devices, with a boolean for each element.
pub(crate) fn bits(keep: &[Tensor<1, Bool>]) -> Vec<Bits> {
    let data = by_device(&keep.iter().map(Tensor::device).collect::<Vec<_>>(), |i| keep[i].clone());
    let bits = |data: TensorData| match data.as_slice::<bool>() {
        Ok(bools) => Bits::from_bools(bools),
        // The device has no one-byte booleans.
        Err(_) => Bits::from_bools(&data.iter::<bool>().collect::<Vec<_>>()),
    };
    data.into_iter().map(bits).collect()
}

/// Returns a mask in the form that its device uses.
///
/// Burn does not convert booleans that move between backends, and the second backend may not read the first one's: wgpu stores
/// four bytes for each, of which Flex reads one.
pub(crate) fn settled(keep: Tensor<1, Bool>) -> Tensor<1, Bool> {
    let native = Tensor::<1, Bool>::from_data([true], &keep.device()).dtype();
    if keep.dtype() == native { keep } else { keep_on(&bits(std::slice::from_ref(&keep))[0], &keep.device()) }
}

/// Creates a mask on a device.
pub(crate) fn keep_on(bits: &Bits, device: &Device) -> Tensor<1, Bool> {
    use burn::tensor::BoolStore;
    // `from_bytes_vec` would copy them to memory that is aligned for larger elements.
    let bytes = Bytes::from_elems(bits.to_bytes());
    let data = TensorData::from_bytes(bytes, [bits.len()], DType::Bool(BoolStore::Native));
    Tensor::from_data(data, device)
}
