//! Sparse matrices, with products and convolutions.
//!
//! This crate stores a pruned weight matrix `[rows, cols]`, rows = output units, columns = fan-in, in the format that suits it:
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
//! format. A [`Plan`] multiplies with a matrix of any format, and a [`ConvPlan`] convolves with it.
//!
//! ```
//! use pruning_sparse::{Dense, Format, Sparse};
//! let dense = Dense::new(2, 4, vec![0.5f32, 0.0, 0.0, -1.0, 0.0, 2.0, 0.0, 0.0])?;
//! let packed = Sparse::from_dense(&dense, Format::Packed { n: 2, m: 4, kernel: 1 })?;
//! assert_eq!(packed.to_dense(), dense);
//! assert_eq!(packed.bytes() as u64, Format::Packed { n: 2, m: 4, kernel: 1 }.bytes(2, 4, 3, 4));
//! // An entry takes three words: 3 entries of 8 elements are not sparse enough for coordinates.
//! assert!(Format::Coo.bytes(2, 4, 3, 4) > Format::Dense.bytes(2, 4, 3, 4));
//! # Ok::<(), pruning_sparse::SparseError>(())
//! ```
//!
//! # Contract
//!
//! A zero is the all-zero bit pattern, so every conversion is exact. Constructors and serde check every index. The kernels build private
//! structures from them that never change, and their unchecked reads rely on that. A [`Plan`] copies the weights into the order of use,
//! and threads share it. A call works in a [`Workspace`], which knows its plan, since a padded input keeps its zeros from call to call.
//!
//! Batches: `X` lies in transposed tiles, and columns lie in panels that stay in the first-level cache (wider below 4 % nonzeros). Rows
//! lie in chunks of 256, sorted by their nonzeros in a panel, since the processor then predicts where a row ends. Single samples: a dot
//! product runs scalar for compressed rows; for bits it uses AVX-512's expand, or on AVX2 a permutation from a table. Sums are taken in
//! one order whatever the threads, and no zero is multiplied, not even with an infinity.
//!
//! A [`ConvPlan`] adds each weight times a run of the input to a run of outputs in registers (direct sparse convolution). A copy of the
//! input with its padding, split by the remainders of the stride, gives every tap one offset; input without padding and stride is read in
//! place. Bands of channels stay in the first-level cache; a fitted cost chooses registers and bands. Outputs of a few pixels are
//! computed by products with the unrolled input.

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
