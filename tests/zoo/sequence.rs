//! Transformers and recurrent networks.

use crate::parts::{Network, data, linear, shrink, weighted};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    DropoutConfig, Embedding, EmbeddingConfig, Gru, GruConfig, Initializer, LayerNorm, LayerNormConfig, Linear, Lstm,
    LstmConfig,
};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Int, Tensor};
use pruning_burn::nn::{AttentionInput, MultiHeadAttention};
use pruning_burn::shrink::Fields;

/// Width, heads, and width of the inner layer.
#[derive(Clone, Copy)]
pub(crate) struct Widths(pub(crate) usize, pub(crate) usize, pub(crate) usize);

/// Attention and two linear layers, each with a norm.
#[derive(Module, Debug)]
struct Layer {
    attention: MultiHeadAttention,
    norm1: LayerNorm,
    inner: Linear,
    outer: Linear,
    norm2: LayerNorm,
}

impl Layer {
    fn new(Widths(width, heads, hidden): Widths, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(width).init(device);
        let size = width / heads;
        let square = || linear(width, width, device);
        Self {
            attention: MultiHeadAttention {
                q: square(),
                k: square(),
                v: square(),
                out: square(),
                dropout: DropoutConfig::new(0.1).init(),
                d_k: size,
                scale: (size as f32).sqrt(),
                min_float: -1.0e4,
                quiet_softmax: false,
            },
            norm1: norm(),
            inner: linear(width, hidden, device),
            outer: linear(hidden, width, device),
            norm2: norm(),
        }
    }

    fn attend(&self, x: Tensor<3>) -> Tensor<3> {
        self.attention.forward(AttentionInput::self_attn(x))
    }

    fn feed(&self, x: Tensor<3>) -> Tensor<3> {
        self.outer.forward(gelu(self.inner.forward(x)))
    }

    /// Norms first, as in ViT.
    fn before(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attend(self.norm1.forward(x));
        x.clone() + self.feed(self.norm2.forward(x))
    }

    /// Norms last, as in BERT.
    fn after(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.norm1.forward(x.clone() + self.attend(x));
        self.norm2.forward(x.clone() + self.feed(x))
    }
}

/// Sets the size of heads of `layers.0.attention` and so on.
fn head_sizes(layers: &mut [Layer], fields: &mut Fields) {
    for (i, layer) in layers.iter_mut().enumerate() {
        fields.set(&format!("layers.{i}.attention.d_k"), &mut layer.attention.d_k);
    }
}

/// A vision transformer.
#[derive(Module, Debug)]
pub(crate) struct Vit {
    patches: Conv2d,
    class: Param<Tensor<3>>,
    positions: Param<Tensor<3>>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
}

impl Vit {
    /// Side of a patch, and how many there are.
    pub(crate) fn of(
        widths: Widths,
        layers: usize,
        (patch, count): (usize, usize),
        classes: usize,
        device: &Device,
    ) -> Self {
        let Widths(width, ..) = widths;
        Self {
            patches: Conv2dConfig::new([3, width], [patch, patch])
                .with_stride([patch, patch])
                .with_initializer(Initializer::Zeros)
                .init(device),
            class: Param::from_tensor(Tensor::zeros([1, 1, width], device)),
            positions: Param::from_tensor(Tensor::zeros([1, count + 1, width], device)),
            layers: (0..layers).map(|_| Layer::new(widths, device)).collect(),
            norm: LayerNormConfig::new(width).init(device),
            head: linear(width, classes, device),
        }
    }
}

impl Network for Vit {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn small(device: &Device) -> Self {
        weighted(Self::of(Widths(12, 3, 20), 2, (4, 16), 5, device), 9)
    }

    fn example(device: &Device) -> Tensor<4> {
        data([2, 3, 16, 16], device)
    }

    fn infer(&self, x: Tensor<4>) -> Tensor<2> {
        let patches: Tensor<3> = self.patches.forward(x).flatten(2, 3);
        let patches = patches.swap_dims(1, 2);
        let class = self.class.val().repeat_dim(0, patches.dims()[0]);
        let x = Tensor::cat(vec![class, patches], 1) + self.positions.val();
        let x = self.layers.iter().fold(x, |x, layer| layer.before(x));
        let first = self.norm.forward(x).narrow(1, 0, 1);
        self.head.forward(first.squeeze_dim(1))
    }

    fn fields(&mut self, fields: &mut Fields) {
        head_sizes(&mut self.layers, fields);
    }
}

/// The encoder of BERT, on embeddings.
#[derive(Module, Debug)]
pub(crate) struct Bert {
    layers: Vec<Layer>,
}

impl Bert {
    pub(crate) fn of(widths: Widths, layers: usize, device: &Device) -> Self {
        Self { layers: (0..layers).map(|_| Layer::new(widths, device)).collect() }
    }
}

impl Network for Bert {
    type Input = Tensor<3>;
    type Output = Tensor<3>;

    fn small(device: &Device) -> Self {
        weighted(Self::of(Widths(12, 4, 20), 2, device), 10)
    }

    fn example(device: &Device) -> Tensor<3> {
        data([2, 7, 12], device)
    }

    fn infer(&self, x: Tensor<3>) -> Tensor<3> {
        self.layers.iter().fold(x, |x, layer| layer.after(x))
    }

    fn fields(&mut self, fields: &mut Fields) {
        head_sizes(&mut self.layers, fields);
    }
}

/// What a recurrent classifier reads: 2 sequences of 6 words.
fn words(device: &Device) -> Tensor<2, Int> {
    Tensor::from_ints([[1, 2, 3, 4, 5, 6], [9, 0, 7, 7, 2, 8]], device)
}

/// The last of the steps.
fn last(x: Tensor<3>) -> Tensor<2> {
    let steps = x.dims()[1];
    x.narrow(1, steps - 1, 1).squeeze_dim(1)
}

macro_rules! recurrent {
    ($(#[$doc:meta] $name:ident: $layer:ty, $config:ident, $run:expr;)+) => {$(
        #[$doc]
        #[derive(Module, Debug)]
        pub(crate) struct $name {
            embedding: Embedding,
            layers: Vec<$layer>,
            head: Linear,
        }

        impl $name {
            pub(crate) fn of(words: usize, width: usize, hidden: usize, layers: usize, device: &Device) -> Self {
                let from = |layer: usize| if layer == 0 { width } else { hidden };
                Self {
                    embedding: EmbeddingConfig::new(words, width).init(device),
                    layers: (0..layers).map(|l| $config::new(from(l), hidden, true).init(device)).collect(),
                    head: linear(hidden, 3, device),
                }
            }
        }

        impl Network for $name {
            type Input = Tensor<2, Int>;
            type Output = Tensor<2>;

            fn small(device: &Device) -> Self {
                weighted(Self::of(10, 6, 8, 2, device), 11)
            }

            fn example(device: &Device) -> Tensor<2, Int> {
                words(device)
            }

            fn infer(&self, x: Tensor<2, Int>) -> Tensor<2> {
                let x = self.layers.iter().fold(self.embedding.forward(x), $run);
                self.head.forward(last(x))
            }

            fn fields(&mut self, fields: &mut Fields) {
                for (i, layer) in self.layers.iter_mut().enumerate() {
                    fields.set(&format!("layers.{i}.d_hidden"), &mut layer.d_hidden);
                }
            }
        }
    )+};
}

recurrent! {
    /// Two layers of LSTM.
    LstmClassifier: Lstm, LstmConfig, |x, layer: &Lstm| layer.forward(x, None).0;
    /// Two layers of GRU.
    GruClassifier: Gru, GruConfig, |x, layer: &Gru| layer.forward(x, None);
}

shrink!(Vit, Bert, LstmClassifier, GruClassifier);
