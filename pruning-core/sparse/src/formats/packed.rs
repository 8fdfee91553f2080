//! The packed N:M format: of every `m` columns, `n` values and their positions.

use crate::error::{check_len, check_shape};
use crate::formats::element::Values;
use crate::{Dense, Element, SparseError};
use serde::{Deserialize, Serialize};

/// A matrix with at most `n` values in every group of `m` columns of a row.
///
/// It stores `n` values for each group, and as many positions of `ceil(log2 m)` bits. The positions of a row fill 32-bit words, first
/// group in the lowest bits.
///
/// The members of a group are `kernel` columns apart: with the columns of a convolution, `kernel` for each input channel, a group is `m`
/// consecutive input channels at one place of the kernel. Group `g` has the columns `(g / kernel * m + position) * kernel + g % kernel`.
/// With a kernel of 1 they are consecutive.
///
/// A group with fewer values is filled up with zeros at its lowest free positions. With values of `s` bytes it takes
/// `s n (cols / m) + 4 ceil(n (cols / m) ceil(log2 m) / 32)` bytes a row, whatever is zero: for wide matrices, less than dense
/// **iff `n (8 s + ceil(log2 m)) < 8 s m`**. 2:4 takes 0.53 of dense in single precision and 0.56 in half; 1:4, 0.27 and 0.28; 4:8,
/// 0.55 and 0.59.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts<T>", bound = "T: Element")]
pub struct Packed<T: Element> {
    rows: usize,
    cols: usize,
    n: usize,
    m: usize,
    kernel: usize,
    positions: Vec<u32>,
    values: Values<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Element")]
struct Parts<T: Element> {
    rows: usize,
    cols: usize,
    n: usize,
    m: usize,
    #[serde(default = "one")]
    kernel: usize,
    positions: Vec<u32>,
    values: Values<T>,
}

/// Returns the kernel of files that were written before there were others.
pub(crate) fn one() -> usize {
    1
}

impl<T: Element> TryFrom<Parts<T>> for Packed<T> {
    type Error = SparseError;

    fn try_from(parts: Parts<T>) -> Result<Self, SparseError> {
        Self::new(parts.rows, parts.cols, (parts.n, parts.m), parts.kernel, parts.positions, parts.values.0)
    }
}

/// Returns an error unless the pattern is valid and its groups fill the rows.
pub(crate) fn check_pattern(cols: usize, n: usize, m: usize, kernel: usize) -> Result<(), SparseError> {
    if !(2..=64).contains(&m) || n == 0 || n > m {
        return Err(SparseError::Pattern { n, m });
    }
    if kernel == 0 {
        return Err(SparseError::Zero { what: "kernel" });
    }
    let part = m.saturating_mul(kernel);
    if cols.is_multiple_of(part) {
        Ok(())
    } else {
        Err(SparseError::DoesNotDivide { what: "columns", part, whole: cols })
    }
}

/// Returns the members of each group of a row, group after group.
pub(crate) fn groups<T>(row: &[T], m: usize, kernel: usize) -> impl Iterator<Item = impl Iterator<Item = &T> + Clone> {
    row.chunks_exact(m * kernel).flat_map(move |block| (0..kernel).map(move |k| block[k..].iter().step_by(kernel)))
}

/// Returns the bits of a position in a group of `m`.
pub(crate) fn position_bits(m: usize) -> usize {
    m.next_power_of_two().trailing_zeros() as usize
}

/// Returns the words that the positions of a row take.
pub(crate) fn row_words(cols: usize, n: usize, m: usize) -> usize {
    // A row's positions may be more bits than a number holds, before anything is checked.
    ((cols / m * n) as u128 * position_bits(m) as u128).div_ceil(32) as usize
}

/// Reads the position at `slot` of a row.
fn read(words: &[u32], slot: usize, bits: usize) -> usize {
    let at = slot * bits;
    let low = u64::from(words[at / 32]);
    let high = words.get(at / 32 + 1).map_or(0, |&w| u64::from(w));
    ((high << 32 | low) >> (at % 32)) as usize & ((1 << bits) - 1)
}

/// Writes a position into bits that are zero.
fn write(words: &mut [u32], slot: usize, bits: usize, position: usize) {
    let at = slot * bits;
    let both = (position as u64) << (at % 32);
    words[at / 32] |= both as u32;
    if both >> 32 != 0 {
        words[at / 32 + 1] |= (both >> 32) as u32;
    }
}

impl<T: Element> Packed<T> {
    /// Creates a matrix from its values, `n` for each group, and their positions, ascending within each group.
    ///
    /// # Errors
    /// `n:m` is not a pattern of the columns in kernels of this size, the arrays do not fit, a position is outside its group, out of
    /// order or repeated, or a bit past the last position of a row is set; or there are more than 2^24 rows without columns.
    pub fn new(
        rows: usize,
        cols: usize,
        (n, m): (usize, usize),
        kernel: usize,
        positions: Vec<u32>,
        values: Vec<T>,
    ) -> Result<Self, SparseError> {
        check_shape(rows, cols, values.len())?;
        check_pattern(cols, n, m, kernel)?;
        let (slots, width, bits) = (cols / m * n, row_words(cols, n, m), position_bits(m));
        check_len("values", rows * slots, values.len())?;
        check_len("words of positions", rows * width, positions.len())?;
        // Rows without groups are not bounded by what is given: they are not gone through.
        for row in 0..if slots > 0 { rows } else { 0 } {
            let words = &positions[row * width..][..width];
            for slot in 0..slots {
                let (entry, position) = (row * slots + slot, read(words, slot, bits));
                let col = (slot / n / kernel * m + position) * kernel + slot / n % kernel;
                if position >= m {
                    return Err(SparseError::OutOfRange { what: "position", entry, index: position, len: m });
                }
                if slot % n > 0 {
                    match read(words, slot - 1, bits) {
                        last if last == position => return Err(SparseError::Duplicate { entry, row, col }),
                        last if last > position => return Err(SparseError::Unsorted { entry, row, col }),
                        _ => {}
                    }
                }
            }
            let used = slots * bits % 32;
            if used > 0 && words[width - 1] >> used != 0 {
                return Err(SparseError::StrayBits { row });
            }
        }
        Ok(Self { rows, cols, n, m, kernel, positions, values: Values(values) })
    }

    /// Creates the groups of a dense matrix.
    ///
    /// # Errors
    /// `n:m` is not a pattern of the columns in kernels of this size, or a group has more than `n` values.
    pub fn from_dense(dense: &Dense<T>, (n, m): (usize, usize), kernel: usize) -> Result<Self, SparseError> {
        let (rows, cols) = (dense.rows(), dense.cols());
        check_pattern(cols, n, m, kernel)?;
        let (slots, width, bits) = (cols / m * n, row_words(cols, n, m), position_bits(m));
        let mut positions = vec![0; rows * width];
        let mut values = Vec::with_capacity(rows * slots);
        for row in 0..rows {
            let words = &mut positions[row * width..][..width];
            for (group, elements) in groups(dense.row(row), m, kernel).enumerate() {
                let nonzeros = elements.clone().filter(|v| !v.is_zero()).count();
                if nonzeros > n {
                    return Err(SparseError::Group { row, group, nonzeros, n, m });
                }
                let (mut slot, mut free) = (group * n, n - nonzeros);
                for (position, &value) in elements.enumerate() {
                    let fill = value.is_zero() && free > 0;
                    if fill || !value.is_zero() {
                        free -= usize::from(fill);
                        write(words, slot, bits, position);
                        values.push(value);
                        slot += 1;
                    }
                }
            }
        }
        Ok(Self { rows, cols, n, m, kernel, positions, values: Values(values) })
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

    /// Returns `(n, m)`: the number kept in each group, and its length.
    #[must_use]
    pub fn pattern(&self) -> (usize, usize) {
        (self.n, self.m)
    }

    /// Returns the columns from a member of a group to the next.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// Returns the packed positions, each row in whole words.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Returns the values, `n` for each group, including zeros where a group has fewer values.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values.0
    }

    /// Calls `f(row, column, value)` for each value that is not zero, row after row.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        let (slots, width) = (self.cols / self.m * self.n, row_words(self.cols, self.n, self.m));
        let bits = position_bits(self.m);
        if slots == 0 || self.rows == 0 {
            return;
        }
        // How many values of each group are passed, among groups whose columns alternate.
        let mut passed = vec![0; self.kernel];
        for row in 0..self.rows {
            let words = &self.positions[row * width..][..width];
            for block in 0..slots / (self.n * self.kernel) {
                passed.fill(0);
                for at in 0..self.m * self.kernel {
                    let (position, group) = (at / self.kernel, at % self.kernel);
                    let slot = (block * self.kernel + group) * self.n + passed[group];
                    if passed[group] < self.n && read(words, slot, bits) == position {
                        passed[group] += 1;
                        let value = self.values.0[row * slots + slot];
                        if !value.is_zero() {
                            f(row, block * self.m * self.kernel + at, value);
                        }
                    }
                }
            }
        }
    }

    /// Returns the bytes of the arrays.
    pub(crate) fn bytes(&self) -> usize {
        self.values.0.len() * T::BYTES + 4 * self.positions.len()
    }
}
