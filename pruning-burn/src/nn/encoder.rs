//! A transformer encoder whose attention can lose heads.

use crate::nn::{AttentionInput, MultiHeadAttention};
use burn::module::Module;
use burn::nn::transformer::{self, PositionWiseFeedForward};
use burn::nn::{Dropout, LayerNorm};
use burn::tensor::{Bool, Tensor};

/// A stack of [`TransformerEncoderLayer`]s, with the weights of Burn's [`TransformerEncoder`](transformer::TransformerEncoder).
///
/// Burn's own encoder cannot lose heads, since its attention needs `heads * size == width`. This one computes the same. Its heads and the
/// inner channels of its feed-forward layers can be removed without setting a field; channels within heads need `mha.d_k` set:
///
/// ```
/// use burn::nn::transformer::{self, TransformerEncoderConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use pruning_burn::nn::{TransformerEncoder, TransformerEncoderInput};
///
/// let device = Device::flex();
/// let burns = TransformerEncoderConfig::new(8, 16, 2, 3).init(&device);
/// let ours = TransformerEncoder::from(burns.clone());
/// let x = Tensor::<3>::random([2, 5, 8], Distribution::Default, &device);
/// let y = ours.forward(TransformerEncoderInput::new(x.clone()));
/// assert_eq!(y.into_data(), burns.forward(transformer::TransformerEncoderInput::new(x)).into_data());
/// ```
///
/// There is no cache for autoregressive inference.
#[derive(Module, Debug)]
pub struct TransformerEncoder {
    /// The layers, first to last.
    pub layers: Vec<TransformerEncoderLayer>,
}

impl From<transformer::TransformerEncoder> for TransformerEncoder {
    /// Takes over the weights, under the same ids.
    fn from(burns: transformer::TransformerEncoder) -> Self {
        Self { layers: burns.layers.into_iter().map(Into::into).collect() }
    }
}

impl TransformerEncoder {
    /// Runs all layers on a sequence; `[batch, length, width]` in and out.
    #[must_use]
    pub fn forward(&self, input: TransformerEncoderInput) -> Tensor<3> {
        let TransformerEncoderInput { tensor, mask_pad, mask_attn } = input;
        self.layers.iter().fold(tensor, |x, layer| layer.forward(x, mask_pad.clone(), mask_attn.clone()))
    }
}

/// The input of a [`TransformerEncoder`]: a sequence and optional masks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransformerEncoderInput {
    /// The sequence, `[batch, length, width]`.
    pub tensor: Tensor<3>,
    /// The mask of padding, `[batch, length]`; true for a position that is padding.
    pub mask_pad: Option<Tensor<2, Bool>>,
    /// The mask of attention, `[batch, length, length]`; true where a query must not attend to a key.
    pub mask_attn: Option<Tensor<3, Bool>>,
}

impl TransformerEncoderInput {
    /// Creates an input from a sequence, without masks.
    #[must_use]
    pub fn new(tensor: Tensor<3>) -> Self {
        Self { tensor, mask_pad: None, mask_attn: None }
    }

    /// Sets a mask of padding, `[batch, length]`.
    #[must_use]
    pub fn mask_pad(mut self, mask: Tensor<2, Bool>) -> Self {
        self.mask_pad = Some(mask);
        self
    }

    /// Sets a mask of attention, `[batch, length, length]`.
    #[must_use]
    pub fn mask_attn(mut self, mask: Tensor<3, Bool>) -> Self {
        self.mask_attn = Some(mask);
        self
    }
}

/// A layer of attention and feed-forward, each with a norm and a shortcut.
///
/// It is Burn's [`TransformerEncoderLayer`](transformer::TransformerEncoderLayer) with a [`MultiHeadAttention`] that can lose heads.
#[derive(Module, Debug)]
pub struct TransformerEncoderLayer {
    /// The attention of the sequence to itself.
    pub mha: MultiHeadAttention,
    /// The feed-forward layer.
    pub pwff: PositionWiseFeedForward,
    /// The norm of the feed-forward layer.
    pub norm_1: LayerNorm,
    /// The norm of the attention if norms come first, otherwise that of the result.
    pub norm_2: LayerNorm,
    /// The dropout on attention and feed-forward layer, before their shortcuts are added.
    pub dropout: Dropout,
    /// Whether norms come before attention and feed-forward layer instead of after.
    pub norm_first: bool,
}

impl From<transformer::TransformerEncoderLayer> for TransformerEncoderLayer {
    /// Takes over the weights, under the same ids.
    fn from(burns: transformer::TransformerEncoderLayer) -> Self {
        Self {
            mha: burns.mha.into(),
            pwff: burns.pwff,
            norm_1: burns.norm_1,
            norm_2: burns.norm_2,
            dropout: burns.dropout,
            norm_first: burns.norm_first,
        }
    }
}

impl TransformerEncoderLayer {
    /// Runs the layer on a sequence; `[batch, length, width]` in and out.
    #[must_use]
    pub fn forward(
        &self,
        x: Tensor<3>,
        mask_pad: Option<Tensor<2, Bool>>,
        mask_attn: Option<Tensor<3, Bool>>,
    ) -> Tensor<3> {
        let own = if self.norm_first { self.norm_2.forward(x.clone()) } else { x.clone() };
        let attended = self.mha.forward(AttentionInput { mask_pad, mask_attn, ..AttentionInput::self_attn(own) });
        let mut x = x + self.dropout.forward(attended);
        let own = self.norm_1.forward(x.clone());
        if !self.norm_first {
            x = own.clone();
        }
        let x = x + self.dropout.forward(self.pwff.forward(own));
        if self.norm_first { x } else { self.norm_2.forward(x) }
    }
}
