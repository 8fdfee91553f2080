//! A small language model on characters, in the form of nanoGPT.

use crate::text::Text;
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::nn::attention::generate_autoregressive_mask;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::transformer::TransformerEncoderConfig;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use indicatif::ProgressBar;
use pruning_burn::nn::{TransformerEncoder, TransformerEncoderInput};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::PI;

/// The sizes of a [`Gpt`].
#[derive(Clone, Copy, Debug)]
pub struct GptSize {
    /// Number of blocks.
    pub layers: usize,
    /// Channels of the residual stream.
    pub width: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Characters that the network sees at most.
    pub context: usize,
}

/// A transformer decoder with norms before attention and feed-forward layer (Radford et al. 2019).
///
/// Unlike nanoGPT it has biases, and the weights of the head are its own.
#[derive(Module, Debug)]
pub struct Gpt {
    token: Embedding,
    position: Embedding,
    encoder: TransformerEncoder,
    norm: LayerNorm,
    head: Linear,
}

impl Gpt {
    /// Creates a model with random weights of deviation 0.02; projections into the residual stream start smaller, as in GPT-2.
    #[must_use]
    pub fn new(size: GptSize, vocabulary: usize, device: &Device) -> Self {
        let GptSize { layers, width, heads, context } = size;
        let initializer = Initializer::Normal { mean: 0.0, std: 0.02 };
        let embedding = |count| EmbeddingConfig::new(count, width).with_initializer(initializer.clone()).init(device);
        let encoder = TransformerEncoderConfig::new(width, 4 * width, heads, layers)
            .with_norm_first(true)
            .with_dropout(0.0)
            .with_initializer(initializer.clone());
        let mut encoder = TransformerEncoder::from(encoder.init(device));
        let smaller = Initializer::Normal { mean: 0.0, std: 0.02 / (2.0 * layers as f64).sqrt() };
        for layer in &mut encoder.layers {
            layer.mha.out.weight = smaller.init([width, width], device);
            layer.pwff.linear_outer.weight = smaller.init([4 * width, width], device);
        }
        Self {
            token: embedding(vocabulary),
            position: embedding(context),
            encoder,
            norm: LayerNormConfig::new(width).init(device),
            head: LinearConfig::new(width, vocabulary).with_bias(false).with_initializer(initializer).init(device),
        }
    }

    /// Returns the number of characters that the network sees at most.
    #[must_use]
    pub fn context(&self) -> usize {
        self.position.weight.lazy_shape()[0]
    }

    /// Logits `[batch, length, vocabulary]` of the characters that follow those of `[batch, length]`.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, length] = tokens.dims();
        let mask = generate_autoregressive_mask(1, length, &tokens.device());
        let x = self.token.forward(tokens) + self.position.weight.val().narrow(0, 0, length).unsqueeze();
        let x = self.encoder.forward(TransformerEncoderInput::new(x).mask_attn(mask));
        self.head.forward(self.norm.forward(x))
    }

    /// The mean cross entropy of windows `[batch, length + 1]`: each character by those before it.
    #[must_use]
    pub fn loss(&self, windows: &Tensor<2, Int>) -> Tensor<1> {
        let [batch, length] = windows.dims();
        let logits = self.forward(windows.clone().slice([0..batch, 0..length - 1]));
        let next = windows.clone().slice([0..batch, 1..length]);
        let vocabulary = logits.dims()[2];
        CrossEntropyLossConfig::new()
            .init(&windows.device())
            .forward(logits.reshape([batch * (length - 1), vocabulary]), next.reshape([batch * (length - 1)]))
    }

    /// The mean cross entropy of batches of windows, in nats a character.
    #[must_use]
    pub fn mean_loss(&self, batches: &[Tensor<2, Int>]) -> f64 {
        let count = |windows: &Tensor<2, Int>| windows.dims()[0] as f64;
        let sum: f64 = batches.iter().map(|w| self.loss(w).into_scalar::<f64>() * count(w)).sum();
        sum / batches.iter().map(count).sum::<f64>()
    }

    /// Draws `count` characters after the first one, at a temperature of 0.8.
    #[must_use]
    pub fn sample(&self, first: u8, count: usize, seed: u64, device: &Device) -> Vec<u8> {
        let (mut random, mut text) = (StdRng::seed_from_u64(seed), vec![first]);
        for _ in 0..count {
            let seen = &text[text.len().saturating_sub(self.context())..];
            let logits = self.forward(windows([seen], device)).slice([0..1, seen.len() - 1..seen.len()]);
            let weights = burn::tensor::activation::softmax(logits / 0.8, 2).into_data();
            let mut left: f32 = random.random();
            let chosen = weights.iter::<f32>().position(|w| {
                left -= w;
                left <= 0.0
            });
            text.push(chosen.unwrap_or(0) as u8);
        }
        text
    }
}

/// Windows of characters as a tensor `[windows, length]`.
///
/// # Panics
/// If the windows differ in length.
#[must_use]
pub fn windows<'a>(windows: impl IntoIterator<Item = &'a [u8]>, device: &Device) -> Tensor<2, Int> {
    let windows: Vec<&[u8]> = windows.into_iter().collect();
    let numbers: Vec<i32> = windows.iter().flat_map(|w| w.iter().map(|&c| i32::from(c))).collect();
    let shape = [windows.len(), windows.first().map_or(0, |w| w.len())];
    Tensor::from_data(burn::tensor::TensorData::new(numbers, shape), device)
}

/// How a [`Gpt`] trains: AdamW as nanoGPT's `train_shakespeare_char` has it (rate 1e-3, betas 0.9 and 0.99, decay 0.1).
///
/// Unlike nanoGPT, decay reaches biases and norms too, and gradients are clipped to a norm of 1 for each parameter, not for all together.
#[derive(Clone, Copy, Debug)]
pub struct GptTraining {
    /// Number of steps.
    pub steps: usize,
    /// Windows in a batch.
    pub batch: usize,
    /// Of the order in which windows are drawn.
    pub seed: u64,
}

impl GptTraining {
    const RATE: f64 = 1e-3;
    const WARMUP: usize = 100;

    /// The learning rate of a step: up in a line, then down along half a cosine to a tenth.
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        if step < Self::WARMUP {
            return Self::RATE * (step + 1) as f64 / (Self::WARMUP + 1) as f64;
        }
        let t = (step - Self::WARMUP) as f64 / self.steps.saturating_sub(Self::WARMUP).max(1) as f64;
        Self::RATE * (0.1 + 0.45 * (1.0 + (PI * t).cos()))
    }

    /// Trains a model on windows at random places of the training text.
    #[must_use]
    pub fn run(&self, mut model: Gpt, text: &Text, device: &Device, bar: &ProgressBar) -> Gpt {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut optimizer = AdamWConfig::new()
            .with_beta_2(0.99)
            .with_epsilon(1e-8)
            .with_weight_decay(0.1)
            .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
            .init();
        bar.set_length(self.steps as u64);
        for step in 0..self.steps {
            let batch = windows(text.draw(self.batch, model.context() + 1, &mut random), device);
            let gradients = GradientsParams::from_grads(model.loss(&batch).backward(), &model);
            model = optimizer.step(self.rate(step), model, gradients);
            bar.inc(1);
        }
        bar.finish_and_clear();
        model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_for_a_hundred_steps_and_fall_to_a_tenth() {
        let training = GptTraining { steps: 2000, batch: 12, seed: 1 };
        assert!(training.rate(0) < training.rate(50) && training.rate(50) < training.rate(99));
        assert_eq!(training.rate(100), 1e-3);
        assert!((training.rate(1050) - 5.5e-4).abs() < 1e-12 && (training.rate(2000) - 1e-4).abs() < 1e-12);
    }

    #[test]
    fn a_character_does_not_see_those_after_it() {
        let device = Device::flex();
        let model = Gpt::new(GptSize { layers: 2, width: 16, heads: 2, context: 8 }, 5, &device);
        let first = |text: &[u8]| model.forward(windows([text], &device)).slice([0..1, 0..3]).into_data();
        assert_eq!(first(&[1, 2, 3, 4]), first(&[1, 2, 3, 0]));
        assert_ne!(first(&[1, 2, 3, 4]), first(&[0, 2, 3, 4]));
    }
}
