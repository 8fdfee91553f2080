//! Layers that can lose channels where Burn's own cannot.

mod attention;

pub use attention::{AttentionInput, AttentionOutput, MultiHeadAttention};
