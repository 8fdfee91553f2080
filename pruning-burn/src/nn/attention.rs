//! Multi-head attention whose heads are independent of the width of the model.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::{quiet_softmax, softmax};
use burn::tensor::{Bool, Device, Tensor};

/// Multi-head attention ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), section 3.2.2) that can lose heads.
///
/// Burn's own attention needs `heads * size == width`. This one takes the number of heads from the width of its projections, so
/// heads can be removed without setting a field; if heads become smaller, the field `d_k` must be set. Both compute the same:
///
/// ```
/// use burn::nn::attention::{MhaInput, MultiHeadAttentionConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use pruning_burn::nn::{AttentionInput, MultiHeadAttention};
///
/// let device = Device::flex();
/// let burns = MultiHeadAttentionConfig::new(8, 2).with_dropout(0.0).init(&device);
/// let ours = MultiHeadAttention::from(burns.clone());
/// let x = Tensor::<3>::random([2, 5, 8], Distribution::Default, &device);
/// let context = burns.forward(MhaInput::self_attn(x.clone())).context;
/// assert_eq!(ours.forward(AttentionInput::self_attn(x)).into_data(), context.into_data());
/// ```
#[derive(Module, Debug)]
pub struct MultiHeadAttention {
    /// The projection to queries, `[width, heads * d_k]`.
    pub q: Linear,
    /// The projection to keys, `[width, heads * d_k]`.
    pub k: Linear,
    /// The projection to values, `[width, heads * d_v]`.
    pub v: Linear,
    /// The projection of the heads to the output, `[heads * d_v, width]`.
    pub out: Linear,
    /// The dropout on the attention weights.
    pub dropout: Dropout,
    /// The size of a query and a key.
    pub d_k: usize,
    /// The divisor of the scores. It stays the same when `d_k` shrinks, so that the scores do too.
    pub scale: f32,
    /// The value of a masked score.
    pub min_float: f64,
    /// Whether a head may attend to nothing.
    pub quiet_softmax: bool,
}

impl From<burn::nn::attention::MultiHeadAttention> for MultiHeadAttention {
    /// Takes over the weights, under the same ids.
    fn from(burns: burn::nn::attention::MultiHeadAttention) -> Self {
        Self {
            q: burns.query,
            k: burns.key,
            v: burns.value,
            out: burns.output,
            dropout: burns.dropout,
            d_k: burns.d_k,
            scale: (burns.d_k as f32).sqrt(),
            min_float: burns.min_float,
            quiet_softmax: burns.quiet_softmax,
        }
    }
}

/// The input of a [`MultiHeadAttention`]: queries, keys, values and optional masks.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pruning_burn::nn::{AttentionInput, MultiHeadAttention};
///
/// let device = Device::flex();
/// let attention = MultiHeadAttention::new(8, 3, 4, 0.0, &device);
/// let (text, picture) = (Tensor::<3>::ones([1, 5, 8], &device), Tensor::<3>::ones([1, 16, 8], &device));
/// let input = AttentionInput::new(text, picture.clone(), picture);
/// let output = attention.forward_with_weights(input);
/// assert_eq!((output.context.dims(), output.weights.dims()), ([1, 5, 8], [1, 3, 5, 16]));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttentionInput {
    /// The queries, `[batch, queries, width]`.
    pub query: Tensor<3>,
    /// The keys, `[batch, keys, width]`.
    pub key: Tensor<3>,
    /// The values, `[batch, keys, width]`.
    pub value: Tensor<3>,
    /// The mask of padding, `[batch, keys]`; true for a key that is padding.
    pub mask_pad: Option<Tensor<2, Bool>>,
    /// The mask of attention, `[batch, queries, keys]`; true where a query must not attend to a key.
    pub mask_attn: Option<Tensor<3, Bool>>,
}

impl AttentionInput {
    /// Creates an input from queries, keys and values, without masks.
    #[must_use]
    pub fn new(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Self {
        Self { query, key, value, mask_pad: None, mask_attn: None }
    }

    /// Creates an input from a sequence that attends to itself, without masks.
    #[must_use]
    pub fn self_attn(x: Tensor<3>) -> Self {
        Self::new(x.clone(), x.clone(), x)
    }

    /// Sets a mask of padding, `[batch, keys]`.
    #[must_use]
    pub fn mask_pad(mut self, mask: Tensor<2, Bool>) -> Self {
        self.mask_pad = Some(mask);
        self
    }

    /// Sets a mask of attention, `[batch, queries, keys]`.
    #[must_use]
    pub fn mask_attn(mut self, mask: Tensor<3, Bool>) -> Self {
        self.mask_attn = Some(mask);
        self
    }
}

/// The output of a [`MultiHeadAttention`], with the attention weights.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttentionOutput {
    /// The context, `[batch, queries, width]`.
    pub context: Tensor<3>,
    /// The attention weights, `[batch, heads, queries, keys]`.
    pub weights: Tensor<4>,
}

impl MultiHeadAttention {
    /// Creates an attention of `heads` heads with `d_k` channels each, which need not add up to `width`.
    #[must_use]
    pub fn new(width: usize, heads: usize, d_k: usize, dropout: f64, device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            q: linear(width, heads * d_k),
            k: linear(width, heads * d_k),
            v: linear(width, heads * d_k),
            out: linear(heads * d_k, width),
            dropout: DropoutConfig::new(dropout).init(),
            d_k,
            scale: (d_k as f32).sqrt(),
            min_float: -1.0e4,
            quiet_softmax: false,
        }
    }

    /// Returns the number of heads.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.q.weight.lazy_shape()[1] / self.d_k.max(1)
    }

    /// Returns the context, `[batch, queries, width]`.
    ///
    /// The attention weights are not part of it, since heads in an output of a model cannot be removed.
    #[must_use]
    pub fn forward(&self, input: AttentionInput) -> Tensor<3> {
        self.forward_with_weights(input).context
    }

    /// Returns the context and the attention weights.
    #[must_use]
    pub fn forward_with_weights(&self, input: AttentionInput) -> AttentionOutput {
        let heads = self.heads();
        let split = |x: Tensor<3>| {
            let [batch, length, channels] = x.dims();
            x.reshape([batch, length, heads, channels / heads.max(1)]).swap_dims(1, 2)
        };
        let q = split(self.q.forward(input.query));
        let k = split(self.k.forward(input.key));
        let v = split(self.v.forward(input.value));
        let mut scores = q.matmul(k.transpose()).div_scalar(self.scale);
        if let Some(mask) = input.mask_pad {
            let [batch, keys] = mask.dims();
            scores = scores.mask_fill(mask.reshape([batch, 1, 1, keys]), self.min_float);
        }
        if let Some(mask) = input.mask_attn {
            let [batch, queries, keys] = mask.dims();
            scores = scores.mask_fill(mask.reshape([batch, 1, queries, keys]), self.min_float);
        }
        let weights = if self.quiet_softmax { quiet_softmax(scores, 3) } else { softmax(scores, 3) };
        let weights = self.dropout.forward(weights);
        let context = weights.clone().matmul(v).swap_dims(1, 2);
        let [batch, queries, heads, size] = context.dims();
        AttentionOutput { context: self.out.forward(context.reshape([batch, queries, heads * size])), weights }
    }
}
