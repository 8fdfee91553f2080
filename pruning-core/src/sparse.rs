//! Sparse matrices, and products and convolutions with them.
//!
//! A pruned weight matrix `[rows, cols]`, rows = output units, columns = fan-in, in the format that suits it:
//!
//! | format | what is stored | single precision: smaller than dense iff |
//! |---|---|---|
//! | [`Dense`] | every element | |
//! | [`Coo`] | row, column, value of each entry | more than two thirds are zeros (`n m > 3 k`) |
//! | [`Csr`] | starts of rows; column (16 or 32 bits) and value of each entry | more than a third, or a half, are zeros |
//! | [`Bitmap`] | a bit for each element, the values of the set ones | more than one of 32 is zero |
//! | [`Packed`] | N:M: `n` values of every `m`, and their positions | `n (32 + ceil(log2 m)) < 32 m` |
//! | [`Blocks`] | columns and elements of the blocks that are not all zero | with blocks of 4 x 4, more than one of 17 is zero |
//!
//! Row pointers and padding are left out of this table; [`Format::bytes`] counts every byte of the arrays, before anything is built.
//! Conversions are exact, bit for bit: only the all-zero bit pattern is a zero (see [`Element`]). [`smallest`] and [`fastest`] choose a
//! format; a [`Plan`] multiplies with a matrix of any, and a [`ConvPlan`] convolves with it.
//!
//! ```
//! use pruning_core::sparse::{Dense, Format, Sparse};
//! let dense = Dense::new(2, 4, vec![0.5f32, 0.0, 0.0, -1.0, 0.0, 2.0, 0.0, 0.0])?;
//! let packed = Sparse::from_dense(&dense, Format::Packed { n: 2, m: 4, kernel: 1 })?;
//! assert_eq!(packed.to_dense(), dense);
//! assert_eq!(packed.bytes() as u64, Format::Packed { n: 2, m: 4, kernel: 1 }.bytes(2, 4, 3, 4));
//! // Three words an entry: 3 entries of 8 elements are not yet sparse enough for coordinates.
//! assert!(Format::Coo.bytes(2, 4, 3, 4) > Format::Dense.bytes(2, 4, 3, 4));
//! # Ok::<(), pruning_core::sparse::SparseError>(())
//! ```

mod bitmap;
mod blocks;
mod choose;
mod convolve;
mod coo;
mod csr;
mod dense;
mod dot;
mod element;
mod error;
mod format;
#[cfg(test)]
mod hostile_tests;
mod level;
mod output;
mod packed;
mod panels;
mod plan;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;
mod transpose;
mod workspace;

pub use bitmap::Bitmap;
pub use blocks::Blocks;
pub use choose::{fastest, smallest};
#[doc(hidden)]
pub use convolve::Way;
pub use convolve::{ConvPlan, ConvShape};
pub use coo::Coo;
pub use csr::{Csr, Indices};
pub use dense::Dense;
pub use element::Element;
pub use error::SparseError;
pub use format::Format;
#[doc(hidden)]
pub use level::Level;
pub use output::Activation;
pub use packed::Packed;
pub use plan::Plan;
pub use workspace::Workspace;

use serde::{Deserialize, Serialize};

/// A matrix in any of the formats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Element", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sparse<T: Element> {
    /// Every element.
    Dense(Dense<T>),
    /// Coordinates.
    Coo(Coo<T>),
    /// Compressed sparse rows.
    Csr(Csr<T>),
    /// Bits and values.
    Bitmap(Bitmap<T>),
    /// N:M.
    Packed(Packed<T>),
    /// Block-sparse rows.
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
    /// A matrix in a format.
    ///
    /// # Errors
    /// The matrix does not fit the format: it breaks an N:M pattern, groups or blocks do not fill it, or it is too large for the
    /// indices.
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

    /// The matrix with its zeros.
    #[must_use]
    pub fn to_dense(&self) -> Dense<T> {
        Dense::filled(self.rows(), self.cols(), |f| self.for_each(f))
    }

    /// The format it is in.
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

    /// Output units.
    #[must_use]
    pub fn rows(&self) -> usize {
        each!(self, matrix => matrix.rows())
    }

    /// Fan-in.
    #[must_use]
    pub fn cols(&self) -> usize {
        each!(self, matrix => matrix.cols())
    }

    /// Calls `f(row, column, value)` for what is not zero, row after row, by ascending column.
    pub fn for_each(&self, f: impl FnMut(usize, usize, T)) {
        each!(self, matrix => matrix.for_each(f));
    }

    /// How many elements are not zero.
    #[must_use]
    pub fn nonzeros(&self) -> usize {
        let mut nonzeros = 0;
        self.for_each(|_, _, _| nonzeros += 1);
        nonzeros
    }

    /// Bytes of its arrays, as [`Format::bytes`] foretells them.
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
