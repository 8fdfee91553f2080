//! The coordinate format: row, column and value of each entry.

use crate::error::{check_len, check_shape};
use crate::formats::element::Values;
use crate::{Dense, Element, SparseError};
use serde::{Deserialize, Serialize};

/// A matrix as a list of `(row, column, value)`, sorted by row, then by column.
///
/// Each of `k` entries takes a row and a column of 4 bytes and a value of `s`: `(8 + s) k` bytes, where the dense `n x m` matrix has
/// `s n m`. In single precision that is less **iff `n m > 3 k`**, if more than two thirds are zeros; in half precision, iff
/// `n m > 5 k`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts<T>", bound = "T: Element")]
pub struct Coo<T: Element> {
    rows: usize,
    cols: usize,
    row_indices: Vec<u32>,
    col_indices: Vec<u32>,
    values: Values<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Element")]
struct Parts<T: Element> {
    rows: usize,
    cols: usize,
    row_indices: Vec<u32>,
    col_indices: Vec<u32>,
    values: Values<T>,
}

impl<T: Element> TryFrom<Parts<T>> for Coo<T> {
    type Error = SparseError;

    fn try_from(parts: Parts<T>) -> Result<Self, SparseError> {
        Self::new(parts.rows, parts.cols, parts.row_indices, parts.col_indices, parts.values.0)
    }
}

impl<T: Element> Coo<T> {
    /// Creates a matrix from its entries.
    ///
    /// # Errors
    /// The arrays differ in length, or an entry is outside, out of order, repeated, or zero; or there are more than 2^28 elements, or an
    /// axis of more than 2^24, with less than one entry for each 4096 of them.
    pub fn new(
        rows: usize,
        cols: usize,
        row_indices: Vec<u32>,
        col_indices: Vec<u32>,
        values: Vec<T>,
    ) -> Result<Self, SparseError> {
        check_shape(rows, cols, values.len())?;
        check_len("row indices", values.len(), row_indices.len())?;
        check_len("column indices", values.len(), col_indices.len())?;
        let mut last = None;
        for (entry, value) in values.iter().enumerate() {
            let (row, col) = (row_indices[entry] as usize, col_indices[entry] as usize);
            if row >= rows {
                return Err(SparseError::OutOfRange { what: "row", entry, index: row, len: rows });
            }
            if col >= cols {
                return Err(SparseError::OutOfRange { what: "column", entry, index: col, len: cols });
            }
            match last {
                Some(last) if last == (row, col) => return Err(SparseError::Duplicate { entry, row, col }),
                Some(last) if last > (row, col) => return Err(SparseError::Unsorted { entry, row, col }),
                _ => last = Some((row, col)),
            }
            if value.is_zero() {
                return Err(SparseError::StoredZero { entry });
            }
        }
        Ok(Self { rows, cols, row_indices, col_indices, values: Values(values) })
    }

    /// Creates the entries of a dense matrix.
    ///
    /// # Errors
    /// The matrix has more than 2^28 elements, and less than one of 4096 is an entry.
    pub fn from_dense(dense: &Dense<T>) -> Result<Self, SparseError> {
        let nonzeros = dense.nonzeros();
        check_shape(dense.rows(), dense.cols(), nonzeros)?;
        let (mut row_indices, mut col_indices) = (Vec::with_capacity(nonzeros), Vec::with_capacity(nonzeros));
        let mut values = Vec::with_capacity(nonzeros);
        dense.for_each(|row, col, value| {
            row_indices.push(row as u32);
            col_indices.push(col as u32);
            values.push(value);
        });
        Ok(Self { rows: dense.rows(), cols: dense.cols(), row_indices, col_indices, values: Values(values) })
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

    /// Returns the row of each entry.
    #[must_use]
    pub fn row_indices(&self) -> &[u32] {
        &self.row_indices
    }

    /// Returns the column of each entry.
    #[must_use]
    pub fn col_indices(&self) -> &[u32] {
        &self.col_indices
    }

    /// Returns the value of each entry.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values.0
    }

    /// Calls `f(row, column, value)` for each entry.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        for ((&row, &col), &value) in self.row_indices.iter().zip(&self.col_indices).zip(&self.values.0) {
            f(row as usize, col as usize, value);
        }
    }

    /// Returns the bytes of the arrays.
    pub(crate) fn bytes(&self) -> usize {
        self.values.0.len() * (8 + T::BYTES)
    }
}
