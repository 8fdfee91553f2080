//! The shape of a convolution: the sizes that it reads and writes.

use crate::SparseError;
use crate::error::{check_len, check_most};

/// The shape of a two-dimensional convolution. Pairs are `[vertical, horizontal]`.
///
/// The input is `[batch, channels, height, width]`, the weights are `[outputs, channels / groups, kernel height, kernel width]`, and the
/// output is `[batch, outputs, output height, output width]`, as in PyTorch and Burn. It is a cross-correlation, in which output channel
/// `o` belongs to group `o / (outputs / groups)`.
///
/// ```
/// use pruning_sparse::ConvShape;
/// let shape = ConvShape::new(64, [56, 56], [3, 3]).with_stride([2, 2]).with_padding([1, 1]);
/// assert_eq!(shape.output()?, [28, 28]);
/// assert_eq!(shape.fan_in(), 64 * 3 * 3);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvShape {
    /// The channels of the input.
    pub channels: usize,
    /// The height and width of the input.
    pub input: [usize; 2],
    /// The height and width of the kernel.
    pub kernel: [usize; 2],
    /// The steps between outputs, in elements of the input.
    pub stride: [usize; 2],
    /// The zeros around the input: `[[top, bottom], [left, right]]`.
    pub padding: [[usize; 2]; 2],
    /// The steps between the taps of a kernel; 1 for kernels without holes.
    pub dilation: [usize; 2],
    /// The number of groups of channels that do not see each other.
    pub groups: usize,
}

impl ConvShape {
    /// Creates a shape with stride and dilation 1, no padding and one group.
    #[must_use]
    pub fn new(channels: usize, input: [usize; 2], kernel: [usize; 2]) -> Self {
        Self { channels, input, kernel, stride: [1, 1], padding: [[0, 0]; 2], dilation: [1, 1], groups: 1 }
    }

    /// Sets the steps between outputs.
    #[must_use]
    pub fn with_stride(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }

    /// Sets the zeros above and below, and to the left and right.
    #[must_use]
    pub fn with_padding(self, padding: [usize; 2]) -> Self {
        Self { padding: padding.map(|p| [p, p]), ..self }
    }

    /// Sets the zeros of each side: `[[top, bottom], [left, right]]`.
    #[must_use]
    pub fn with_sides(self, padding: [[usize; 2]; 2]) -> Self {
        Self { padding, ..self }
    }

    /// Sets the steps between the taps of a kernel.
    #[must_use]
    pub fn with_dilation(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }

    /// Sets the number of groups; a depthwise convolution has as many as channels.
    #[must_use]
    pub fn with_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Returns the weights of an output channel, `channels / groups * kernel height * kernel width`: the columns of the weights as a
    /// matrix.
    ///
    /// It is `usize::MAX` if there are no groups, or more weights than a number can hold.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        let channels = self.channels.checked_div(self.groups).unwrap_or(usize::MAX);
        channels.saturating_mul(self.kernel[0].saturating_mul(self.kernel[1]))
    }

    /// Returns height and width of the output, `(input + padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down.
    ///
    /// # Errors
    /// A size that must not be zero is zero, groups do not divide the channels, or the kernel does not fit the padded input.
    pub fn output(&self) -> Result<[usize; 2], SparseError> {
        let [height, width] = self.axes()?;
        Ok([height.output, width.output])
    }

    /// Returns both axes after checking them.
    pub(crate) fn axes(&self) -> Result<[Axis; 2], SparseError> {
        if self.groups == 0 {
            return Err(SparseError::Zero { what: "groups" });
        }
        check_divides("channels", self.groups, self.channels)?;
        let axis = |i: usize, names: [&'static str; 4]| {
            let [before, after] = self.padding[i];
            Axis::new(names, self.input[i], self.kernel[i], self.stride[i], [before, after], self.dilation[i])
        };
        let height = axis(0, ["height", "kernel height", "vertical stride", "vertical dilation"])?;
        let width = axis(1, ["width", "kernel width", "horizontal stride", "horizontal dilation"])?;
        Ok([height, width])
    }

    /// Returns both axes after checking them, a matrix of weights, and the memory that a batch needs.
    pub(crate) fn check(&self, rows: usize, cols: usize, batch: usize) -> Result<[Axis; 2], SparseError> {
        let axes = self.axes()?;
        check_divides("output channels", self.groups, rows)?;
        check_len("columns of the weights", self.fan_in(), cols)?;
        let most = isize::MAX as usize / 8;
        let product = |what, sizes: &[usize]| {
            let all = sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
            check_most(what, most, all.unwrap_or(usize::MAX))
        };
        // Intermediate arrays are checked too, so that no product of some of these sizes overflows.
        let [height, width] = &axes;
        product("inputs", &[batch.max(1), self.channels.max(1), self.input[0].max(1), self.input[1].max(1)])?;
        product("outputs", &[batch.max(1), rows.max(1), height.output, width.output])?;
        product("padded inputs", &[self.channels.max(1), height.padded, width.padded])?;
        product("unrolled inputs", &[cols.max(1), height.output, width.output])?;
        Ok(axes)
    }
}

fn check_divides(what: &'static str, part: usize, whole: usize) -> Result<(), SparseError> {
    if whole.is_multiple_of(part) { Ok(()) } else { Err(SparseError::DoesNotDivide { what, part, whole }) }
}

/// One axis of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) before: usize,
    pub(crate) dilation: usize,
    pub(crate) padded: usize,
    pub(crate) output: usize,
}

impl Axis {
    fn new(
        [name, kernel_name, stride_name, dilation_name]: [&'static str; 4],
        input: usize,
        kernel: usize,
        stride: usize,
        [before, after]: [usize; 2],
        dilation: usize,
    ) -> Result<Self, SparseError> {
        for (what, size) in [(kernel_name, kernel), (stride_name, stride), (dilation_name, dilation)] {
            if size == 0 {
                return Err(SparseError::Zero { what });
            }
        }
        let padded = input.saturating_add(before).saturating_add(after);
        check_most(name, u32::MAX as usize, padded)?;
        let extent = (kernel - 1).saturating_mul(dilation).saturating_add(1);
        if extent > padded {
            return Err(SparseError::Kernel { what: name, extent, padded });
        }
        Ok(Self { input, kernel, stride, before, dilation, padded, output: (padded - extent) / stride + 1 })
    }

    /// Returns where a tap falls, in elements of the padded input, for the first output.
    pub(crate) fn tap(&self, index: usize) -> usize {
        index * self.dilation
    }
}
