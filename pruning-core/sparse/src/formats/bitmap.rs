//! The bitmap format: one bit for each element, and the values of the set bits.

use crate::error::{check_len, check_shape};
use crate::formats::element::Values;
use crate::{Dense, Element, SparseError};
use serde::{Deserialize, Serialize};

/// A matrix as one bit for each element and the values of the set bits, row after row. The bits of a row fill 16-bit words, lowest column
/// in the lowest bit.
///
/// With `k` values of `s` bytes it takes `s k + 2 n ceil(m / 16)` bytes, which is less than the dense `s n m` **iff
/// `k < n m - 2 n ceil(m / 16) / s`**: in single precision, if more than one of 32 is zero; in half precision, more than one of 16.
/// It is less than CSR with 16-bit indices, for wide matrices, while fewer than 15 of 16 are zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts<T>", bound = "T: Element")]
pub struct Bitmap<T: Element> {
    rows: usize,
    cols: usize,
    words: Vec<u16>,
    values: Values<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Element")]
struct Parts<T: Element> {
    rows: usize,
    cols: usize,
    words: Vec<u16>,
    values: Values<T>,
}

impl<T: Element> TryFrom<Parts<T>> for Bitmap<T> {
    type Error = SparseError;

    fn try_from(parts: Parts<T>) -> Result<Self, SparseError> {
        Self::new(parts.rows, parts.cols, parts.words, parts.values.0)
    }
}

impl<T: Element> Bitmap<T> {
    /// Creates a matrix from its words, `ceil(cols / 16)` for each row, and its values.
    ///
    /// # Errors
    /// The arrays do not fit each other, a bit past the last column is set, or a value is zero; or there are more than 2^24 rows without
    /// columns.
    pub fn new(rows: usize, cols: usize, words: Vec<u16>, values: Vec<T>) -> Result<Self, SparseError> {
        check_shape(rows, cols, words.len())?;
        let width = cols.div_ceil(16);
        check_len("words", rows * width, words.len())?;
        if !cols.is_multiple_of(16) {
            let stray = words.chunks(width).position(|row| row[width - 1] >> (cols % 16) != 0);
            if let Some(row) = stray {
                return Err(SparseError::StrayBits { row });
            }
        }
        check_len("values", words.iter().map(|w| w.count_ones() as usize).sum(), values.len())?;
        match values.iter().position(|v| v.is_zero()) {
            Some(entry) => Err(SparseError::StoredZero { entry }),
            None => Ok(Self { rows, cols, words, values: Values(values) }),
        }
    }

    /// Creates the bitmap of a dense matrix.
    #[must_use]
    pub fn from_dense(dense: &Dense<T>) -> Self {
        let width = dense.cols().div_ceil(16);
        let mut words = vec![0; dense.rows() * width];
        let mut values = Vec::with_capacity(dense.nonzeros());
        dense.for_each(|row, col, value| {
            words[row * width + col / 16] |= 1 << (col % 16);
            values.push(value);
        });
        Self { rows: dense.rows(), cols: dense.cols(), words, values: Values(values) }
    }

    /// Returns the number of rows: the output units.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns: the fan-in.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the bits, `ceil(cols / 16)` words for each row.
    #[must_use]
    pub fn words(&self) -> &[u16] {
        &self.words
    }

    /// Returns the values of the set bits.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values.0
    }

    /// Calls `f(row, column, value)` for each value, row after row.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        let width = self.cols.div_ceil(16);
        let mut values = self.values.0.iter();
        for (at, &word) in self.words.iter().enumerate() {
            let mut left = word;
            while left != 0 {
                if let Some(&value) = values.next() {
                    f(at / width, at % width * 16 + left.trailing_zeros() as usize, value);
                }
                left &= left - 1;
            }
        }
    }

    /// Returns the bytes of the arrays.
    pub(crate) fn bytes(&self) -> usize {
        self.values.0.len() * T::BYTES + 2 * self.words.len()
    }
}
