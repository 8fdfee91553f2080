//! Models to prune.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, Conv3d, Conv3dConfig, ConvTranspose1d, ConvTranspose1dConfig,
    ConvTranspose2d, ConvTranspose2dConfig, ConvTranspose3d, ConvTranspose3dConfig,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig,
    Linear, LinearConfig, Lstm, LstmConfig,
};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

/// Two linear layers, the second without bias.
#[derive(Module, Debug)]
pub struct Mlp {
    /// 12 to 16.
    pub fc1: Linear,
    /// 16 to 8.
    pub fc2: Linear,
}

impl Mlp {
    /// With weights from `seed`.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        filled(Self::lazy(device), seed)
    }

    /// With weights that are not drawn yet.
    #[must_use]
    pub fn lazy(device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(12, 16).init(device),
            fc2: LinearConfig::new(16, 8).with_bias(false).init(device),
        }
    }

    /// `[batch, 12]` to `[batch, 8]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(relu(self.fc1.forward(x)))
    }

    /// An input `[batch, 12]`, the same on every device.
    #[must_use]
    pub fn input(batch: usize, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(numbers(batch * 12, 77), [batch, 12]), device)
    }
}

/// Convolutions, one without bias, with batch norm between.
#[derive(Module, Debug)]
pub struct Cnn {
    /// 3 to 8 channels.
    pub conv1: Conv2d,
    /// Of 8 channels.
    pub norm: BatchNorm,
    /// 8 to 8 channels, no bias.
    pub conv2: Conv2d,
    /// 8 to 4.
    pub head: Linear,
}

impl Cnn {
    /// With weights from `seed`.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        let model = Self {
            conv1: Conv2dConfig::new([3, 8], [3, 3]).init(device),
            norm: BatchNormConfig::new(8).init(device),
            conv2: Conv2dConfig::new([8, 8], [3, 3]).with_bias(false).init(device),
            head: LinearConfig::new(8, 4).init(device),
        };
        filled(model, seed)
    }

    /// `[batch, 3, 8, 8]` to `[batch, 4]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm.forward(self.conv1.forward(x)));
        let x = relu(self.conv2.forward(x));
        self.head.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3))
    }
}

/// Two layers that are one parameter.
#[derive(Module, Debug)]
pub struct Tied {
    /// 8 to 8.
    pub first: Linear,
    /// The same weights.
    pub second: Linear,
    /// Weights of its own.
    pub head: Linear,
}

impl Tied {
    /// With weights from `seed`.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        let first = filled(LinearConfig::new(8, 8).with_bias(false).init(device), seed);
        Self { second: first.clone(), first, head: filled(LinearConfig::new(8, 4).init(device), seed + 1) }
    }
}

/// A layer of every type that Burn has a weight for.
#[derive(Module, Debug)]
#[expect(missing_docs, reason = "named after their types")]
pub struct Zoo {
    pub linear: Linear,
    pub conv1: Conv1d,
    pub conv2: Conv2d,
    pub conv3: Conv3d,
    pub up1: ConvTranspose1d,
    pub up2: ConvTranspose2d,
    pub up3: ConvTranspose3d,
    pub embedding: Embedding,
    pub batch_norm: BatchNorm,
    pub layer_norm: LayerNorm,
    pub group_norm: GroupNorm,
    pub attention: MultiHeadAttention,
    pub lstm: Lstm,
    pub listed: Vec<Linear>,
    pub maybe: Option<Linear>,
    pub absent: Option<Linear>,
}

impl Zoo {
    /// With weights from `seed`.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        let linear = || LinearConfig::new(8, 12).init(device);
        let model = Self {
            linear: linear(),
            conv1: Conv1dConfig::new(4, 6, 3).init(device),
            conv2: Conv2dConfig::new([4, 6], [3, 3]).with_groups(2).init(device),
            conv3: Conv3dConfig::new([2, 3], [2, 2, 2]).init(device),
            up1: ConvTranspose1dConfig::new([4, 6], 3).init(device),
            up2: ConvTranspose2dConfig::new([4, 6], [2, 2]).init(device),
            up3: ConvTranspose3dConfig::new([2, 3], [2, 2, 2]).init(device),
            embedding: EmbeddingConfig::new(10, 8).init(device),
            batch_norm: BatchNormConfig::new(6).init(device),
            layer_norm: LayerNormConfig::new(8).init(device),
            group_norm: GroupNormConfig::new(2, 6).init(device),
            attention: MultiHeadAttentionConfig::new(8, 2).init(device),
            lstm: LstmConfig::new(8, 4, true).init(device),
            listed: vec![linear(), linear()],
            maybe: Some(linear()),
            absent: None,
        };
        filled(model, seed)
    }

    /// What its layers make of inputs of their own, as one list of numbers.
    #[must_use]
    pub fn outputs(&self, device: &Device) -> Vec<f32> {
        let x = |shape: &[usize]| TensorData::new(numbers(shape.iter().product(), 5), shape.to_vec());
        let mut all = Vec::new();
        let mut add = |data: TensorData| all.extend(data.iter::<f32>());
        let rows = Tensor::<2>::from_data(x(&[3, 8]), device);
        let steps = Tensor::<3>::from_data(x(&[2, 5, 8]), device);
        add(self.linear.forward(rows.clone()).into_data());
        add(self.conv1.forward(Tensor::from_data(x(&[2, 4, 7]), device)).into_data());
        add(self.conv2.forward(Tensor::from_data(x(&[2, 4, 5, 5]), device)).into_data());
        add(self.conv3.forward(Tensor::from_data(x(&[1, 2, 4, 4, 4]), device)).into_data());
        add(self.up1.forward(Tensor::from_data(x(&[2, 4, 7]), device)).into_data());
        add(self.up2.forward(Tensor::from_data(x(&[2, 4, 5, 5]), device)).into_data());
        add(self.up3.forward(Tensor::from_data(x(&[1, 2, 3, 3, 3]), device)).into_data());
        add(self.embedding.forward(Tensor::from_data([[1, 3, 9]], device)).into_data());
        add(self.attention.forward(MhaInput::self_attn(steps.clone())).context.into_data());
        add(self.lstm.forward(steps, None).0.into_data());
        add(self.listed[1].forward(rows).into_data());
        all
    }
}

/// Numbers in `(-1, 1)`, well apart from zero and from each other, the same everywhere.
#[must_use]
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let magnitude = 0.01 + 0.99 * (state >> 41) as f32 / (1u64 << 23) as f32;
            if state & 1 == 0 { magnitude } else { -magnitude }
        })
        .collect()
}

/// A tensor of [`numbers`]. Burn's own generator is one for the whole process: what a test draws from it depends on its neighbours.
#[must_use]
pub fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product(), seed), shape), device)
}

/// A module with every parameter set from `seed`: the same on every device. Statistics too, which are positive.
#[must_use]
pub fn filled<M: Module>(module: M, seed: u64) -> M {
    struct Fill {
        seed: u64,
        names: Vec<String>,
    }

    impl ModuleMapper for Fill {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.names.push(name.to_string());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.names.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.seed += 1;
            let (seed, statistic) = (self.seed, self.names.last().is_some_and(|name| name.starts_with("running_")));
            param.map(|old| {
                let shape = old.shape();
                let mut values = numbers(shape.num_elements(), seed);
                // A variance must not be negative.
                if statistic {
                    values.iter_mut().for_each(|v| *v = v.abs());
                }
                let new = Tensor::from_data(TensorData::new(values, shape), &old.device());
                new.set_require_grad(old.is_require_grad())
            })
        }
    }

    module.map(&mut Fill { seed: seed.wrapping_mul(1000), names: Vec::new() })
}
