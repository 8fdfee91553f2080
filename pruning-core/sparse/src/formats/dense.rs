//! The dense format: the matrix itself, with its zeros.

use crate::error::{check_len, check_shape};
use crate::formats::element::Values;
use crate::{Element, SparseError};
use serde::{Deserialize, Serialize};

/// A matrix `[rows, cols]` with every element, row after row. Two matrices are equal if their bits are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts<T>", bound = "T: Element")]
pub struct Dense<T: Element> {
    rows: usize,
    cols: usize,
    values: Values<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Element")]
struct Parts<T: Element> {
    rows: usize,
    cols: usize,
    values: Values<T>,
}

impl<T: Element> TryFrom<Parts<T>> for Dense<T> {
    type Error = SparseError;

    fn try_from(parts: Parts<T>) -> Result<Self, SparseError> {
        Self::new(parts.rows, parts.cols, parts.values.0)
    }
}

impl<T: Element> Dense<T> {
    /// Creates a matrix from its elements, row after row.
    ///
    /// # Errors
    /// The number of values is not `rows * cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<T>) -> Result<Self, SparseError> {
        check_len("values", check_shape(rows, cols, values.len())?, values.len())?;
        Ok(Self { rows, cols, values: Values(values) })
    }

    /// Creates a matrix from entries that are known to be inside; the other elements are zero.
    pub(crate) fn filled(rows: usize, cols: usize, entries: impl FnOnce(&mut dyn FnMut(usize, usize, T))) -> Self {
        let mut values = vec![T::ZERO; rows * cols];
        entries(&mut |row, col, value| values[row * cols + col] = value);
        Self { rows, cols, values: Values(values) }
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

    /// Returns the elements, row after row.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values.0
    }

    /// Returns the elements of a row.
    pub(crate) fn row(&self, row: usize) -> &[T] {
        &self.values.0[row * self.cols..][..self.cols]
    }

    /// Returns how many elements are not zero.
    #[must_use]
    pub fn nonzeros(&self) -> usize {
        self.values.0.iter().filter(|v| !v.is_zero()).count()
    }

    /// Calls `f(row, column, value)` for each value that is not zero, row after row.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        for (row, values) in self.values.0.chunks_exact(self.cols.max(1)).enumerate() {
            for (col, &value) in values.iter().enumerate() {
                if !value.is_zero() {
                    f(row, col, value);
                }
            }
        }
    }
}
