//! What the layers of a network see, collected from data: calibration.
//!
//! A criterion such as Wanda weighs each weight by what its layer sees; a reconstruction gives the weights that stay new values, so that
//! the layer puts out what it did. Both need statistics of the layer's inputs, and nothing else of the data: [`Calibration::collect`] runs
//! any model on a few batches and adds them up. No hooks, no list of supported models, no change to the module.
//!
//! # Contract
//!
//! **What is seen.** Every batch is recorded ([`Trace::record`](crate::trace::Trace::record)) and replayed on the device of the model, so
//! that whatever the forward decides by the size of a batch is decided anew. At each product with a float parameter the other operand is
//! read. A weight may reach its product through reshapes, transposes, casts, slices and concatenations along its outputs; other computations on it, and
//! products with other weights, are [skipped](Calibration::skipped), with the reason. Operands that are one tensor up to its shape are summed
//! once, for all their readers. A weight that is used several times, as in a recurrent layer, has the sums of all its uses.
//!
//! **Rows.** A row is a token, or a window of a convolution (each group of which has its own columns and its own Gram matrix). Transposed
//! convolutions have norms and means of whole channels, as if padding cut nothing off. An embedding sees indices: its norms are those of one-hot
//! rows. Positions that do not count are left out: batch and sequence are followed through the pass from the inputs that begin with them.
//! Where that fails, and where a layer goes along the sequence step by step, it is an error, since nobody knows which of its rows count.
//!
//! **Numbers.** Squares, means and zeros are summed in double precision on the host. Gram matrices are multiplied on the device, batch by
//! batch in its precision, and summed in double precision. Nothing is kept of a batch.

mod calibration;
mod collect;
mod error;
mod file;
mod positions;
mod products;
mod stages;
mod sums;
mod watch;
mod weight_view;
mod window;

pub use calibration::Calibration;
pub use collect::Progress;
pub use error::CalibrationError;
pub(crate) use stages::stages;
