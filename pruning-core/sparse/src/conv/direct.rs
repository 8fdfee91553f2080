//! The direct form: each weight times a run of the input, added to a run of outputs that stays in registers.
//!
//! Park et al., "Faster CNNs with Direct Sparse Convolutions and Guided Pruning", 2017, arXiv:1608.01409, section 2.1: with the input
//! padded, a weight is its value and one offset into the input. A tile is some registers of consecutive outputs of one sample. The
//! channels of the input are cut into bands whose part of a tile stays in the first-level cache, and the output channels into chunks whose
//! weights stay in the second; between bands the sums of a chunk wait in memory.

mod kernel;
mod tiling;

use crate::conv::shape::{Axis, ConvShape};
use crate::conv::stage::Stage;
use crate::error::check_most;
use crate::kernels::level::Level;
use crate::kernels::output::{Activation, Output, in_parallel, threads};
use crate::kernels::workspace::{LINE, PlanId, Workspace, aligned};
use crate::{Element, Sparse, SparseError};
use kernel::Work;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tiling::{CHUNK_BYTES, Chunk, Size, chunks};

/// Bytes of the padded inputs of the samples that are processed together: few where the weights stay in the second-level cache anyway,
/// else as many as stay in the third, so that the weights are fetched less often.
const STAGE_BYTES: [usize; 2] = [512 << 10, 4 << 20];

/// Bytes after which addresses share a set of the first-level cache.
const PAGE: usize = 4 << 10;

/// Weights and places, prepared for one instruction set.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    level: Level,
    stage: Stage,
    rows: usize,
    channels: usize,
    area: usize,
    output: [usize; 2],
    chunks: Vec<Chunk>,
    /// The largest offset.
    reach: usize,
    /// The registers of a tile; the last tile of a sample may have fewer.
    registers: usize,
    /// Samples that are worked on together.
    samples: usize,
    /// Floats of their padded inputs.
    inputs: usize,
    nonzeros: usize,
}

impl Direct {
    /// Prepares the weights of a matrix whose shape is that of the convolution.
    pub(crate) fn new<T: Element>(
        matrix: &Sparse<T>,
        shape: &ConvShape,
        axes: [Axis; 2],
        batch: usize,
        level: Level,
    ) -> Result<Self, SparseError> {
        let (rows, channels) = (matrix.rows(), shape.channels);
        let lanes = level.lanes();
        // Channels that are whole pages apart share few sets of a cache: a copy, which spreads them, pays where it is read often.
        let apart = shape.area().is_multiple_of(PAGE / 4) && matrix.nonzeros() >= 12 * channels;
        let mut stage = Stage::new(axes, channels > 0 && !apart);
        let nonzeros = matrix.nonzeros() as f64 / rows.max(1) as f64;
        let mut size = Size::best(&stage, channels / shape.groups, nonzeros, lanes);
        if stage.in_place && stage.positions() < size.registers * lanes {
            // The only tile of a sample would reach past its end.
            stage = Stage::new(axes, false);
            size = Size::best(&stage, channels / shape.groups, nonzeros, lanes);
        }
        let width = size.registers * lanes;
        let floats = channels.saturating_mul(stage.channel()).saturating_add(width + stage.positions());
        check_most("padded input", (u32::MAX as usize).min(isize::MAX as usize / 8), floats)?;
        let (chunks, reach) = chunks(matrix, shape, &stage, size.band);
        let stage_bytes =
            STAGE_BYTES[usize::from(chunks.len() > 1 && chunks.iter().map(Chunk::bytes).sum::<usize>() > CHUNK_BYTES)];
        let samples = if stage.in_place { batch } else { (stage_bytes / 4 / floats).clamp(1, batch.max(1)) };
        let inputs = if stage.in_place { 0 } else { samples * floats.next_multiple_of(LINE) };
        Ok(Self {
            level,
            stage,
            rows,
            channels,
            area: shape.area(),
            output: axes.map(|a| a.output),
            chunks,
            reach,
            registers: size.registers,
            samples,
            inputs,
            nonzeros: matrix.nonzeros(),
        })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }

    /// Memory for padded inputs, and for the sums of each thread.
    pub(crate) fn workspace(&self, id: PlanId) -> Workspace {
        Workspace::new(id, self.inputs, self.part() * threads(), Vec::new())
    }

    /// Returns the floats of the sums of a thread.
    fn part(&self) -> usize {
        let rows = self.chunks.iter().map(|c| c.rows).max().unwrap_or(0);
        (rows * self.registers * self.level.lanes()).next_multiple_of(LINE).max(LINE)
    }

    /// Convolves a batch whose slices have the lengths that the plan checked.
    pub(crate) fn run(
        &self,
        workspace: &mut Workspace,
        x: &[f32],
        batch: usize,
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) {
        let pixels = self.output[0] * self.output[1];
        let y = Output::new(y, batch * self.rows, pixels);
        let part = self.part();
        let threads =
            if in_parallel(batch.saturating_mul(pixels).saturating_mul(self.nonzeros)) { threads() } else { 1 };
        let Workspace { inputs, sums, .. } = workspace;
        if sums.len() < part * threads + LINE {
            // In a pool with more threads than the one that the workspace was made in.
            sums.resize(part * threads + LINE, 0.0);
        }
        let inputs = aligned(inputs);
        let lanes = self.level.lanes();
        let tiles = self.stage.positions().div_ceil(self.registers * lanes);
        let sample = self.channels * self.area;
        for first in (0..batch).step_by(self.samples.max(1)) {
            let samples = self.samples.min(batch - first);
            let x = &x[first * sample..][..samples * sample];
            let (staged, stride) = if self.stage.in_place {
                (x, sample)
            } else {
                let stride = self.inputs / self.samples;
                self.copy(x, &mut inputs[..samples * stride], stride, threads);
                (&*inputs, stride)
            };
            // Chunk after chunk, so that the weights of one serve all tiles while they are in the cache.
            let item = |item: usize, sums: &mut [f32]| {
                let (chunk, rest) = (&self.chunks[item / (samples * tiles)], item % (samples * tiles));
                let (sample, tile) = (rest / tiles, rest % tiles);
                let work = Work {
                    direct: self,
                    chunk,
                    x: &staged[sample * stride..][..stride],
                    tile,
                    sample: first + sample,
                    bias,
                    activation,
                    sums,
                    y,
                };
                let whole = self.stage.positions().div_ceil(lanes);
                self.level.registers(self.registers.min(whole - tile * self.registers), work);
            };
            each(self.chunks.len() * samples * tiles, &mut aligned(sums)[..part * threads], part, item);
        }
    }

    /// Copies samples to the place where the kernel reads them.
    fn copy(&self, x: &[f32], inputs: &mut [f32], stride: usize, threads: usize) {
        let channel = self.stage.channel();
        if self.area == 0 || channel == 0 {
            return;
        }
        let fill = |(x, input): (&[f32], &mut [f32])| {
            let channels = x.chunks_exact(self.area).zip(input.chunks_exact_mut(channel));
            channels.for_each(|(x, channel)| self.stage.fill(x, channel));
        };
        let size = self.area * self.channels;
        if size == 0 {
            return;
        }
        #[cfg(feature = "rayon")]
        if threads > 1 {
            use rayon::prelude::*;
            for (x, input) in x.chunks_exact(size).zip(inputs.chunks_exact_mut(stride)) {
                // A few channels at a time.
                x.par_chunks(8 * self.area).zip(input.par_chunks_mut(8 * channel)).for_each(fill);
            }
            return;
        }
        let _ = threads;
        x.chunks_exact(size).zip(inputs.chunks_exact_mut(stride)).for_each(fill);
    }
}

/// Calls a function for each item, in as many threads as there are parts of the sums: each thread takes the next item when it has
/// finished one.
fn each(items: usize, sums: &mut [f32], part: usize, item: impl Fn(usize, &mut [f32]) + Sync) {
    let next = AtomicUsize::new(0);
    let work = |sums: &mut [f32]| {
        loop {
            let i = next.fetch_add(1, Relaxed);
            if i >= items {
                return;
            }
            item(i, sums);
        }
    };
    #[cfg(feature = "rayon")]
    if sums.len() > part {
        use rayon::prelude::*;
        sums.par_chunks_exact_mut(part).for_each(work);
        return;
    }
    sums.chunks_exact_mut(part).for_each(work);
}
