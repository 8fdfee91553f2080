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
//! use pruning_sparse::{Dense, Format, Sparse};
//! let dense = Dense::new(2, 4, vec![0.5f32, 0.0, 0.0, -1.0, 0.0, 2.0, 0.0, 0.0])?;
//! let packed = Sparse::from_dense(&dense, Format::Packed { n: 2, m: 4, kernel: 1 })?;
//! assert_eq!(packed.to_dense(), dense);
//! assert_eq!(packed.bytes() as u64, Format::Packed { n: 2, m: 4, kernel: 1 }.bytes(2, 4, 3, 4));
//! // Three words an entry: 3 entries of 8 elements are not yet sparse enough for coordinates.
//! assert!(Format::Coo.bytes(2, 4, 3, 4) > Format::Dense.bytes(2, 4, 3, 4));
//! # Ok::<(), pruning_sparse::SparseError>(())
//! ```

mod choose;
mod conv;
mod error;
mod formats;
mod kernels;

pub use choose::{fastest, smallest};
#[doc(hidden)]
pub use conv::Way;
pub use conv::{ConvPlan, ConvShape};
pub use error::SparseError;
pub use formats::{Bitmap, Blocks, Coo, Csr, Dense, Element, Format, Indices, Packed, Sparse};
#[doc(hidden)]
pub use kernels::Level;
pub use kernels::{Activation, Plan, Workspace, WorkspacePool};
