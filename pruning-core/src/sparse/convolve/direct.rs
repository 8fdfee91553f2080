//! The direct form: each weight times a run of the input, added to a run of outputs that stays in registers.
//!
//! Park et al., "Faster CNNs with Direct Sparse Convolutions and Guided Pruning", 2017, arXiv:1608.01409, section 2.1: with the input
//! padded, a weight is its value and one offset into the input. A tile is some registers of consecutive outputs of one sample. The
//! channels of the input are cut into bands whose part of a tile stays in the first-level cache, and the output channels into chunks whose
//! weights stay in the second; between bands the sums of a chunk wait in memory.

use super::super::error::check_most;
use super::super::level::{Level, MOST, Tile};
use super::super::output::{Activation, Output};
use super::super::plan::{LINE, aligned};
use super::super::{Element, Sparse, SparseError};
use super::shape::{Axis, ConvShape};
use super::stage::Stage;
use pulp::Simd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Most output channels of a chunk, and bytes of its weights.
const CHUNK_ROWS: usize = 64;
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a band's part of a tile.
const BAND_BYTES: usize = 24 << 10;
/// Bytes of the padded inputs of the samples that are worked on together.
const STAGE_BYTES: usize = 4 << 20;

/// A weight, and the distance from an output's position to the input it meets.
#[derive(Clone, Copy, Debug)]
struct Tap {
    offset: u32,
    weight: f32,
}

/// The taps of an output channel in a band.
#[derive(Clone, Copy, Debug)]
struct Piece {
    row: u32,
    taps: u32,
}

/// Some output channels, band after band.
#[derive(Clone, Debug, Default)]
struct Chunk {
    first: usize,
    rows: usize,
    pieces: Vec<Piece>,
    /// Offsets are at most `Direct::reach`, which the kernel relies on.
    taps: Vec<Tap>,
}

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
    /// Registers of a tile; the last one of a sample may have fewer.
    registers: usize,
    /// Samples that are worked on together.
    samples: usize,
    /// Their padded inputs, with room to begin at a cache line.
    inputs: Vec<f32>,
    /// Sums, a part for each thread.
    sums: Vec<f32>,
}

impl Direct {
    /// The weights of a matrix whose shape is that of the convolution.
    pub(crate) fn new<T: Element>(
        matrix: &Sparse<T>,
        shape: &ConvShape,
        axes: [Axis; 2],
        batch: usize,
        level: Level,
    ) -> Result<Self, SparseError> {
        let (rows, channels) = (matrix.rows(), shape.channels);
        let lanes = level.lanes();
        let mut stage = Stage::new(axes, channels > 0);
        let split = |stage: &Stage| {
            let whole = stage.positions().div_ceil(lanes).max(1);
            (whole, whole.div_ceil(whole.div_ceil(MOST)))
        };
        let (mut whole, mut registers) = split(&stage);
        if stage.in_place && whole == registers && stage.positions() < whole * lanes {
            // The only tile of a sample would reach past its end.
            stage = Stage::new(axes, false);
            (whole, registers) = split(&stage);
        }
        debug_assert!(registers <= whole);
        let width = registers * lanes;
        let floats = channels.saturating_mul(stage.channel()).saturating_add(width + stage.positions());
        check_most("padded input", u32::MAX as usize, floats)?;
        let band = (BAND_BYTES / 4 / stage.touched(width)).max(1);
        let (chunks, reach) = chunks(matrix, shape, &stage, band);
        let samples = if stage.in_place { batch } else { (STAGE_BYTES / 4 / floats).clamp(1, batch.max(1)) };
        let inputs = if stage.in_place { 0 } else { samples * floats.next_multiple_of(LINE) + LINE };
        let mut direct = Self {
            level,
            stage,
            rows,
            channels,
            area: shape.area(),
            output: axes.map(|a| a.output),
            chunks,
            reach,
            registers,
            samples,
            inputs: vec![0.0; inputs],
            sums: Vec::new(),
        };
        direct.room(threads());
        Ok(direct)
    }

    /// Bytes of the weights and of the memory that calls work in.
    pub(crate) fn bytes(&self) -> usize {
        let weights: usize = self.chunks.iter().map(|c| 8 * (c.taps.len() + c.pieces.len())).sum();
        weights + 4 * (self.inputs.len() + self.sums.len())
    }

    /// Floats of the sums of a thread.
    fn part(&self) -> usize {
        let rows = self.chunks.iter().map(|c| c.rows).max().unwrap_or(0);
        (rows * self.registers * self.level.lanes()).next_multiple_of(LINE).max(LINE)
    }

    /// Makes room for the sums of so many threads.
    fn room(&mut self, threads: usize) {
        let floats = self.part() * threads + LINE;
        if self.sums.len() < floats {
            self.sums.resize(floats, 0.0);
        }
    }

    /// The convolution of a batch, whose slices have the lengths that the plan checked.
    pub(crate) fn run(&mut self, x: &[f32], batch: usize, bias: Option<&[f32]>, activation: Activation, y: &mut [f32]) {
        let pixels = self.output[0] * self.output[1];
        let y = Output::new(y, batch * self.rows, pixels);
        let threads = threads();
        self.room(threads);
        let (mut inputs, mut sums) = (std::mem::take(&mut self.inputs), std::mem::take(&mut self.sums));
        let part = self.part();
        let lanes = self.level.lanes();
        let tiles = self.stage.positions().div_ceil(self.registers * lanes);
        let sample = self.channels * self.area;
        for first in (0..batch).step_by(self.samples.max(1)) {
            let samples = self.samples.min(batch - first);
            let x = &x[first * sample..][..samples * sample];
            let (staged, stride) = if self.stage.in_place {
                (x, sample)
            } else {
                let inputs = aligned(&mut inputs);
                let stride = inputs.len() / self.samples;
                self.copy(x, &mut inputs[..samples * stride], stride);
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
            each(self.chunks.len() * samples * tiles, &mut aligned(&mut sums)[..part * threads], part, item);
        }
        (self.inputs, self.sums) = (inputs, sums);
    }

    /// Copies samples to where the kernel wants them.
    fn copy(&self, x: &[f32], inputs: &mut [f32], stride: usize) {
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
        {
            use rayon::prelude::*;
            for (x, input) in x.chunks_exact(size).zip(inputs.chunks_exact_mut(stride)) {
                // A few channels at a time.
                x.par_chunks(8 * self.area).zip(input.par_chunks_mut(8 * channel)).for_each(fill);
            }
        }
        #[cfg(not(feature = "rayon"))]
        x.chunks_exact(size).zip(inputs.chunks_exact_mut(stride)).for_each(fill);
    }
}

/// Threads that there are to work.
fn threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    1
}

/// Calls a function for each item, in as many threads as there are parts of the sums: each takes the next item when it is through
/// with one.
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
    {
        use rayon::prelude::*;
        sums.par_chunks_exact_mut(part).for_each(work);
    }
    #[cfg(not(feature = "rayon"))]
    sums.chunks_exact_mut(part).for_each(work);
}

/// The weights in the order of use, and the largest offset.
fn chunks<T: Element>(matrix: &Sparse<T>, shape: &ConvShape, stage: &Stage, band: usize) -> (Vec<Chunk>, usize) {
    let (rows, [height, width]) = (matrix.rows(), shape.kernel);
    let per_group = shape.channels / shape.groups;
    let rows_per_group = (rows / shape.groups).max(1);
    let mut reach = 0;
    let mut lines: Vec<Vec<(u32, Tap)>> = vec![Vec::new(); rows];
    matrix.for_each(|row, col, value| {
        let (channel, tap) = (col / (height * width), [col / width % height, col % width]);
        let channel = row / rows_per_group * per_group + channel;
        let offset = stage.offset(channel, tap);
        reach = reach.max(offset);
        // Offsets are below the size of the padded input, which fits 32 bits.
        lines[row].push(((channel / band) as u32, Tap { offset: offset as u32, weight: value.to_f32() }));
    });
    let mut chunks = Vec::new();
    let mut first = 0;
    while first < rows {
        let mut bytes = 0;
        let within = |line: &&Vec<(u32, Tap)>| {
            bytes += 8 * line.len();
            bytes <= CHUNK_BYTES
        };
        let count = lines[first..].iter().take(CHUNK_ROWS).take_while(within).count().max(1);
        chunks.push(chunk(first, &lines[first..][..count]));
        first += count;
    }
    (chunks, reach)
}

fn chunk(first: usize, lines: &[Vec<(u32, Tap)>]) -> Chunk {
    let mut chunk = Chunk { first, rows: lines.len(), ..Chunk::default() };
    let pieces = lines.iter().enumerate();
    let pieces = pieces.flat_map(|(row, line)| line.chunk_by(|a, b| a.0 == b.0).map(move |taps| (row, taps)));
    let mut pieces: Vec<_> = pieces.collect();
    // Pieces of equal length follow each other, so that the processor foretells where one ends.
    pieces.sort_by_key(|(_, taps)| (taps[0].0, taps.len()));
    for (row, taps) in pieces {
        chunk.pieces.push(Piece { row: row as u32, taps: taps.len() as u32 });
        chunk.taps.extend(taps.iter().map(|t| t.1));
    }
    chunk
}

/// A tile of a chunk's output channels.
struct Work<'a> {
    direct: &'a Direct,
    chunk: &'a Chunk,
    /// The sample, as it is staged.
    x: &'a [f32],
    tile: usize,
    sample: usize,
    bias: Option<&'a [f32]>,
    activation: Activation,
    sums: &'a mut [f32],
    y: Output<'a>,
}

impl Tile for Work<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Self { direct, chunk, x, tile, sample, bias, activation, sums, y } = self;
        let lanes = S::F32_LANES;
        let positions = direct.stage.positions();
        let begin = tile * direct.registers * lanes;
        // The input as it is ends with the last position: the last tile begins earlier, and leaves out what is not its own.
        let start = if direct.stage.in_place { begin.min(positions - V * lanes) } else { begin };
        let x = &x[start..];
        assert!(direct.reach + V * lanes <= x.len());
        let sums = &mut sums[..chunk.rows * V * lanes];
        match bias {
            Some(bias) => {
                let bias = &bias[chunk.first..][..chunk.rows];
                sums.chunks_exact_mut(V * lanes).zip(bias).for_each(|(sums, &bias)| sums.fill(bias));
            }
            None => sums.fill(0.0),
        }
        let (vectors, _) = S::as_mut_simd_f32s(sums);
        let mut taps = &chunk.taps[..];
        for piece in &chunk.pieces {
            let (these, rest) = taps.split_at(piece.taps as usize);
            taps = rest;
            let sums = &mut vectors[piece.row as usize * V..][..V];
            // SAFETY: the offsets of a plan, which are private to this module and never changed, are at most `reach`, and `x` has `V`
            // registers behind that.
            unsafe { add::<S, V>(simd, x, these, sums) };
        }
        write(direct, chunk, (start, begin, (start + V * lanes).min(positions)), sample, activation, sums, y);
    }
}

/// Adds taps to the sums of an output channel.
///
/// # Safety
/// `x` has `V` registers behind each offset.
#[inline(always)]
unsafe fn add<S: Simd, const V: usize>(simd: S, x: &[f32], taps: &[Tap], sums: &mut [S::f32s]) {
    let zero = simd.splat_f32s(0.0);
    let one = |set: &mut [S::f32s; V], tap: &Tap| {
        let weight = simd.splat_f32s(tap.weight);
        for (v, sum) in set.iter_mut().enumerate() {
            // SAFETY: the caller's promise; vectors are plain data.
            let x =
                unsafe { x.as_ptr().add(tap.offset as usize + v * S::F32_LANES).cast::<S::f32s>().read_unaligned() };
            *sum = simd.mul_add_e_f32s(weight, x, *sum);
        }
    };
    let mut first: [S::f32s; V] = std::array::from_fn(|v| sums[v]);
    if V <= 6 {
        // Two sets of sums, since a multiply-add waits for the one before it.
        let mut second = [zero; V];
        let (pairs, rest) = taps.as_chunks::<2>();
        for [a, b] in pairs {
            one(&mut first, a);
            one(&mut second, b);
        }
        rest.iter().for_each(|tap| one(&mut first, tap));
        for v in 0..V {
            first[v] = simd.add_f32s(first[v], second[v]);
        }
    } else {
        taps.iter().for_each(|tap| one(&mut first, tap));
    }
    sums.copy_from_slice(&first);
}

/// Writes the sums of a tile whose positions are `start..end`, from `begin` on.
#[inline(always)]
fn write(
    direct: &Direct,
    chunk: &Chunk,
    (start, begin, end): (usize, usize, usize),
    sample: usize,
    activation: Activation,
    sums: &[f32],
    y: Output<'_>,
) {
    let (pitch, width) = (direct.stage.pitch, direct.output[1]);
    let registers = sums.len() / chunk.rows;
    for line in begin / pitch..end.div_ceil(pitch) {
        let from = begin.max(line * pitch);
        let to = end.min(line * pitch + width);
        if from >= to {
            continue;
        }
        for row in 0..chunk.rows {
            // SAFETY: only this call has these positions of these output channels, and the part is dropped in each round.
            let out = unsafe {
                y.part(sample * direct.rows + chunk.first + row, line * width + (from - line * pitch), to - from)
            };
            let sums = &sums[row * registers + from - start..][..to - from];
            out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = activation.apply(sum));
        }
    }
}
