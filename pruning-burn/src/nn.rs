//! Layers that can lose channels where Burn's own cannot, and layers of sparse weights.

mod attention;
#[cfg(feature = "sparse")]
mod sparse;

pub use attention::{AttentionInput, AttentionOutput, MultiHeadAttention};
#[cfg(feature = "sparse")]
pub use sparse::{Execution, SparseConv2d, SparseLayerError, SparseLinear, SparseOptions};
