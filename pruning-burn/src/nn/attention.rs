//! Multi-head attention whose heads are independent of the width of the model.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::{quiet_softmax, softmax};
use burn::tensor::{Bool, Device, Tensor};

/// Multi-head attention ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), section 3.2.2) that can lose heads.
///
/// Burn's own needs `heads * size == width`. This one takes the number of heads from the width of its projections, so that
/// heads go with nothing else to set; a smaller `d_k` is a field to set. Both compute the same:
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
    /// `[width, heads * d_k]`.
    pub q: Linear,
    /// `[width, heads * d_k]`.
    pub k: Linear,
    /// `[width, heads * d_v]`.
    pub v: Linear,
    /// `[heads * d_v, width]`.
    pub out: Linear,
    /// On the weights of attention.
    pub dropout: Dropout,
    /// Size of a query and a key.
    pub d_k: usize,
    /// By what scores are divided. It stays what it was when `d_k` shrinks, so that the scores do.
    pub scale: f32,
    /// What a masked score becomes.
    pub min_float: f64,
    /// Whether a head may attend to nothing.
    pub quiet_softmax: bool,
}

impl From<burn::nn::attention::MultiHeadAttention> for MultiHeadAttention {
    /// The same weights, under the same ids.
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

/// What attends to what.
#[derive(Clone, Debug)]
pub struct AttentionInput {
    /// `[batch, queries, width]`.
    pub query: Tensor<3>,
    /// `[batch, keys, width]`.
    pub key: Tensor<3>,
    /// `[batch, keys, width]`.
    pub value: Tensor<3>,
    /// `[batch, keys]`; true where there is nothing to attend to.
    pub mask_pad: Option<Tensor<2, Bool>>,
    /// `[batch, queries, keys]`; true where a query must not attend.
    pub mask_attn: Option<Tensor<3, Bool>>,
}

impl AttentionInput {
    /// A sequence that attends to itself.
    #[must_use]
    pub fn self_attn(x: Tensor<3>) -> Self {
        Self { query: x.clone(), key: x.clone(), value: x, mask_pad: None, mask_attn: None }
    }

    /// With a mask of padding, `[batch, keys]`.
    #[must_use]
    pub fn mask_pad(mut self, mask: Tensor<2, Bool>) -> Self {
        self.mask_pad = Some(mask);
        self
    }

    /// With a mask of attention, `[batch, queries, keys]`.
    #[must_use]
    pub fn mask_attn(mut self, mask: Tensor<3, Bool>) -> Self {
        self.mask_attn = Some(mask);
        self
    }
}

/// Context, and the weights that made it.
#[derive(Clone, Debug)]
pub struct AttentionOutput {
    /// `[batch, queries, width]`.
    pub context: Tensor<3>,
    /// `[batch, heads, queries, keys]`.
    pub weights: Tensor<4>,
}

impl MultiHeadAttention {
    /// Heads of `d_k` channels, whose number need not divide `width`.
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

    /// How many heads there are.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.q.weight.lazy_shape()[1] / self.d_k.max(1)
    }

    /// `[batch, queries, width]`. The weights are not handed out, since heads that are an output of a model cannot go.
    #[must_use]
    pub fn forward(&self, input: AttentionInput) -> Tensor<3> {
        self.forward_with_weights(input).context
    }

    /// Context and weights.
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
