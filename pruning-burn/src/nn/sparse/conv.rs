//! Two-dimensional convolutions with sparse weights: [`SparseConv2d`].

use crate::layer_types;
use crate::nn::sparse::convolution::Convolution;
use crate::nn::sparse::layer::Layer;
use crate::nn::sparse::ops;
use crate::nn::sparse::weights::Weights;
use crate::nn::sparse::{Execution, SparseLayerError, SparseOptions, check_len, check_type};
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Tensor};
use pruning_sparse::{ConvShape, Sparse, SparseError};
use std::sync::Arc;

/// A two-dimensional convolution for inference, made from a pruned one, that skips the zeros of its weights.
///
/// It can be a field of a module, and its clones share the weights. They are **not parameters**: records do not contain them,
/// and optimizers and `num_params` do not see them. Train and save the original [`Conv2d`], and convert it after loading.
///
/// Sums, infinities and types are treated as in [`SparseLinear`](super::SparseLinear). On the host, a layer keeps plans for the last four
/// input sizes, where single samples and batches count separately.
///
/// ```
/// use burn::nn::{PaddingConfig2d, conv::Conv2dConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use pruning_burn::plugin::Plugins;
/// use pruning_burn::Pruner;
/// use pruning_burn::nn::SparseConv2d;
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// let device = Device::flex();
/// let mut dense = Conv2dConfig::new([8, 16], [3, 3]).with_padding(PaddingConfig2d::Same).init(&device);
/// let pruner = Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.9", &Plugins::linked())?;
/// pruner.prune(&mut dense, None)?;
///
/// let sparse = SparseConv2d::from_conv2d(&dense)?;
/// let x = Tensor::<4>::random([2, 8, 10, 12], Distribution::Default, &device);
/// let difference = (sparse.forward(x.clone()) - dense.forward(x)).abs().max().into_scalar::<f32>();
/// assert!(difference < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SparseConv2d {
    #[module(skip)]
    convolution: Arc<Convolution>,
}

impl SparseConv2d {
    /// Creates a sparse layer from a convolution, masked or finished, in compressed sparse rows.
    ///
    /// # Errors
    /// The weights are not in single or half precision, are empty, or number more than 32 bits can count; a size is zero, or groups do not
    /// divide the channels.
    pub fn from_conv2d(conv: &Conv2d) -> Result<Self, SparseLayerError> {
        Self::with_options(conv, SparseOptions::new())
    }

    /// Creates a sparse layer from a convolution, masked or finished, with options.
    ///
    /// # Errors
    /// Fails like [`from_conv2d`](Self::from_conv2d), or if the weights do not fit the format.
    pub fn with_options(conv: &Conv2d, options: SparseOptions) -> Result<Self, SparseLayerError> {
        let weight = conv.weight.val();
        let [_, channels, height, width] = weight.dims();
        let frame = ConvShape::new(channels * conv.groups, [0, 0], [height, width])
            .with_stride(conv.stride)
            .with_dilation(conv.dilation)
            .with_groups(conv.groups);
        let bias = conv.bias.as_ref().map(|bias| bias.val());
        let layout = layer_types::of("Conv2d").layout("weight", &weight.dims());
        let weights = Weights::read(&weight, bias, &layout, options)?;
        Self::of(weights, frame, conv.padding.clone())
    }

    fn of(weights: Weights, frame: ConvShape, padding: PaddingConfig2d) -> Result<Self, SparseLayerError> {
        // Any kernel fits this input, so everything else is checked.
        let (kernel, dilation) = (frame.kernel, frame.dilation);
        let fits = [0, 1].map(|i| kernel[i].saturating_mul(dilation[i]).clamp(1, u32::MAX as usize));
        let mut largest = frame.clone();
        largest.input = fits;
        largest.output()?;
        let (rows, groups) = (weights.matrix.rows(), frame.groups);
        if !rows.is_multiple_of(groups) {
            return Err(SparseError::DoesNotDivide { what: "output channels", part: groups, whole: rows }.into());
        }
        check_len("columns of the weights", frame.fan_in(), weights.matrix.cols())?;
        #[cfg(feature = "cube")]
        crate::nn::sparse::cube::check(&frame)?;
        Ok(Self { convolution: Arc::new(Convolution::new(weights, frame, padding)) })
    }

    /// Computes the output for an input, like [`Conv2d::forward`].
    ///
    /// # Shapes
    /// `[batch, channels in, height in, width in]` to `[batch, channels out, height out, width out]`.
    ///
    /// # Panics
    /// The input has another number of channels, is smaller than the kernel, or has a type that single precision cannot hold;
    /// [`try_forward`](Self::try_forward) returns an error instead.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Computes the output for an input, or returns an error if the input does not fit.
    ///
    /// # Shapes
    /// `[batch, channels in, height in, width in]` to `[batch, channels out, height out, width out]`.
    ///
    /// # Errors
    /// The input has another number of channels, is smaller than the kernel, or has a type that single precision cannot hold.
    pub fn try_forward(&self, x: Tensor<4>) -> Result<Tensor<4>, SparseLayerError> {
        let weights = &self.convolution.weights;
        let [batch, channels, height, width] = x.dims();
        check_len("channels of the input", self.convolution.frame.channels, channels)?;
        let dtype = x.dtype();
        check_type("inputs", dtype)?;
        let shape = self.convolution.shape([height, width]);
        let output = shape.output()?;
        for (what, size) in [("height of the input", height), ("width of the input", width)] {
            if size == 0 {
                return Err(SparseError::Zero { what }.into());
            }
        }
        let x = if dtype == DType::F32 { x } else { x.cast(DType::F32) };
        let y = if batch == 0 {
            Tensor::zeros([0, weights.matrix.rows(), output[0], output[1]], &x.device())
        } else if self.execution(&x.device()) == Execution::Dense {
            let (weight, bias) = weights.dense(&x.device());
            let [rows, _] = weight.dims();
            let weight = weight.reshape([rows, channels / shape.groups, shape.kernel[0], shape.kernel[1]]);
            let padding = shape.padding.map(|[before, after]| (before, after));
            let options = ConvOptions::new_with_padding(shape.stride, padding, shape.dilation, shape.groups);
            weights.activate(conv2d(x, weight, bias, options))
        } else {
            ops::forward(x, Layer::Conv2d(self.convolution.clone()))?
        };
        Ok(if dtype == DType::F32 { y } else { y.cast(dtype) })
    }

    /// Returns how [`forward`](Self::forward) runs on a device.
    #[must_use]
    pub fn execution(&self, device: &Device) -> Execution {
        Execution::on(device)
    }

    /// Returns the weights, `[channels out, channels in / groups * kernel height * kernel width]`.
    #[must_use]
    pub fn matrix(&self) -> &Sparse<f32> {
        &self.convolution.weights.matrix
    }

    /// Returns the biases, one for each output channel.
    #[must_use]
    pub fn bias(&self) -> Option<&[f32]> {
        self.convolution.weights.bias.as_deref()
    }

    /// Returns the options that the layer was made with.
    #[must_use]
    pub fn options(&self) -> SparseOptions {
        self.convolution.weights.options
    }

    /// Returns the number of weights that are not zero.
    #[must_use]
    pub fn nonzeros(&self) -> usize {
        self.convolution.weights.nonzeros
    }

    /// Returns the bytes of the weights in host memory, in their format and in the plans made so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.convolution.weights.matrix.bytes() + self.convolution.plan_bytes()
    }
}

impl ModuleDisplay for SparseConv2d {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let Convolution { weights, frame, padding, .. } = &*self.convolution;
        let pairs = [("stride", frame.stride), ("kernel_size", frame.kernel), ("dilation", frame.dilation)];
        let content = content.add("ch_in", &frame.channels).add("ch_out", &weights.matrix.rows());
        let content = pairs.iter().fold(content, |content, (name, pair)| content.add(name, &format!("{pair:?}")));
        let content = content.add("groups", &frame.groups).add_debug_attribute("padding", padding);
        weights.describe(content).optional()
    }
}
