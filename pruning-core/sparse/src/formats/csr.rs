//! Compressed sparse rows: columns and values of each row, one row after the other.

use crate::error::{check_len, check_most, check_shape};
use crate::formats::element::Values;
use crate::{Dense, Element, SparseError};
use serde::{Deserialize, Serialize};

/// The number of columns that 16-bit indices reach.
pub(crate) const NARROW: usize = 1 << 16;

/// Column indices, as wide as the matrix needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indices {
    /// Indices for up to 65,536 columns.
    U16(Vec<u16>),
    /// Indices for more columns.
    U32(Vec<u32>),
}

impl Indices {
    /// Returns the number of indices.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U16(indices) => indices.len(),
            Self::U32(indices) => indices.len(),
        }
    }

    /// Returns whether there are no indices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of one index.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::U16(_) => 2,
            Self::U32(_) => 4,
        }
    }

    /// Returns the index of an entry.
    pub(crate) fn get(&self, entry: usize) -> usize {
        match self {
            Self::U16(indices) => indices[entry].into(),
            Self::U32(indices) => indices[entry] as usize,
        }
    }
}

/// A matrix as compressed sparse rows: the start of each row, and the columns and values of its entries, sorted by column.
///
/// With `k` entries, indices of `i` bytes and values of `s` it takes `(s + i) k + 4 (rows + 1)` bytes, which is less than the dense
/// `s n m` **iff `k < (s n m - 4 (n + 1)) / (s + i)`**. For wide matrices in single precision: more than a third zeros with 16-bit
/// indices, more than a half with 32-bit ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts<T>", bound = "T: Element")]
pub struct Csr<T: Element> {
    rows: usize,
    cols: usize,
    starts: Vec<u32>,
    indices: Indices,
    values: Values<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Element")]
struct Parts<T: Element> {
    rows: usize,
    cols: usize,
    starts: Vec<u32>,
    indices: Indices,
    values: Values<T>,
}

impl<T: Element> TryFrom<Parts<T>> for Csr<T> {
    type Error = SparseError;

    fn try_from(parts: Parts<T>) -> Result<Self, SparseError> {
        Self::new(parts.rows, parts.cols, parts.starts, parts.indices, parts.values.0)
    }
}

impl<T: Element> Csr<T> {
    /// Creates a matrix from its arrays: `rows + 1` starts, the last of which is the number of entries.
    ///
    /// # Errors
    /// The arrays do not fit each other, or an entry is outside, out of order, repeated, or zero; or there are more than 2^28 elements,
    /// or an axis of more than 2^24, with less than one row or entry for each 4096 of them.
    pub fn new(
        rows: usize,
        cols: usize,
        starts: Vec<u32>,
        indices: Indices,
        values: Vec<T>,
    ) -> Result<Self, SparseError> {
        check_shape(rows, cols, starts.len().saturating_add(values.len()))?;
        check_len("row starts", rows.saturating_add(1), starts.len())?;
        check_len("column indices", values.len(), indices.len())?;
        check_len("entries of all rows", values.len(), starts[rows] as usize)?;
        for row in 0..rows {
            let (start, end) = (starts[row] as usize, starts[row + 1] as usize);
            if start > end || end > values.len() || (row == 0 && start > 0) {
                return Err(SparseError::Pointers { row, start, end });
            }
            for (entry, value) in values.iter().enumerate().take(end).skip(start) {
                let col = indices.get(entry);
                if col >= cols {
                    return Err(SparseError::OutOfRange { what: "column", entry, index: col, len: cols });
                }
                if entry > start && indices.get(entry - 1) == col {
                    return Err(SparseError::Duplicate { entry, row, col });
                }
                if entry > start && indices.get(entry - 1) > col {
                    return Err(SparseError::Unsorted { entry, row, col });
                }
                if value.is_zero() {
                    return Err(SparseError::StoredZero { entry });
                }
            }
        }
        // Without rows, the one start is the number of entries, and there is no entry.
        check_len("entries", starts[rows] as usize - starts[0] as usize, values.len())?;
        Ok(Self { rows, cols, starts, indices, values: Values(values) })
    }

    /// Creates the entries of a dense matrix, with 16-bit indices where they reach and 32-bit indices elsewhere.
    ///
    /// # Errors
    /// There are more entries than 32 bits can count, or more than 2^28 elements with less than one row or entry for each 4096 of them.
    pub fn from_dense(dense: &Dense<T>) -> Result<Self, SparseError> {
        Self::with_width(dense, if dense.cols() <= NARROW { 2 } else { 4 })
    }

    /// Creates the entries of a dense matrix, with indices of two or four bytes.
    pub(crate) fn with_width(dense: &Dense<T>, width: usize) -> Result<Self, SparseError> {
        let nonzeros = dense.nonzeros();
        check_most("entries", u32::MAX as usize, nonzeros)?;
        check_most("columns", if width == 2 { NARROW } else { u32::MAX as usize }, dense.cols())?;
        check_shape(dense.rows(), dense.cols(), dense.rows() + nonzeros)?;
        let mut starts = vec![0; dense.rows() + 1];
        let mut values = Vec::with_capacity(nonzeros);
        let mut indices = if width == 2 {
            Indices::U16(Vec::with_capacity(nonzeros))
        } else {
            Indices::U32(Vec::with_capacity(nonzeros))
        };
        dense.for_each(|row, col, value| {
            match &mut indices {
                Indices::U16(indices) => indices.push(col as u16),
                Indices::U32(indices) => indices.push(col as u32),
            }
            values.push(value);
            starts[row + 1] = values.len() as u32;
        });
        // A row without entries ends where the one before it does.
        (0..dense.rows()).for_each(|row| starts[row + 1] = starts[row + 1].max(starts[row]));
        Ok(Self { rows: dense.rows(), cols: dense.cols(), starts, indices, values: Values(values) })
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

    /// Returns the first entry of each row, and the number of entries at the end.
    #[must_use]
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Returns the column of each entry.
    #[must_use]
    pub fn indices(&self) -> &Indices {
        &self.indices
    }

    /// Returns the value of each entry.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values.0
    }

    /// Calls `f(row, column, value)` for each entry, row after row.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        for row in 0..self.rows {
            for entry in self.starts[row] as usize..self.starts[row + 1] as usize {
                f(row, self.indices.get(entry), self.values.0[entry]);
            }
        }
    }

    /// Returns the bytes of the arrays.
    pub(crate) fn bytes(&self) -> usize {
        self.values.0.len() * (T::BYTES + self.indices.width()) + 4 * self.starts.len()
    }
}
