//! Small networks, each with one thing that channels must get past.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::AdaptiveAvgPool2dConfig;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Gru, GruConfig, InstanceNorm,
    InstanceNormConfig, Linear, LinearConfig, Lstm, LstmConfig,
};
use burn::tensor::activation::{relu, sigmoid, silu};
use burn::tensor::{Device, Int, Tensor};
use pruning_burn::nn::{AttentionInput, MultiHeadAttention};
use pruning_burn::shrink::Fields;
use pruning_burn::trace::Scope;
use pruning_tests::models::filled;
use pruning_tests::shrinking::Shrinks;

pub(crate) fn picture(device: &Device, channels: usize) -> Tensor<4> {
    let numbers = pruning_tests::models::numbers(2 * channels * 64, 7);
    Tensor::<1>::from_floats(numbers.as_slice(), device).reshape([2, channels, 8, 8])
}

pub(crate) fn sequence(device: &Device, width: usize) -> Tensor<3> {
    let numbers = pruning_tests::models::numbers(2 * 5 * width, 9);
    Tensor::<1>::from_floats(numbers.as_slice(), device).reshape([2, 5, width])
}

pub(crate) fn conv(from: usize, to: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3]).with_padding(burn::nn::PaddingConfig2d::Same).init(device)
}

pub(crate) fn pooled(x: Tensor<4>) -> Tensor<2> {
    AdaptiveAvgPool2dConfig::new([1, 1]).init().forward(x).flatten(1, 3)
}

/// A residual connection ties the channels of all that it adds.
#[derive(Module, Debug)]
pub(crate) struct Residual {
    stem: Conv2d,
    norm: BatchNorm,
    inner: Conv2d,
    outer: Conv2d,
    head: Linear,
}

impl Shrinks for Residual {
    fn new(device: &Device) -> Self {
        let (stem, inner, outer) = (conv(3, 8, device), conv(8, 6, device), conv(6, 8, device));
        let norm = BatchNormConfig::new(8).init(device);
        filled(Self { stem, norm, inner, outer, head: LinearConfig::new(8, 4).init(device) }, 1)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let x = silu(self.norm.forward(self.stem.forward(x)));
        let x = x.clone() + self.outer.forward(relu(self.inner.forward(x)));
        scope.output(self.head.forward(pooled(x)));
    }
}

/// Concatenated channels, of an unequal number, flattened together with their positions.
#[derive(Module, Debug)]
pub(crate) struct Dense {
    a: Conv2d,
    b: Conv2d,
    c: Conv2d,
    head: Linear,
}

impl Shrinks for Dense {
    fn new(device: &Device) -> Self {
        let (a, b, c) = (conv(3, 6, device), conv(6, 4, device), conv(10, 5, device));
        filled(Self { a, b, c, head: LinearConfig::new(15 * 64, 3).init(device) }, 2)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let x = relu(self.a.forward(x));
        let x = Tensor::cat(vec![relu(self.b.forward(x.clone())), x], 1);
        let x = Tensor::cat(vec![x.clone(), sigmoid(self.c.forward(x))], 1);
        let flat: Tensor<2> = x.flatten(1, 3);
        scope.output(self.head.forward(flat));
    }
}

/// Depthwise and grouped convolutions, and a shuffle between them.
#[derive(Module, Debug)]
pub(crate) struct Shuffle {
    stem: Conv2d,
    depthwise: Conv2d,
    grouped: Conv2d,
    last: Conv2d,
    head: Linear,
}

impl Shrinks for Shuffle {
    fn new(device: &Device) -> Self {
        let grouped = |from, to, groups| Conv2dConfig::new([from, to], [3, 3]).with_groups(groups).init(device);
        let model = Self {
            stem: conv(3, 8, device),
            depthwise: grouped(8, 8, 8),
            grouped: grouped(8, 12, 2),
            last: grouped(12, 6, 3),
            head: LinearConfig::new(6, 4).init(device),
        };
        filled(model, 3)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let x = relu(self.depthwise.forward(relu(self.stem.forward(x))));
        let x = relu(self.grouped.forward(x));
        let [batch, channels, height, width] = x.dims();
        let x = x.reshape([batch, 2, channels / 2, height, width]).swap_dims(1, 2);
        let x = self.last.forward(x.reshape([batch, channels, height, width]));
        scope.output(self.head.forward(pooled(x)));
    }

    fn set(&mut self, fields: &mut Fields) {
        fields.set("depthwise.groups", &mut self.depthwise.groups);
        fields.set("grouped.groups", &mut self.grouped.groups);
        fields.set("last.groups", &mut self.last.groups);
    }
}

/// Norms over groups and instances.
#[derive(Module, Debug)]
pub(crate) struct Norms {
    stem: Conv2d,
    groups: GroupNorm,
    middle: Conv2d,
    instances: InstanceNorm,
    head: Linear,
}

impl Shrinks for Norms {
    fn new(device: &Device) -> Self {
        let model = Self {
            stem: conv(3, 12, device),
            groups: GroupNormConfig::new(4, 12).init(device),
            middle: conv(12, 6, device),
            instances: InstanceNormConfig::new(6).init(device),
            head: LinearConfig::new(6, 4).init(device),
        };
        filled(model, 4)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let x = relu(self.groups.forward(self.stem.forward(x)));
        let x = relu(self.instances.forward(self.middle.forward(x)));
        scope.output(self.head.forward(pooled(x.clone() * x)));
    }

    fn set(&mut self, fields: &mut Fields) {
        fields.set("groups.num_groups", &mut self.groups.num_groups);
        fields.set("groups.num_channels", &mut self.groups.num_channels);
        fields.set("instances.num_channels", &mut self.instances.num_channels);
    }
}

/// A U: down, up by a transposed convolution, and across by concatenation.
#[derive(Module, Debug)]
pub(crate) struct UNet {
    down: Conv2d,
    bottom: Conv2d,
    up: ConvTranspose2d,
    last: Conv2d,
    out: Conv2d,
}

impl Shrinks for UNet {
    fn new(device: &Device) -> Self {
        let model = Self {
            down: conv(1, 6, device),
            bottom: Conv2dConfig::new([6, 8], [2, 2]).with_stride([2, 2]).init(device),
            up: ConvTranspose2dConfig::new([8, 6], [2, 2]).with_stride([2, 2]).init(device),
            last: conv(12, 6, device),
            out: conv(6, 1, device),
        };
        filled(model, 5)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 1));
        let x = relu(self.down.forward(x));
        let low = relu(self.bottom.forward(x.clone()));
        let x = Tensor::cat(vec![x, self.up.forward(low)], 1);
        scope.output(self.out.forward(relu(self.last.forward(x))));
    }
}

/// Our attention in an encoder, on tied embeddings: heads and the inner layer can go, the width cannot.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    embedding: Embedding,
    attention: MultiHeadAttention,
    inner: Linear,
    outer: Linear,
    positions: Param<Tensor<3>>,
}

impl Shrinks for Encoder {
    fn new(device: &Device) -> Self {
        let model = Self {
            embedding: EmbeddingConfig::new(11, 8).init(device),
            attention: MultiHeadAttention::new(8, 4, 3, 0.1, device),
            inner: LinearConfig::new(8, 10).init(device),
            outer: LinearConfig::new(10, 8).init(device),
            positions: Param::from_tensor(Tensor::zeros([1, 5, 8], device)),
        };
        filled(model, 6)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let ids = scope.input(&Tensor::<2, Int>::from_ints([[1, 2, 3, 4, 5], [10, 0, 7, 7, 2]], device));
        let x = self.embedding.forward(ids) + self.positions.val();
        let x = x.clone() + self.attention.forward(AttentionInput::self_attn(x));
        let x = x.clone() + self.outer.forward(burn::tensor::activation::gelu(self.inner.forward(x)));
        // Tied to the embedding.
        let [batch, length, width] = x.dims();
        let logits = x.reshape([batch * length, width]).matmul(self.embedding.weight.val().transpose());
        scope.output(logits);
    }

    fn set(&mut self, fields: &mut Fields) {
        fields.set("attention.d_k", &mut self.attention.d_k);
    }
}

/// Burn's own encoder, of which the inner layer can go.
#[derive(Module, Debug)]
pub(crate) struct Stock {
    encoder: TransformerEncoder,
    head: Linear,
}

impl Shrinks for Stock {
    fn new(device: &Device) -> Self {
        let encoder = TransformerEncoderConfig::new(8, 12, 2, 2).init(device);
        filled(Self { encoder, head: LinearConfig::new(8, 3).init(device) }, 7)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 8));
        let x = self.encoder.forward(TransformerEncoderInput::new(x));
        scope.output(self.head.forward(x));
    }
}

/// Unrolled over time.
#[derive(Module, Debug)]
pub(crate) struct Recurrent {
    embed: Linear,
    lstm: Lstm,
    gru: Gru,
    head: Linear,
}

impl Shrinks for Recurrent {
    fn new(device: &Device) -> Self {
        let model = Self {
            embed: LinearConfig::new(4, 6).init(device),
            lstm: LstmConfig::new(6, 8, true).init(device),
            gru: GruConfig::new(8, 6, true).init(device),
            head: LinearConfig::new(6, 3).init(device),
        };
        filled(model, 8)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 4));
        let (x, _) = self.lstm.forward(self.embed.forward(x), None);
        let x = self.gru.forward(x, None);
        let [batch, _, width] = x.dims();
        scope.output(self.head.forward(x.slice([0..batch, 4..5, 0..width]).reshape([batch, width])));
    }

    fn set(&mut self, fields: &mut Fields) {
        fields.set("lstm.d_hidden", &mut self.lstm.d_hidden);
        fields.set("gru.d_hidden", &mut self.gru.d_hidden);
    }
}

/// Two branches multiplied with each other, a gate by even pieces, and a roll by cut and concatenation.
#[derive(Module, Debug)]
pub(crate) struct Branches {
    a: Linear,
    b: Linear,
    gates: Linear,
    mixed: Linear,
    head: Linear,
}

impl Shrinks for Branches {
    fn new(device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        filled(
            Self { a: linear(6, 8), b: linear(6, 8), gates: linear(5, 12), mixed: linear(6, 8), head: linear(8, 3) },
            9,
        )
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 6));
        let product = self.a.forward(x.clone()).matmul(self.b.forward(x).transpose());
        let gates = self.gates.forward(product);
        let pieces = gates.chunk(2, 2);
        let x = pieces[0].clone() * sigmoid(pieces[1].clone());
        let x = relu(self.mixed.forward(x));
        let rolled = Tensor::cat(vec![x.clone().narrow(1, 2, 3), x.narrow(1, 0, 2)], 1);
        scope.output(self.head.forward(rolled));
    }
}
