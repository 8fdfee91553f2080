//! The kernel of a convolution.
//!
//! A convolution has a unit for each output; neighbors differ in their place in the image, and read the same weight at the same time.

use crate::nn::sparse::convolution::Convolution;
use crate::nn::sparse::cube::relu::*;
use crate::nn::sparse::cube::{address, arg, biases};
use crate::nn::sparse::uploads::{Buffer, Uploaded};
use crate::nn::sparse::{SparseLayerError, check_most};
use burn::tensor::Shape;
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::{self, calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::tensor::CubeTensor;
use pruning_sparse::{Activation, ConvShape};

/// What a place in a kernel must be below, for two of them to share an integer.
const PLACES: usize = 1 << 16;

/// An error if a kernel is too large for [`PLACES`].
pub(in crate::nn::sparse) fn check(frame: &ConvShape) -> Result<(), SparseLayerError> {
    for (kernel, dilation) in frame.kernel.into_iter().zip(frame.dilation) {
        check_most("what a kernel spans", PLACES, kernel.saturating_mul(dilation))?;
    }
    Ok(())
}

impl Convolution {
    pub(super) fn uploaded(&self, device: &CubeDevice) -> Result<Uploaded, SparseLayerError> {
        let (matrix, frame) = (&self.weights.matrix, self.shape([0, 0]));
        self.weights.kernels.get(device, || {
            check_most("entries", u32::MAX as usize, self.weights.nonzeros)?;
            let [area, width] = [frame.kernel[0] * frame.kernel[1], frame.kernel[1]];
            let (outputs, inputs) = (matrix.rows() / frame.groups, frame.channels / frame.groups);
            let (mut starts, mut channels) = (vec![0u32; matrix.rows() + 1], Vec::new());
            let (mut places, mut values) = (Vec::new(), Vec::new());
            matrix.for_each(|row, col, value| {
                let (channel, tap) = (row / outputs * inputs + col / area, col % area);
                let [down, right] = [tap / width * frame.dilation[0], tap % width * frame.dilation[1]];
                starts[row + 1] += 1;
                channels.push(channel as u32);
                places.push((right * PLACES + down) as u32);
                values.push(value);
            });
            (0..matrix.rows()).for_each(|row| starts[row + 1] += starts[row]);
            Ok(Uploaded {
                starts: Buffer::integers(device, starts),
                counts: Buffer::integers(device, channels),
                places: Buffer::integers(device, places),
                values: Buffer::floats(device, values),
                bias: Buffer::floats(device, biases(&self.weights)),
            })
        })
    }
}

/// Sizes of a convolution.
#[derive(CubeLaunch, CubeType)]
struct Sizes {
    channels: usize,
    height: usize,
    width: usize,
    outputs: usize,
    output_height: usize,
    output_width: usize,
    stride_height: usize,
    stride_width: usize,
    top: usize,
    left: usize,
}

pub(super) fn launch(convolution: &Convolution, x: CubeTensor, y: &CubeTensor) {
    let uploaded = convolution.uploaded(&x.device).expect("weights that were put there before");
    let [_, channels, height, width] = x.meta.shape().dims();
    let shape = convolution.shape([height, width]);
    let output: Shape = y.meta.shape().clone();
    let units = output.num_elements();
    let dim = CubeDim::new(&x.client, units);
    let client = x.client.clone();
    let [[top, _], [left, _]] = shape.padding;
    let [down, right] = shape.stride;
    // SAFETY: the kernel leaves out units past the output, and places outside of the input; channels are below those of the input,
    // and entries as many as `uploaded` counts.
    unsafe {
        conv2d::launch_unchecked(
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
            SizesLaunch::new(channels, height, width, output[1], output[2], output[3], down, right, top, left),
            units,
            PLACES as u32,
            convolution.weights.options.activation == Activation::Relu,
        );
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its arrays one by one")]
fn conv2d(
    x: &[f32],
    starts: &[u32],
    channels: &[u32],
    places: &[u32],
    values: &[f32],
    bias: &[f32],
    y: &mut [f32],
    sizes: Sizes,
    units: usize,
    #[comptime] most: u32,
    #[comptime] relu: bool,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let column = ABSOLUTE_POS % sizes.output_width;
    let rest = ABSOLUTE_POS / sizes.output_width;
    let line = rest % sizes.output_height;
    let rest = rest / sizes.output_height;
    let row = rest % sizes.outputs;
    let sample = rest / sizes.outputs;
    let first = sample * sizes.channels;
    let from_top = line * sizes.stride_height;
    let from_left = column * sizes.stride_width;
    let mut sum = bias[row];
    for entry in starts[row]..starts[row + 1] {
        let entry = entry as usize;
        let place = places[entry];
        // In the padded input.
        let down = from_top + (place % most) as usize;
        let right = from_left + (place / most) as usize;
        let mut value = f32::new(0.0);
        if down >= sizes.top
            && down < sizes.top + sizes.height
            && right >= sizes.left
            && right < sizes.left + sizes.width
        {
            let channel = first + channels[entry] as usize;
            value = x[(channel * sizes.height + down - sizes.top) * sizes.width + right - sizes.left];
        }
        sum += values[entry] * value;
    }
    y[ABSOLUTE_POS] = if relu { rectified(sum) } else { sum };
}
