//! The encoder of BERT, and sentences as vectors by it.

use burn::module::Module;
use burn::nn::transformer::TransformerEncoderConfig;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use pruning_burn::nn::{TransformerEncoder, TransformerEncoderInput};
use serde::Deserialize;
use std::path::Path;

/// The sizes of a [`Bert`], as in `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct BertConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Channels of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Channels inside each feed-forward layer.
    pub intermediate_size: usize,
    /// Tokens of the longest sequence.
    pub max_position_embeddings: usize,
    /// Number of segments.
    pub type_vocab_size: usize,
    /// What norms add to the variance.
    pub layer_norm_eps: f64,
    /// The activation of the feed-forward layers, of which this module has one.
    pub hidden_act: Activation,
}

/// The activation of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The exact one, by the error function.
    Gelu,
}

impl BertConfig {
    /// Sizes for a run in seconds.
    #[must_use]
    pub const fn tiny(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 64,
            max_position_embeddings: 32,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
        }
    }

    /// Creates a model with random weights.
    #[must_use]
    pub fn init(&self, device: &Device) -> Bert {
        let width = self.hidden_size;
        let embedding = |count| EmbeddingConfig::new(count, width).init(device);
        let encoder = TransformerEncoderConfig::new(
            width,
            self.intermediate_size,
            self.num_attention_heads,
            self.num_hidden_layers,
        );
        Bert {
            word: embedding(self.vocab_size),
            position: embedding(self.max_position_embeddings),
            segment: embedding(self.type_vocab_size),
            norm: LayerNormConfig::new(width).with_epsilon(self.layer_norm_eps).init(device),
            encoder: encoder.with_dropout(0.0).with_layer_norm_eps(self.layer_norm_eps).init(device).into(),
        }
    }
}

/// The encoder of BERT (Devlin et al. 2019), without its pooler.
///
/// Its attention and feed-forward layers are Burn's, in the form that can lose heads.
#[derive(Module, Debug)]
pub struct Bert {
    word: Embedding,
    position: Embedding,
    segment: Embedding,
    norm: LayerNorm,
    /// The blocks, whose weights are pruned.
    pub encoder: TransformerEncoder,
}

/// Names of tensors in files of `transformers`, and ours.
const NAMES: [(&str, &str); 12] = [
    (r"^embeddings\.word_embeddings\.", "word."),
    (r"^embeddings\.position_embeddings\.", "position."),
    (r"^embeddings\.token_type_embeddings\.", "segment."),
    (r"^embeddings\.LayerNorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.attention\.self\.query\.", "encoder.layers.$1.mha.q."),
    (r"^encoder\.layer\.(\d+)\.attention\.self\.key\.", "encoder.layers.$1.mha.k."),
    (r"^encoder\.layer\.(\d+)\.attention\.self\.value\.", "encoder.layers.$1.mha.v."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", "encoder.layers.$1.mha.out."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", "encoder.layers.$1.norm_1."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", "encoder.layers.$1.pwff.linear_inner."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", "encoder.layers.$1.pwff.linear_outer."),
    (r"^encoder\.layer\.(\d+)\.output\.LayerNorm\.", "encoder.layers.$1.norm_2."),
];

impl Bert {
    /// Loads `config.json` and `model.safetensors` of a folder as users download it.
    ///
    /// # Errors
    /// A file is missing or is not what it should be, or a tensor is missing or of another shape.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, BertError> {
        let failed = |name: &str, reason: String| BertError { file: folder.join(name).display().to_string(), reason };
        let name = "config.json";
        let text = std::fs::read_to_string(folder.join(name)).map_err(|error| failed(name, error.to_string()))?;
        let config: BertConfig = serde_json::from_str(&text).map_err(|error| failed(name, error.to_string()))?;
        let name = "model.safetensors";
        let mut model = config.init(device);
        let store = SafetensorsStore::from_file(folder.join(name)).with_from_adapter(PyTorchToBurnAdapter);
        let mut store = NAMES.iter().fold(store, |store, (from, to)| store.with_key_remapping(*from, *to));
        model.load_from(&mut store).map_err(|error| failed(name, error.to_string()))?;
        Ok(model)
    }

    /// Returns the number of tokens of the longest sequence.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.position.weight.lazy_shape()[0]
    }

    /// The vector of each sentence, `[batch, width]`: the mean over its tokens.
    #[must_use]
    pub fn forward(&self, sentences: &Sentences) -> Tensor<2> {
        let Sentences { tokens, padding } = sentences.clone();
        let [batch, length] = tokens.dims();
        // All tokens are of the first segment.
        let x = self.word.forward(tokens)
            + self.position.weight.val().narrow(0, 0, length).unsqueeze()
            + self.segment.weight.val().narrow(0, 0, 1).unsqueeze();
        let x = self.norm.forward(x);
        let x = self.encoder.forward(TransformerEncoderInput::new(x).mask_pad(padding.clone()));
        let tokens = padding.bool_not().float().reshape([batch, length, 1]);
        let count = tokens.clone().sum_dim(1);
        ((x * tokens).sum_dim(1) / count).squeeze_dim(1)
    }
}

/// Sentences of similar length, padded to the longest.
#[derive(Clone, Debug)]
pub struct Sentences {
    /// Numbers of tokens, `[batch, length]`.
    pub tokens: Tensor<2, Int>,
    /// Where there is no token, `[batch, length]`.
    pub padding: Tensor<2, Bool>,
}

impl Sentences {
    /// Puts sentences into one batch of a length that `multiple` divides; `padding` is the number of the token that is none.
    #[must_use]
    pub fn new(sentences: &[&[u32]], padding: u32, multiple: usize, device: &Device) -> Self {
        let length = sentences.iter().map(|s| s.len()).max().unwrap_or(0).next_multiple_of(multiple.max(1));
        let padded = |s: &&[u32]| s.iter().copied().chain(std::iter::repeat(padding)).take(length).collect::<Vec<_>>();
        let tokens: Vec<i32> = sentences.iter().flat_map(padded).map(|token| token as i32).collect();
        let absent: Vec<bool> = sentences.iter().flat_map(|s| (0..length).map(|i| i >= s.len())).collect();
        let shape = [sentences.len(), length];
        Self {
            tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
            padding: Tensor::from_data(TensorData::new(absent, shape), device),
        }
    }
}

/// A model that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct BertError {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}
