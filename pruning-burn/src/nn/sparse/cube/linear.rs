//! The kernel of a linear layer.
//!
//! Rows of a matrix are cut into slices of 32, whose entries lie side by side: first the first one of each row, then the second ones,
//! and so on (sliced ELLPACK, [Monakov et al. 2010](https://doi.org/10.1007/978-3-642-11515-8_10)). Neighboring units work on
//! neighboring rows, so that they read weights side by side. Each reads as many as its own row has: what fills up a slice is never
//! multiplied.

use crate::nn::sparse::cube::relu::*;
use crate::nn::sparse::cube::{address, arg, biases};
use crate::nn::sparse::product::Product;
use crate::nn::sparse::uploads::{Buffer, Uploaded};
use crate::nn::sparse::{SparseLayerError, check_most};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::{self, calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::tensor::CubeTensor;
use pruning_sparse::Activation;

/// Rows of a slice: a warp of most devices, and half of one of the others.
const SLICE: usize = 32;
/// Samples of a unit in a batch: each weight is read once for all of them.
const SAMPLES: usize = 4;

impl Product {
    pub(super) fn uploaded(&self, device: &CubeDevice) -> Result<Uploaded, SparseLayerError> {
        let matrix = &self.weights.matrix;
        self.weights.kernels.get(device, || {
            let mut counts = vec![0u32; matrix.rows()];
            matrix.for_each(|row, _, _| counts[row] += 1);
            let mut starts = Vec::with_capacity(counts.len().div_ceil(SLICE));
            let mut entries = 0;
            for slice in counts.chunks(SLICE) {
                starts.push(entries as u32);
                entries += slice.iter().max().map_or(0, |&most| most as usize) * SLICE;
                check_most("entries of all slices", u32::MAX as usize, entries)?;
            }
            let (mut places, mut values, mut seen) =
                (vec![0u32; entries], vec![0.0f32; entries], vec![0; counts.len()]);
            matrix.for_each(|row, col, value| {
                let at = starts[row / SLICE] as usize + seen[row] * SLICE + row % SLICE;
                (places[at], values[at]) = (col as u32, value);
                seen[row] += 1;
            });
            Ok(Uploaded {
                starts: Buffer::integers(device, starts),
                counts: Buffer::integers(device, counts),
                places: Buffer::integers(device, places),
                values: Buffer::floats(device, values),
                bias: Buffer::floats(device, biases(&self.weights)),
            })
        })
    }
}

pub(super) fn launch(product: &Product, x: CubeTensor, y: &CubeTensor) {
    let uploaded = product.uploaded(&x.device).expect("weights that were put there before");
    let weights = &product.weights;
    let (rows, cols) = (weights.matrix.rows(), weights.matrix.cols());
    let batch = x.meta.shape().num_elements() / cols;
    let samples = if batch < SAMPLES { 1 } else { SAMPLES };
    let units = rows.next_multiple_of(SLICE) * batch.div_ceil(samples);
    let dim = CubeDim::new(&x.client, units);
    let client = x.client.clone();
    // SAFETY: the kernel leaves out units past the output; columns are below `cols`, and entries as many as `uploaded` counts.
    unsafe {
        linear::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, units, dim),
            dim,
            address(&x, y, &uploaded.values),
            x.into_buffer_arg(),
            arg(&uploaded.starts),
            arg(&uploaded.counts),
            arg(&uploaded.places),
            arg(&uploaded.values),
            arg(&uploaded.bias),
            y.clone().into_buffer_arg(),
            rows,
            cols,
            batch,
            samples,
            SLICE,
            weights.options.activation == Activation::Relu,
        );
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its arrays one by one")]
fn linear(
    x: &[f32],
    starts: &[u32],
    counts: &[u32],
    columns: &[u32],
    values: &[f32],
    bias: &[f32],
    y: &mut [f32],
    rows: usize,
    cols: usize,
    batch: usize,
    #[comptime] samples: usize,
    #[comptime] slice: usize,
    #[comptime] relu: bool,
) {
    let slices = rows.div_ceil(slice) * slice;
    let row = ABSOLUTE_POS % slices;
    let first = ABSOLUTE_POS / slices * samples;
    if row >= rows || first >= batch {
        terminate!();
    }
    let mut sums = Array::<f32>::new(samples);
    #[unroll]
    for s in 0..samples {
        sums[s] = bias[row];
    }
    let mut at = starts[row / slice] as usize + row % slice;
    for _ in 0..counts[row] {
        let column = columns[at] as usize;
        let value = values[at];
        #[unroll]
        for s in 0..samples {
            // Past the end of the batch, its last sample once more.
            let sample = clamp_max(first + s, batch - 1);
            sums[s] += value * x[sample * cols + column];
        }
        at += slice;
    }
    #[unroll]
    for s in 0..samples {
        if first + s < batch {
            y[(first + s) * rows + row] = if relu { rectified(sums[s]) } else { sums[s] };
        }
    }
}
