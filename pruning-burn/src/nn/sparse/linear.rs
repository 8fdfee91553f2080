//! Linear layers with sparse weights: [`SparseLinear`].

use crate::layer_types;
use crate::nn::sparse::layer::Layer;
use crate::nn::sparse::ops;
use crate::nn::sparse::product::{Plans, Product};
use crate::nn::sparse::weights::Weights;
use crate::nn::sparse::{Execution, SparseLayerError, SparseOptions, check_len, check_type};
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Tensor};
use pruning_sparse::Sparse;
use std::sync::Arc;

/// A linear layer for inference, made from a pruned one, that computes `y = x W + b` without the zeros of `W`.
///
/// It can be a field of a module, and its clones share the weights. They are **not parameters**: records do not contain them,
/// and optimizers and `num_params` do not see them. Train and save the original [`Linear`], and convert it after loading.
///
/// Sums are in single precision, and no zero is multiplied: an infinite or NaN input reaches only the outputs that have a weight for it,
/// unless [`execution`](Self::execution) is [`Dense`](Execution::Dense). Inputs of half precision are widened, and the output has their
/// type.
///
/// On the host, a layer keeps plans for batches of up to 3, 8 and 16 samples and for more. Each plan is made when it is first needed and
/// has its own copy of the weights. With the feature `rayon` a call uses all threads of the current pool. Outputs do not depend on the
/// number of threads or on earlier calls; they depend on the batch only by rounding.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use pruning_burn::plugin::Plugins;
/// use pruning_burn::Pruner;
/// use pruning_burn::nn::SparseLinear;
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// let device = Device::flex();
/// let mut dense = LinearConfig::new(64, 32).init(&device);
/// let pruner = Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.9", &Plugins::linked())?;
/// pruner.prune(&mut dense, None)?;
///
/// let sparse = SparseLinear::from_linear(&dense)?;
/// assert_eq!(sparse.nonzeros(), 205);
/// let x = Tensor::<2>::random([5, 64], Distribution::Default, &device);
/// let difference = (sparse.forward(x.clone()) - dense.forward(x)).abs().max().into_scalar::<f32>();
/// assert!(difference < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SparseLinear {
    #[module(skip)]
    product: Arc<Product>,
}

impl SparseLinear {
    /// Creates a sparse layer from a linear layer, masked or finished, in compressed sparse rows.
    ///
    /// # Errors
    /// The weights are not in single or half precision, are empty, or number more than 32 bits can count.
    pub fn from_linear(linear: &Linear) -> Result<Self, SparseLayerError> {
        Self::with_options(linear, SparseOptions::new())
    }

    /// Creates a sparse layer from a linear layer, masked or finished, with options.
    ///
    /// # Errors
    /// Fails like [`from_linear`](Self::from_linear), or if the weights do not fit the format.
    pub fn with_options(linear: &Linear, options: SparseOptions) -> Result<Self, SparseLayerError> {
        let weight = linear.weight.val();
        let layout = layer_types::of("Linear").layout("weight", &weight.dims());
        let bias = linear.bias.as_ref().map(|bias| bias.val());
        Ok(Self::of(Weights::read(&weight, bias, &layout, options)?))
    }

    /// Creates a sparse layer from a matrix `[outputs, inputs]` and a bias for each output.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use pruning_burn::nn::{SparseLinear, SparseOptions};
    /// use pruning_sparse::{Dense, Format, Sparse};
    ///
    /// let dense = Dense::new(2, 3, vec![1.0, 0.0, 2.0, 0.0, 0.0, 3.0])?;
    /// let matrix = Sparse::from_dense(&dense, Format::Csr16)?;
    /// let layer = SparseLinear::from_matrix(matrix, Some(vec![0.5, 0.0]), SparseOptions::new())?;
    /// let y = layer.forward(Tensor::<1>::from_floats([1.0, 1.0, 1.0], &Device::flex()));
    /// assert_eq!(y.into_data().to_vec::<f32>().unwrap(), [3.5, 3.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The number of biases is not that of rows, or the matrix is empty.
    pub fn from_matrix(
        matrix: Sparse<f32>,
        bias: Option<Vec<f32>>,
        options: SparseOptions,
    ) -> Result<Self, SparseLayerError> {
        Ok(Self::of(Weights::new(matrix, bias, options)?))
    }

    fn of(weights: Weights) -> Self {
        Self { product: Arc::new(Product { weights, plans: Plans::default() }) }
    }

    /// Computes the output for an input, like [`Linear::forward`].
    ///
    /// # Shapes
    /// `[..., inputs]` to `[..., outputs]`, of any rank.
    ///
    /// # Panics
    /// The last axis has another length, or the input has a type that single precision cannot hold;
    /// [`try_forward`](Self::try_forward) returns an error instead.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Computes the output for an input, or returns an error if the input does not fit.
    ///
    /// # Shapes
    /// `[..., inputs]` to `[..., outputs]`, of any rank.
    ///
    /// # Errors
    /// The last axis has another length, or the input has a type that single precision cannot hold.
    pub fn try_forward<const D: usize>(&self, x: Tensor<D>) -> Result<Tensor<D>, SparseLayerError> {
        let weights = &self.product.weights;
        let (rows, cols) = (weights.matrix.rows(), weights.matrix.cols());
        check_len("columns of the input", cols, x.dims()[D - 1])?;
        let dtype = x.dtype();
        check_type("inputs", dtype)?;
        let x = if dtype == DType::F32 { x } else { x.cast(DType::F32) };
        let y = if x.shape().num_elements() == 0 {
            let mut shape = x.shape();
            shape[D - 1] = rows;
            Tensor::zeros(shape, &x.device())
        } else if self.execution(&x.device()) == Execution::Dense {
            let (weight, bias) = weights.dense(&x.device());
            weights.activate(linear(x, weight.transpose(), bias))
        } else {
            ops::forward(x, Layer::Linear(self.product.clone()))?
        };
        Ok(if dtype == DType::F32 { y } else { y.cast(dtype) })
    }

    /// Returns how [`forward`](Self::forward) runs on a device.
    #[must_use]
    pub fn execution(&self, device: &Device) -> Execution {
        Execution::on(device)
    }

    /// Returns the weights, `[outputs, inputs]`.
    #[must_use]
    pub fn matrix(&self) -> &Sparse<f32> {
        &self.product.weights.matrix
    }

    /// Returns the biases, one for each output.
    #[must_use]
    pub fn bias(&self) -> Option<&[f32]> {
        self.product.weights.bias.as_deref()
    }

    /// Returns the options that the layer was made with.
    #[must_use]
    pub fn options(&self) -> SparseOptions {
        self.product.weights.options
    }

    /// Returns the number of weights that are not zero.
    #[must_use]
    pub fn nonzeros(&self) -> usize {
        self.product.weights.nonzeros
    }

    /// Returns the bytes of the weights in host memory, in their format and in the plans made so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.product.weights.matrix.bytes() + self.product.plans.bytes()
    }
}

impl ModuleDisplay for SparseLinear {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let weights = &self.product.weights;
        let content = content.add("d_input", &weights.matrix.cols()).add("d_output", &weights.matrix.rows());
        weights.describe(content).optional()
    }
}
