//! The weights of linear layers and convolutions: a matrix, biases, an activation, and copies on devices.

use crate::device::DeviceClass;
use crate::host::to_matrix;
use crate::nn::sparse::{SparseLayerError, SparseOptions, check_len, check_type, lock};
use burn::module::Content;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use pruning_core::score::MatrixLayout;
use pruning_sparse::{Activation, Csr, Dense, Sparse, SparseError};
use std::sync::Mutex;

/// The weights of a layer, with output units as rows, and its biases and activation.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) matrix: Sparse<f32>,
    pub(super) nonzeros: usize,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) options: SparseOptions,
    /// The dense weights of Burn's own layer on the last device that it ran on, without gradients.
    dense: Mutex<Option<(Device, Copies)>>,
    #[cfg(feature = "cube")]
    pub(super) kernels: crate::nn::sparse::uploads::Kernels,
}

/// The dense weights `[rows, cols]`, and the biases.
type Copies = (Tensor<2>, Option<Tensor<1>>);

impl Weights {
    /// Reads the weights of one of Burn's layers, masked or not.
    pub(super) fn read<const D: usize>(
        weight: &Tensor<D>,
        bias: Option<Tensor<1>>,
        layout: &MatrixLayout,
        options: SparseOptions,
    ) -> Result<Self, SparseLayerError> {
        check_type("weights", weight.dtype())?;
        let values = to_matrix(weight.clone(), layout).into_data().iter::<f32>().map(plain).collect();
        let dense = Dense::new(layout.rows(), layout.cols(), values)?;
        let matrix = match options.format {
            Some(format) => Sparse::from_dense(&dense, format)?,
            None => Sparse::Csr(Csr::from_dense(&dense)?),
        };
        let bias = match bias {
            Some(bias) => {
                check_type("biases", bias.dtype())?;
                Some(bias.without_autodiff().into_data().iter::<f32>().collect())
            }
            None => None,
        };
        Self::new(matrix, bias, options)
    }

    /// Creates weights from a matrix and biases.
    pub(super) fn new(
        matrix: Sparse<f32>,
        bias: Option<Vec<f32>>,
        options: SparseOptions,
    ) -> Result<Self, SparseLayerError> {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        for (what, len) in [("rows of the weights", rows), ("columns of the weights", cols)] {
            if len == 0 {
                return Err(SparseError::Zero { what }.into());
            }
        }
        check_len("biases", rows, bias.as_ref().map_or(rows, Vec::len))?;
        Ok(Self {
            nonzeros: matrix.nonzeros(),
            matrix,
            bias,
            options,
            dense: Mutex::default(),
            #[cfg(feature = "cube")]
            kernels: crate::nn::sparse::uploads::Kernels::default(),
        })
    }

    /// Returns the dense weights for Burn's own layer on a device.
    pub(super) fn dense(&self, device: &Device) -> Copies {
        let device = device.clone().inner();
        let make = || {
            let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
            let values = self.matrix.to_dense().values().to_vec();
            let bias = self.bias.clone().map(|bias| Tensor::from_data(TensorData::new(bias, [rows]), &device));
            (Tensor::from_data(TensorData::new(values, [rows, cols]), &device), bias)
        };
        if DeviceClass::of(&device) == DeviceClass::Recorder {
            return make();
        }
        let mut kept = lock(&self.dense);
        match &*kept {
            Some((here, copies)) if *here == device => copies.clone(),
            _ => kept.insert((device.clone(), make())).1.clone(),
        }
    }

    /// Adds the description of the weights, which both layers show.
    pub(super) fn describe(&self, content: Content) -> Content {
        let format = format!("{:?}", self.matrix.format());
        let activation = format!("{:?}", self.options.activation);
        content
            .add("nonzeros", &self.nonzeros)
            .add("format", &format)
            .add("bias", &self.bias.is_some())
            .add("activation", &activation)
    }

    /// Applies the activation after Burn's own layer.
    pub(super) fn activate<const D: usize>(&self, y: Tensor<D>) -> Tensor<D> {
        if self.options.activation == Activation::Relu { relu(y) } else { y }
    }
}

/// Removes the sign of zeros. Masks leave minus zeros, which a sparse matrix would keep.
fn plain(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value }
}
