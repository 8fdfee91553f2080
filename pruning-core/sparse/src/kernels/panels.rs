//! The form for batches: one broadcast and one or two multiply-adds on contiguous lanes for each nonzero.
//!
//! `X` is transposed into tiles `[cols, lanes]`, so that a weight meets all samples of a tile at once. Columns are cut into panels
//! whose part of a tile stays in the first-level cache, and rows into chunks whose weights stay in the second. Within a panel the
//! rows of a chunk are sorted by how many nonzeros they have there, so that loops of equal length follow each other, which is meant
//! for the branch predictor.

use crate::Element;
use crate::error::check_most;
use crate::kernels::level::{Level, Tile};
use crate::kernels::output::{Activation, Output};
use crate::kernels::transpose::transposed;
use crate::{Sparse, SparseError};
use pulp::Simd;

/// Rows of a chunk. Their sums, 32 lanes each, are as large as the first-level cache.
const CHUNK: usize = 256;
/// Bytes of a panel's part of a tile; and from how few nonzeros on it is wider than the first-level cache, since the pieces of rows become
/// so short that starting them costs more. Measured with AVX2: 1.1 to 1.2 times faster at 97 and 98 %, slower from 90 % down.
const PANEL_BYTES: usize = 24 << 10;
const WIDE: (f64, usize) = (0.04, 96 << 10);

/// Rows with equally many nonzeros in a panel.
#[derive(Clone, Copy, Debug)]
struct Run {
    rows: u32,
    nonzeros: u32,
}

/// Some rows of the weights, panel after panel.
#[derive(Clone, Debug, Default)]
struct Chunk {
    first: usize,
    rows: usize,
    /// Where the runs of each panel end.
    ends: Vec<usize>,
    runs: Vec<Run>,
    /// The row of each piece, within the chunk.
    order: Vec<u16>,
    /// Columns within their panel: below its width, which the kernel relies on.
    indices: Vec<u16>,
    values: Vec<f32>,
}

/// Weights in the order in which the kernel meets them.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    cols: usize,
    lanes: usize,
    width: usize,
    chunks: Vec<Chunk>,
}

impl Panels {
    /// The weights of a matrix, for tiles of so many lanes.
    pub(crate) fn new<T: Element>(matrix: &Sparse<T>, lanes: usize) -> Result<Self, SparseError> {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let few = (matrix.nonzeros() as f64) < WIDE.0 * rows as f64 * cols as f64;
        let bytes = if few { WIDE.1 } else { PANEL_BYTES };
        let width = (bytes / (4 * lanes)).min(cols).max(1);
        let panels = cols.div_ceil(width);
        check_most("nonzeros of a row", u32::MAX as usize, cols)?;
        let mut build = Builder { width, panels, pieces: vec![Vec::new(); panels], chunks: Vec::new() };
        matrix.for_each(|row, col, value| build.push(row, col, value.to_f32()));
        build.fill(rows);
        Ok(Self { cols, lanes, width, chunks: build.chunks })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |c: &Chunk| 6 * c.values.len() + 2 * c.order.len() + 8 * (c.runs.len() + c.ends.len());
        self.chunks.iter().map(bytes).sum()
    }

    /// Floats of scratch memory for a batch: the tiles of `X`, and sums of all rows.
    pub(crate) fn scratch(&self, batch: usize) -> (usize, usize) {
        let rows = self.chunks.iter().map(|c| c.rows).sum::<usize>();
        (self.stride() * batch.div_ceil(self.lanes), rows * self.lanes)
    }

    /// Floats of a tile, whose last panel is as wide as the others.
    fn stride(&self) -> usize {
        self.cols.next_multiple_of(self.width) * self.lanes
    }

    /// `Y = X W^T`, in scratch memory as [`scratch`](Self::scratch) says.
    pub(crate) fn run(
        &self,
        level: Level,
        x: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        (tiles, sums): (&mut [f32], &mut [f32]),
        y: Output<'_>,
    ) {
        let stride = self.stride();
        let tiles = &mut tiles[..stride * y.batch().div_ceil(self.lanes)];
        if stride == 0 {
            // Without columns there is no tile to go over, and the sum of nothing is the bias.
            let rows = self.chunks.iter().map(|c| c.rows).sum();
            for sample in 0..y.batch() {
                // SAFETY: this thread is alone, and the part is dropped in each round.
                let part = unsafe { y.part(sample, 0, rows) };
                for (row, y) in part.iter_mut().enumerate() {
                    *y = activation.apply(bias.map_or(0.0, |b| b[row]));
                }
            }
            return;
        }
        let pack = |(t, tile): (usize, &mut [f32])| {
            let first = t * self.lanes;
            let samples = &x[first * self.cols..(first + self.lanes).min(y.batch()) * self.cols];
            level.tile(self.lanes, Pack { samples, cols: self.cols, lanes: self.lanes, tile });
        };
        #[cfg(feature = "rayon")]
        if super::output::in_parallel(y.batch() * self.chunks.iter().map(|c| c.values.len()).sum::<usize>()) {
            use rayon::prelude::*;
            tiles.par_chunks_mut(stride).enumerate().for_each(pack);
            let sums = sums.par_chunks_mut(CHUNK * self.lanes);
            let tiles = &*tiles;
            self.chunks.par_iter().zip(sums).for_each(|(chunk, sums)| {
                level.tile(self.lanes, Multiply { panels: self, chunk, tiles, bias, activation, sums, y });
            });
            return;
        }
        tiles.chunks_mut(stride).enumerate().for_each(pack);
        for chunk in &self.chunks {
            let sums = &mut sums[..chunk.rows * self.lanes];
            level.tile(self.lanes, Multiply { panels: self, chunk, tiles, bias, activation, sums, y });
        }
    }
}

/// Nonzeros on their way into chunks.
struct Builder {
    width: usize,
    panels: usize,
    /// For each panel, row within the chunk, column within the panel, value.
    pieces: Vec<Vec<(u16, u16, f32)>>,
    chunks: Vec<Chunk>,
}

impl Builder {
    fn push(&mut self, row: usize, col: usize, value: f32) {
        self.fill(row / CHUNK * CHUNK);
        // A panel is no wider than PANEL_BYTES, so that the column fits.
        self.pieces[col / self.width].push(((row % CHUNK) as u16, (col % self.width) as u16, value));
    }

    /// Closes chunks up to a row.
    fn fill(&mut self, row: usize) {
        let mut first = self.chunks.last().map_or(0, |c| c.first + c.rows);
        while first < row {
            let rows = (row - first).min(CHUNK);
            let chunk = self.close(first, rows);
            self.chunks.push(chunk);
            first += rows;
        }
    }

    fn close(&mut self, first: usize, rows: usize) -> Chunk {
        let mut chunk = Chunk { first, rows, ..Chunk::default() };
        let nonzeros = self.pieces.iter().map(Vec::len).sum();
        chunk.indices.reserve_exact(nonzeros);
        chunk.values.reserve_exact(nonzeros);
        for entries in &mut self.pieces[..self.panels] {
            let mut rows: Vec<_> = entries.chunk_by(|a, b| a.0 == b.0).collect();
            rows.sort_by_key(|row| row.len());
            let start = chunk.runs.len();
            for row in rows {
                let nonzeros = row.len() as u32;
                match chunk.runs[start..].last_mut() {
                    Some(run) if run.nonzeros == nonzeros => run.rows += 1,
                    _ => chunk.runs.push(Run { rows: 1, nonzeros }),
                }
                chunk.order.push(row[0].0);
                chunk.indices.extend(row.iter().map(|e| e.1));
                chunk.values.extend(row.iter().map(|e| e.2));
            }
            chunk.ends.push(chunk.runs.len());
            entries.clear();
        }
        chunk
    }
}

/// Transposes some samples into a tile.
struct Pack<'a> {
    samples: &'a [f32],
    cols: usize,
    lanes: usize,
    tile: &'a mut [f32],
}

impl Tile for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, _: S) {
        let Self { samples, cols, lanes, tile } = self;
        let given = samples.len() / cols;
        if given < lanes {
            tile.fill(0.0);
        }
        let whole = given / 8 * 8;
        for lane in (0..whole).step_by(8) {
            let lines: [&[f32]; 8] = std::array::from_fn(|i| &samples[(lane + i) * cols..][..cols]);
            for col in (0..cols / 8 * 8).step_by(8) {
                let block: [[f32; 8]; 8] = std::array::from_fn(|i| *lines[i][col..].first_chunk().unwrap_or(&[0.0; 8]));
                let out = &mut tile[col * lanes + lane..];
                for (j, column) in transposed::<S>(&block).iter().enumerate() {
                    out[j * lanes..][..8].copy_from_slice(column);
                }
            }
            for col in cols / 8 * 8..cols {
                let out = &mut tile[col * lanes + lane..][..8];
                out.iter_mut().zip(&lines).for_each(|(out, line)| *out = line[col]);
            }
        }
        for lane in whole..given {
            let line = &samples[lane * cols..][..cols];
            line.iter().zip(tile.chunks_mut(lanes)).for_each(|(&v, out)| out[lane] = v);
        }
    }
}

/// Multiplies a chunk with all tiles.
struct Multiply<'a> {
    panels: &'a Panels,
    chunk: &'a Chunk,
    tiles: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Activation,
    sums: &'a mut [f32],
    y: Output<'a>,
}

impl Tile for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Self { panels, chunk, tiles, bias, activation, sums, y } = self;
        let lanes = panels.lanes;
        assert_eq!(lanes, V * S::F32_LANES);
        for (t, tile) in tiles.chunks_exact(panels.stride()).enumerate() {
            match bias {
                Some(bias) => {
                    let bias = &bias[chunk.first..][..chunk.rows];
                    sums.chunks_exact_mut(lanes).zip(bias).for_each(|(sums, &bias)| sums.fill(bias));
                }
                None => sums.fill(0.0),
            }
            let (sums_v, _) = S::as_mut_simd_f32s(sums);
            let (mut order, mut indices, mut values) = (&chunk.order[..], &chunk.indices[..], &chunk.values[..]);
            let mut start = 0;
            for (&end, x) in chunk.ends.iter().zip(tile.chunks_exact(panels.width * lanes)) {
                let (x, _) = S::as_simd_f32s(x);
                assert_eq!(x.len(), panels.width * V);
                for run in &chunk.runs[start..end] {
                    for _ in 0..run.rows {
                        let (&[row], rest) = order.split_first_chunk().expect("a row for each piece");
                        order = rest;
                        let (these, rest) = indices.split_at(run.nonzeros as usize);
                        indices = rest;
                        let (weights, rest) = values.split_at(run.nonzeros as usize);
                        values = rest;
                        let sums = &mut sums_v[usize::from(row) * V..][..V];
                        // SAFETY: `x` has `V` registers for each column of a panel, and the indices of a chunk, which is private
                        // to this module and never changed, are below that width by `Builder::push`.
                        unsafe { piece::<S, V>(simd, x, these, weights, sums) };
                    }
                }
                start = end;
            }
            let samples = lanes.min(y.batch() - t * lanes);
            unpack::<S>(chunk, sums, lanes, samples, activation, |lane| {
                // SAFETY: only this call has the rows of this chunk, and `unpack` keeps no part.
                unsafe { y.part(t * lanes + lane, chunk.first, chunk.rows) }
            });
        }
    }
}

/// Adds the nonzeros of a row in a panel to its sums.
///
/// # Safety
/// `x` has `V` registers for each index.
#[inline(always)]
unsafe fn piece<S: Simd, const V: usize>(
    simd: S,
    x: &[S::f32s],
    indices: &[u16],
    weights: &[f32],
    sums: &mut [S::f32s],
) {
    let zero = simd.splat_f32s(0.0);
    // Two sets of sums, since a multiply-add waits for the one before it.
    let mut sets: [[S::f32s; V]; 2] = [std::array::from_fn(|v| sums[v]), [zero; V]];
    let add = |set: &mut [S::f32s; V], index: u16, weight: f32| {
        let weight = simd.splat_f32s(weight);
        for (v, sum) in set.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { *x.get_unchecked(usize::from(index) * V + v) };
            *sum = simd.mul_add_e_f32s(weight, x, *sum);
        }
    };
    let (fours, rest) = indices.as_chunks::<4>();
    let (weight_fours, weight_rest) = weights.as_chunks::<4>();
    for (indices, weights) in fours.iter().zip(weight_fours) {
        for i in 0..4 {
            add(&mut sets[i % 2], indices[i], weights[i]);
        }
    }
    for (&index, &weight) in rest.iter().zip(weight_rest) {
        add(&mut sets[0], index, weight);
    }
    for v in 0..V {
        sums[v] = simd.add_f32s(sets[0][v], sets[1][v]);
    }
}

/// Writes the sums `[rows, lanes]` of a chunk to the samples they belong to.
#[inline(always)]
fn unpack<'a, S: Simd>(
    chunk: &Chunk,
    sums: &[f32],
    lanes: usize,
    samples: usize,
    activation: Activation,
    part: impl Fn(usize) -> &'a mut [f32],
) {
    let whole = samples / 8 * 8;
    for lane in (0..whole).step_by(8) {
        let mut parts: [&mut [f32]; 8] = std::array::from_fn(|i| part(lane + i));
        for row in (0..chunk.rows / 8 * 8).step_by(8) {
            let line = |i| *sums[(row + i) * lanes + lane..].first_chunk().unwrap_or(&[0.0; 8]);
            let block: [[f32; 8]; 8] = std::array::from_fn(line);
            for (part, values) in parts.iter_mut().zip(&transposed::<S>(&block)) {
                let out = &mut part[row..][..8];
                out.iter_mut().zip(values).for_each(|(out, &v)| *out = activation.apply(v));
            }
        }
        for row in chunk.rows / 8 * 8..chunk.rows {
            let values = &sums[row * lanes + lane..][..8];
            parts.iter_mut().zip(values).for_each(|(part, &v)| part[row] = activation.apply(v));
        }
    }
    for lane in whole..samples {
        let out = part(lane).iter_mut().enumerate();
        out.for_each(|(row, out)| *out = activation.apply(sums[row * lanes + lane]));
    }
}
