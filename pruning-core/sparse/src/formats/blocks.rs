//! The block-sparse format: rows of blocks, dense inside.

use crate::error::{check_len, check_most, check_shape};
use crate::formats::element::Values;
use crate::{Dense, Element, SparseError};
use serde::{Deserialize, Serialize};

/// A matrix as its blocks `[height, width]` that are not all zero: the start of each row of blocks, the columns of its blocks, and their
/// elements, row after row within a block.
///
/// With `b` blocks of `height * width` elements of `s` bytes it takes `(s height width + 4) b + 4 (n / height + 1)` bytes, which is
/// less than the dense `s n m` **iff `b < (s n m - 4 (n / height + 1)) / (s height width + 4)`**: in single precision with blocks of
/// 4 x 4 in a wide matrix, if more than one block of 17 is zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts<T>", bound = "T: Element")]
pub struct Blocks<T: Element> {
    rows: usize,
    cols: usize,
    height: usize,
    width: usize,
    starts: Vec<u32>,
    indices: Vec<u32>,
    values: Values<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Element")]
struct Parts<T: Element> {
    rows: usize,
    cols: usize,
    height: usize,
    width: usize,
    starts: Vec<u32>,
    indices: Vec<u32>,
    values: Values<T>,
}

impl<T: Element> TryFrom<Parts<T>> for Blocks<T> {
    type Error = SparseError;

    fn try_from(p: Parts<T>) -> Result<Self, SparseError> {
        Self::new(p.rows, p.cols, (p.height, p.width), p.starts, p.indices, p.values.0)
    }
}

/// Returns an error unless blocks fill the matrix.
pub(crate) fn check_blocks(rows: usize, cols: usize, height: usize, width: usize) -> Result<(), SparseError> {
    for (what, part, whole) in [("rows", height, rows), ("columns", width, cols)] {
        // Nothing but zero is a multiple of zero.
        if part == 0 || !whole.is_multiple_of(part) {
            return Err(SparseError::DoesNotDivide { what, part, whole });
        }
    }
    Ok(())
}

impl<T: Element> Blocks<T> {
    /// Creates a matrix from its arrays: `rows / height + 1` starts, the column of each block in blocks, and `height * width` values
    /// each.
    ///
    /// # Errors
    /// Blocks do not fill the matrix, the arrays do not fit each other, or a block is outside, out of order, repeated, or all zero; or
    /// there are more than 2^28 elements, or an axis of more than 2^24, with less than one value for each 4096 of them.
    pub fn new(
        rows: usize,
        cols: usize,
        (height, width): (usize, usize),
        starts: Vec<u32>,
        indices: Vec<u32>,
        values: Vec<T>,
    ) -> Result<Self, SparseError> {
        check_shape(rows, cols, starts.len().saturating_add(values.len()))?;
        check_blocks(rows, cols, height, width)?;
        let (lines, across) = (rows / height, cols / width);
        check_len("starts of rows of blocks", lines + 1, starts.len())?;
        check_len("blocks of all rows", indices.len(), starts[lines] as usize)?;
        // No vector has the saturated length, so it is an error.
        check_len("values", indices.len().saturating_mul(height.saturating_mul(width)), values.len())?;
        check_len("blocks", starts[lines] as usize - (starts[0] as usize).min(starts[lines] as usize), indices.len())?;
        for line in 0..lines {
            let (start, end) = (starts[line] as usize, starts[line + 1] as usize);
            if start > end || end > indices.len() {
                return Err(SparseError::Pointers { row: line, start, end });
            }
            for entry in start..end {
                let col = indices[entry] as usize;
                if col >= across {
                    return Err(SparseError::OutOfRange { what: "column of blocks", entry, index: col, len: across });
                }
                if entry > start && indices[entry - 1] == indices[entry] {
                    return Err(SparseError::Duplicate { entry, row: line, col });
                }
                if entry > start && indices[entry - 1] > indices[entry] {
                    return Err(SparseError::Unsorted { entry, row: line, col });
                }
                if values[entry * height * width..][..height * width].iter().all(|v| v.is_zero()) {
                    return Err(SparseError::StoredZero { entry });
                }
            }
        }
        Ok(Self { rows, cols, height, width, starts, indices, values: Values(values) })
    }

    /// Creates the blocks of a dense matrix that are not all zero.
    ///
    /// # Errors
    /// Blocks do not fill the matrix, or there are more than 32 bits can count, or too few for more than 2^28 elements (see
    /// [`new`](Self::new)).
    pub fn from_dense(dense: &Dense<T>, (height, width): (usize, usize)) -> Result<Self, SparseError> {
        let (rows, cols) = (dense.rows(), dense.cols());
        check_blocks(rows, cols, height, width)?;
        check_most("blocks", u32::MAX as usize, (rows / height).saturating_mul(cols / width))?;
        let (mut starts, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for line in 0..rows / height {
            for block in 0..cols / width {
                let parts = (0..height).map(|i| &dense.row(line * height + i)[block * width..][..width]);
                if parts.clone().flatten().any(|v| !v.is_zero()) {
                    indices.push(block as u32);
                    parts.for_each(|part| values.extend_from_slice(part));
                }
            }
            starts.push(indices.len() as u32);
        }
        check_shape(rows, cols, starts.len() + values.len())?;
        Ok(Self { rows, cols, height, width, starts, indices, values: Values(values) })
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

    /// Returns `(height, width)` of a block.
    #[must_use]
    pub fn block(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Returns the first block of each row of blocks, and the number of blocks at the end.
    #[must_use]
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Returns the column of each block, in blocks.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Returns the elements of each block.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values.0
    }

    /// Calls `f(row, column, value)` for each value that is not zero, row after row.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        for row in 0..self.rows {
            let (line, i) = (row / self.height, row % self.height);
            for block in self.starts[line] as usize..self.starts[line + 1] as usize {
                let first = self.indices[block] as usize * self.width;
                let values = &self.values.0[(block * self.height + i) * self.width..][..self.width];
                for (j, &value) in values.iter().enumerate().filter(|(_, v)| !v.is_zero()) {
                    f(row, first + j, value);
                }
            }
        }
    }

    /// Returns the bytes of the arrays.
    pub(crate) fn bytes(&self) -> usize {
        self.values.0.len() * T::BYTES + 4 * (self.starts.len() + self.indices.len())
    }
}
