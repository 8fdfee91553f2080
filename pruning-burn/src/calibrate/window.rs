//! The windows of a convolution, read on the host: [`Window`].

use burn_ir::TensorIr;

/// The windows that a convolution of one to three axes reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Channels of the image.
    channels: usize,
    size: Vec<usize>,
    kernel: Vec<usize>,
    stride: Vec<usize>,
    before: Vec<usize>,
    dilation: Vec<usize>,
    out: Vec<usize>,
    pub(super) groups: usize,
}

impl Window {
    pub(super) fn new(
        x: &TensorIr,
        weight: &TensorIr,
        stride: &[usize],
        padding: &[(usize, usize)],
        dilation: &[usize],
        groups: usize,
    ) -> Self {
        let (x, kernel) = (x.shape.as_slice(), weight.shape.as_slice()[2..].to_vec());
        let out = |axis: usize| {
            let reach = dilation[axis] * (kernel[axis].max(1) - 1) + 1;
            let padded = x[2 + axis] + padding[axis].0 + padding[axis].1;
            padded.checked_sub(reach).map_or(0, |rest| rest / stride[axis] + 1)
        };
        Self {
            channels: x[1],
            size: x[2..].to_vec(),
            out: (0..kernel.len()).map(out).collect(),
            kernel,
            stride: stride.to_vec(),
            before: padding.iter().map(|side| side.0).collect(),
            dilation: dilation.to_vec(),
            groups,
        }
    }

    /// Returns the number of windows of an image.
    pub(super) fn positions(&self) -> usize {
        self.out.iter().product()
    }

    /// Returns the number of columns of all groups together: channels times places of the kernel.
    pub(super) fn cols(&self) -> usize {
        self.channels * self.kernel.iter().product::<usize>()
    }

    /// Returns the lengths of the output.
    pub(super) fn out(&self) -> &[usize] {
        &self.out
    }

    /// Returns the number of entries of an image.
    pub(super) fn len(&self) -> usize {
        self.channels * self.size.iter().product::<usize>()
    }

    /// Calls `see(column, position, value)` for every entry of every window of an image; padding is not called, since it is zero.
    pub(super) fn each(&self, image: &[f32], mut see: impl FnMut(usize, usize, f32)) {
        let (area, places) = (self.size.iter().product::<usize>(), self.kernel.iter().product::<usize>());
        let (mut tap, mut spot) = (vec![0; self.kernel.len()], vec![0; self.kernel.len()]);
        for place in 0..places {
            unravel(place, &self.kernel, &mut tap);
            for position in 0..self.positions() {
                unravel(position, &self.out, &mut spot);
                let Some(at) = self.entry(&tap, &spot) else { continue };
                for channel in 0..self.channels {
                    see(channel * places + place, position, image[channel * area + at]);
                }
            }
        }
    }

    /// Returns the place in an image that a window reads, unless that is padding.
    fn entry(&self, tap: &[usize], spot: &[usize]) -> Option<usize> {
        let mut at = 0;
        for axis in 0..self.size.len() {
            let place =
                (spot[axis] * self.stride[axis] + tap[axis] * self.dilation[axis]).checked_sub(self.before[axis])?;
            if place >= self.size[axis] {
                return None;
            }
            at = at * self.size[axis] + place;
        }
        Some(at)
    }
}

/// Writes the place along each axis of an index into a row-major array.
fn unravel(mut index: usize, shape: &[usize], at: &mut [usize]) {
    for (place, len) in at.iter_mut().zip(shape).rev() {
        *place = index % len;
        index /= len;
    }
}
