//! Layers that can lose channels that Burn's own must keep, and layers with sparse weights.

mod attention;
mod encoder;
#[cfg(feature = "sparse")]
// Products on the host are not called without a backend for them.
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), allow(dead_code))]
mod sparse;

pub use attention::{AttentionInput, AttentionOutput, MultiHeadAttention};
pub use encoder::{TransformerEncoder, TransformerEncoderInput, TransformerEncoderLayer};
#[cfg(feature = "sparse")]
pub use sparse::{Execution, SparseConv2d, SparseLayerError, SparseLinear, SparseOptions};
