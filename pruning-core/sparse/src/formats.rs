//! Sparse formats, and [`Sparse`], a matrix in any of them.

pub(crate) mod bitmap;
pub(crate) mod blocks;
pub(crate) mod coo;
pub(crate) mod csr;
pub(crate) mod dense;
pub(crate) mod element;
pub(crate) mod format;
#[cfg(test)]
mod hostile_tests;
pub(crate) mod packed;
#[cfg(test)]
pub(crate) mod tests;

pub use bitmap::Bitmap;
pub use blocks::Blocks;
pub use coo::Coo;
pub use csr::{Csr, Indices};
pub use dense::Dense;
pub use element::Element;
pub use format::Format;
pub use packed::Packed;

use crate::SparseError;
use serde::{Deserialize, Serialize};

/// A matrix in any of the formats.
///
/// ```
/// use pruning_sparse::{Dense, Format, Sparse};
/// let dense = Dense::new(2, 3, vec![0.0f32, 2.0, 0.0, 1.0, 0.0, -1.0])?;
/// let sparse = Sparse::from_dense(&dense, Format::Csr16)?;
/// assert_eq!((sparse.nonzeros(), sparse.format()), (3, Format::Csr16));
/// assert_eq!(sparse.to_dense(), dense);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Element", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sparse<T: Element> {
    /// Every element is stored.
    Dense(Dense<T>),
    /// The coordinates of each entry are stored.
    Coo(Coo<T>),
    /// Compressed sparse rows are stored.
    Csr(Csr<T>),
    /// A bit for each element and the values of the set bits are stored.
    Bitmap(Bitmap<T>),
    /// The values and positions of an N:M pattern are stored.
    Packed(Packed<T>),
    /// Block-sparse rows are stored.
    Blocks(Blocks<T>),
}

macro_rules! each {
    ($self:expr, $matrix:ident => $result:expr) => {
        match $self {
            Sparse::Dense($matrix) => $result,
            Sparse::Coo($matrix) => $result,
            Sparse::Csr($matrix) => $result,
            Sparse::Bitmap($matrix) => $result,
            Sparse::Packed($matrix) => $result,
            Sparse::Blocks($matrix) => $result,
        }
    };
}

impl<T: Element> Sparse<T> {
    /// Creates a matrix in a format from a dense matrix.
    ///
    /// # Errors
    /// The matrix does not fit the format: it breaks an N:M pattern, groups or blocks do not fill it, or it is too large for the indices.
    pub fn from_dense(dense: &Dense<T>, format: Format) -> Result<Self, SparseError> {
        Ok(match format {
            Format::Dense => Self::Dense(dense.clone()),
            Format::Coo => Self::Coo(Coo::from_dense(dense)?),
            Format::Csr16 => Self::Csr(Csr::with_width(dense, 2)?),
            Format::Csr32 => Self::Csr(Csr::with_width(dense, 4)?),
            Format::Bitmap => Self::Bitmap(Bitmap::from_dense(dense)),
            Format::Packed { n, m, kernel } => Self::Packed(Packed::from_dense(dense, (n, m), kernel)?),
            Format::Blocks { height, width } => Self::Blocks(Blocks::from_dense(dense, (height, width))?),
        })
    }

    /// Returns the matrix with its zeros.
    #[must_use]
    pub fn to_dense(&self) -> Dense<T> {
        Dense::filled(self.rows(), self.cols(), |f| self.for_each(f))
    }

    /// Returns the format of the matrix.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Dense(_) => Format::Dense,
            Self::Coo(_) => Format::Coo,
            Self::Csr(csr) if csr.indices().width() == 2 => Format::Csr16,
            Self::Csr(_) => Format::Csr32,
            Self::Bitmap(_) => Format::Bitmap,
            Self::Packed(packed) => {
                let (n, m) = packed.pattern();
                Format::Packed { n, m, kernel: packed.kernel() }
            }
            Self::Blocks(blocks) => {
                let (height, width) = blocks.block();
                Format::Blocks { height, width }
            }
        }
    }

    /// Returns the number of rows: the output units.
    #[must_use]
    pub fn rows(&self) -> usize {
        each!(self, matrix => matrix.rows())
    }

    /// Returns the number of columns: the fan-in.
    #[must_use]
    pub fn cols(&self) -> usize {
        each!(self, matrix => matrix.cols())
    }

    /// Calls `f(row, column, value)` for each value that is not zero, row after row, by ascending column.
    pub fn for_each(&self, f: impl FnMut(usize, usize, T)) {
        each!(self, matrix => matrix.for_each(f));
    }

    /// Returns how many elements are not zero.
    #[must_use]
    pub fn nonzeros(&self) -> usize {
        let mut nonzeros = 0;
        self.for_each(|_, _, _| nonzeros += 1);
        nonzeros
    }

    /// Returns the bytes of the arrays, as [`Format::bytes`] predicts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.values().len() * T::BYTES,
            Self::Coo(coo) => coo.bytes(),
            Self::Csr(csr) => csr.bytes(),
            Self::Bitmap(bitmap) => bitmap.bytes(),
            Self::Packed(packed) => packed.bytes(),
            Self::Blocks(blocks) => blocks.bytes(),
        }
    }
}
