//! A sparse matrix as named arrays, and back.

use burn::tensor::{Bytes, DType, Shape};
use burn_pack::Tensor;
use pruning_sparse::{Bitmap, Blocks, Coo, Csr, Dense, Element, Format, Indices, Packed, Sparse, SparseError};
use std::collections::BTreeMap;

/// Arrays by their names within a tensor: type, shape and bytes.
pub(crate) type Parts = BTreeMap<String, (DType, Vec<usize>, Vec<u8>)>;

/// Why arrays are no matrix.
#[derive(Debug)]
pub(crate) enum PartsError {
    /// An array is absent or of another type.
    Part(String),
    Sparse(SparseError),
}

impl From<SparseError> for PartsError {
    fn from(error: SparseError) -> Self {
        Self::Sparse(error)
    }
}

/// Numbers that arrays are made of.
trait Number: Copy {
    const TYPE: DType;
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty: $dtype:ident),+) => {$(
        impl Number for $type {
            const TYPE: DType = DType::$dtype;
            const BYTES: usize = size_of::<Self>();

            fn put(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }

            fn take(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap_or_default())
            }
        }
    )+};
}
number!(u16: U16, u32: U32);

/// The bytes of values, least significant first.
pub(crate) fn bytes_of<T: Element>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * T::BYTES);
    values.iter().for_each(|v| bytes.extend(&v.bits().to_le_bytes()[..T::BYTES]));
    bytes
}

/// Values of bytes.
pub(crate) fn values_of<T: Element>(bytes: &[u8]) -> Vec<T> {
    let value = |bytes: &[u8]| {
        let mut bits = [0; 4];
        bits[..T::BYTES].copy_from_slice(bytes);
        // As many bits as the type has are never too wide for it.
        T::from_bits(u32::from_le_bytes(bits)).unwrap_or(T::ZERO)
    };
    bytes.chunks_exact(T::BYTES).map(value).collect()
}

fn numbers<N: Number>(numbers: &[N], shape: Vec<usize>) -> (DType, Vec<usize>, Vec<u8>) {
    let mut bytes = Vec::with_capacity(numbers.len() * N::BYTES);
    numbers.iter().for_each(|n| n.put(&mut bytes));
    (N::TYPE, shape, bytes)
}

fn list<N: Number>(all: &[N]) -> (DType, Vec<usize>, Vec<u8>) {
    numbers(all, vec![all.len()])
}

/// The arrays of a matrix of which the values have type `dtype`.
pub(crate) fn parts<T: Element>(matrix: &Sparse<T>, dtype: DType) -> Parts {
    let values = |values: &[T], shape: Vec<usize>| ("values".to_string(), (dtype, shape, bytes_of(values)));
    let rows = matrix.rows();
    match matrix {
        Sparse::Dense(dense) => [values(dense.values(), vec![rows, dense.cols()])].into(),
        Sparse::Coo(coo) => [
            ("rows".to_string(), list(coo.row_indices())),
            ("columns".to_string(), list(coo.col_indices())),
            values(coo.values(), vec![coo.values().len()]),
        ]
        .into(),
        Sparse::Csr(csr) => {
            let columns = match csr.indices() {
                Indices::U16(indices) => list(indices),
                Indices::U32(indices) => list(indices),
            };
            let len = csr.values().len();
            [
                ("starts".to_string(), list(csr.starts())),
                ("columns".to_string(), columns),
                values(csr.values(), vec![len]),
            ]
            .into()
        }
        Sparse::Bitmap(bitmap) => {
            let words = bitmap.words();
            let shape = vec![rows, words.len() / rows.max(1)];
            let len = bitmap.values().len();
            [("bits".to_string(), numbers(words, shape)), values(bitmap.values(), vec![len])].into()
        }
        Sparse::Packed(packed) => {
            let (words, all) = (packed.positions(), packed.values());
            let shape = |len: usize| vec![rows, len / rows.max(1)];
            [("positions".to_string(), numbers(words, shape(words.len()))), values(all, shape(all.len()))].into()
        }
        Sparse::Blocks(blocks) => {
            let (height, width) = blocks.block();
            let shape = vec![blocks.indices().len(), height, width];
            [
                ("starts".to_string(), list(blocks.starts())),
                ("columns".to_string(), list(blocks.indices())),
                values(blocks.values(), shape),
            ]
            .into()
        }
        // The core has no further format.
        _ => Parts::new(),
    }
}

/// The matrix `[rows, cols]` of a format from its arrays.
pub(crate) fn matrix<T: Element>(
    format: Format,
    (rows, cols): (usize, usize),
    dtype: DType,
    parts: &mut Parts,
) -> Result<Sparse<T>, PartsError> {
    let values = values_of::<T>(&take(parts, "values", dtype)?);
    Ok(match format {
        Format::Dense => Sparse::Dense(Dense::new(rows, cols, values)?),
        Format::Coo => Sparse::Coo(Coo::new(rows, cols, get(parts, "rows")?, get(parts, "columns")?, values)?),
        Format::Csr16 | Format::Csr32 => {
            let starts = get(parts, "starts")?;
            let columns = match format {
                Format::Csr16 => Indices::U16(get(parts, "columns")?),
                _ => Indices::U32(get(parts, "columns")?),
            };
            Sparse::Csr(Csr::new(rows, cols, starts, columns, values)?)
        }
        Format::Bitmap => Sparse::Bitmap(Bitmap::new(rows, cols, get(parts, "bits")?, values)?),
        Format::Packed { n, m, kernel } => {
            Sparse::Packed(Packed::new(rows, cols, (n, m), kernel, get(parts, "positions")?, values)?)
        }
        Format::Blocks { height, width } => {
            let (starts, columns) = (get(parts, "starts")?, get(parts, "columns")?);
            Sparse::Blocks(Blocks::new(rows, cols, (height, width), starts, columns, values)?)
        }
        other => return Err(PartsError::Part(format!("the format {other:?} is unknown"))),
    })
}

fn take(parts: &mut Parts, name: &str, dtype: DType) -> Result<Vec<u8>, PartsError> {
    match parts.remove(name) {
        Some((found, _, bytes)) if found == dtype => Ok(bytes),
        Some((found, ..)) => Err(PartsError::Part(format!("the array {name} has type {found:?}, not {dtype:?}"))),
        None => Err(PartsError::Part(format!("the array {name} is missing"))),
    }
}

fn get<N: Number>(parts: &mut Parts, name: &str) -> Result<Vec<N>, PartsError> {
    Ok(take(parts, name, N::TYPE)?.chunks_exact(N::BYTES).map(N::take).collect())
}

/// Arrays as tensors, each named after the one that it is part of.
pub(crate) fn tensors(path: &str, parts: Parts) -> impl Iterator<Item = Tensor> {
    parts.into_iter().map(move |(part, (dtype, shape, bytes))| {
        let name = format!("{path}.{part}");
        Tensor::new(name, dtype, Shape::from(shape), None, Bytes::from_bytes_vec(bytes))
    })
}
