//! The formats, and the bytes that each takes.

use crate::formats::csr::NARROW;
use crate::formats::packed::{one, row_words};
use serde::{Deserialize, Serialize};

/// A format of sparse matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// Every element is stored.
    Dense,
    /// The coordinates of each entry are stored.
    Coo,
    /// Compressed sparse rows are stored with 16-bit indices.
    Csr16,
    /// Compressed sparse rows are stored with 32-bit indices.
    Csr32,
    /// A bit for each element is stored, with the values of the set bits.
    Bitmap,
    /// The values of an N:M pattern are stored with packed positions.
    Packed {
        /// The number kept in each group.
        n: usize,
        /// The length of a group.
        m: usize,
        /// The columns from a member of a group to the next: the size of the kernel for groups along the input channels of a convolution,
        /// else 1.
        #[serde(default = "one")]
        kernel: usize,
    },
    /// The blocks that are not all zero are stored.
    Blocks {
        /// The rows of a block.
        height: usize,
        /// The columns of a block.
        width: usize,
    },
}

impl Format {
    /// Returns compressed sparse rows with the narrowest indices that reach `cols` columns.
    #[must_use]
    pub const fn csr(cols: usize) -> Self {
        if cols <= NARROW { Self::Csr16 } else { Self::Csr32 }
    }

    /// Returns the bytes that the arrays of a matrix `[rows, cols]` take in this format.
    ///
    /// `stored` is the number of what is stored: for [`Blocks`](Self::Blocks) the blocks that are not all zero, else the elements that
    /// are not zero; dense and N:M take the same whatever it is. `element` is the bytes of a value ([`Element::BYTES`](crate::Element)).
    /// The result is `u64::MAX` for a size that 64 bits cannot hold, and for an invalid pattern.
    ///
    /// ```
    /// use pruning_sparse::Format;
    /// // 1,000 of 100 x 100 values, in single precision: a row start, and two bytes and a value for each entry.
    /// assert_eq!(Format::Csr16.bytes(100, 100, 1000, 4), 101 * 4 + 1000 * (2 + 4));
    /// assert_eq!(Format::Dense.bytes(100, 100, 1000, 4), 40_000);
    /// ```
    #[must_use]
    pub fn bytes(self, rows: usize, cols: usize, stored: usize, element: usize) -> u64 {
        let [n_rows, n_cols, stored, element] = [rows, cols, stored, element].map(|v| v as u128);
        // Sums and products of two sizes fit; anything larger is too much in any case.
        let times = |a: u128, b: u128| a.saturating_mul(b);
        let bytes = match self {
            Self::Dense => times(n_rows * n_cols, element),
            Self::Coo => times(stored, 8 + element),
            Self::Csr16 => times(stored, 2 + element).saturating_add(4 * (n_rows + 1)),
            Self::Csr32 => times(stored, 4 + element).saturating_add(4 * (n_rows + 1)),
            Self::Bitmap => times(stored, element).saturating_add(times(2 * n_rows, n_cols.div_ceil(16))),
            Self::Packed { n, m, kernel } if (2..=64).contains(&m) && n <= m && kernel > 0 => {
                let slots = (cols / m * n) as u128;
                times(n_rows, times(slots, element) + 4 * row_words(cols, n, m) as u128)
            }
            Self::Blocks { height, width } if height > 0 => {
                let block = times(height as u128 * width as u128, element).saturating_add(4);
                times(stored, block).saturating_add(4 * ((rows / height) as u128 + 1))
            }
            Self::Packed { .. } | Self::Blocks { .. } => u128::MAX,
        };
        bytes.try_into().unwrap_or(u64::MAX)
    }
}
