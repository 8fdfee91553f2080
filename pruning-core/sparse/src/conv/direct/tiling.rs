//! How the work is cut: registers of a tile, channels of a band, output channels of a chunk.

use crate::conv::shape::ConvShape;
use crate::conv::stage::Stage;
use crate::kernels::level::MOST;
use crate::{Element, Sparse};

/// Most output channels of a chunk, and bytes of its weights.
const CHUNK_ROWS: usize = 64;
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a band's part of a tile, and what an operand costs that lies there, in loads: within the first-level cache, or the
/// second. Loads that are not aligned cost more than one.
const BANDS: [(usize, f64); 3] = [(16 << 10, 1.3), (24 << 10, 1.4), (128 << 10, 1.9)];
/// A weight, and the distance from an output's position to the input it meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    pub(super) offset: u32,
    pub(super) weight: f32,
}

/// The taps of an output channel in a band.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) row: u32,
    pub(super) taps: u32,
    /// Whether it is the first one of its output channel, whose sums begin with the bias.
    pub(super) first: bool,
    /// Whether it is the last one.
    pub(super) last: bool,
}

/// Some output channels, band after band.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) pieces: Vec<Piece>,
    /// Output channels without a weight.
    pub(super) empty: Vec<u32>,
    /// Offsets are at most `Direct::reach`, which the kernel relies on.
    pub(super) taps: Vec<Tap>,
}

impl Chunk {
    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        8 * self.taps.len() + size_of::<Piece>() * self.pieces.len() + 4 * self.empty.len()
    }
}

/// How the work is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Registers of a tile.
    pub(super) registers: usize,
    /// Channels of a band.
    pub(super) band: usize,
}

impl Size {
    /// What takes the fewest loads, for so many channels that an output looks at, and nonzeros of an output channel.
    ///
    /// A nonzero takes an operand for each register, and two loads besides; to begin and end with the nonzeros of a band takes two for
    /// each register, and about twenty besides. The numbers were fitted on one Zen 3 core.
    pub(super) fn best(stage: &Stage, channels: usize, nonzeros: f64, lanes: usize) -> Self {
        let whole = stage.positions().div_ceil(lanes).max(1);
        let mut best = (f64::INFINITY, Self { registers: 1, band: 1 });
        for tiles in whole.div_ceil(MOST)..=whole.min(4 * MOST) {
            let registers = whole.div_ceil(tiles);
            // An input that is used as it is is spread over many pages: then the second-level cache costs more.
            for &(bytes, operand) in &BANDS[..if stage.in_place { 2 } else { 3 }] {
                let band = (bytes / 4 / stage.touched(registers * lanes)).max(1);
                let pieces = (channels as f64 / band as f64).ceil().min(nonzeros);
                let wide = registers as f64;
                let cost = nonzeros * (operand * wide + 2.0) + pieces * (2.0 * wide + 20.0);
                // Of all tiles; the last one may be a smaller one.
                let cost = cost * whole as f64 / wide;
                if cost < best.0 {
                    best = (cost, Self { registers, band });
                }
            }
        }
        best.1
    }
}

/// The weights in the order of use, and the largest offset.
pub(super) fn chunks<T: Element>(
    matrix: &Sparse<T>,
    shape: &ConvShape,
    stage: &Stage,
    band: usize,
) -> (Vec<Chunk>, usize) {
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
    let mut left = vec![0; lines.len()];
    pieces.iter().for_each(|&(row, _)| left[row] += 1);
    chunk.empty = (0..lines.len() as u32).filter(|&row| left[row as usize] == 0).collect();
    let all = left.clone();
    for (row, taps) in pieces {
        let first = left[row] == all[row];
        left[row] -= 1;
        chunk.pieces.push(Piece { row: row as u32, taps: taps.len() as u32, first, last: left[row] == 0 });
        chunk.taps.extend(taps.iter().map(|t| t.1));
    }
    chunk
}
