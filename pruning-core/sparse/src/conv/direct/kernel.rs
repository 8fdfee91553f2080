//! A tile of a chunk of output channels. Loops are written out, since a closure that the compiler does not inline is compiled for the
//! lowest instruction set.

use crate::conv::direct::Direct;
use crate::conv::direct::tiling::{Chunk, Tap};
use crate::kernels::level::Tile;
use crate::kernels::output::{Activation, Output};
use pulp::Simd;

/// One tile of one sample, for a chunk of output channels.
pub(super) struct Work<'a> {
    pub(super) direct: &'a Direct,
    pub(super) chunk: &'a Chunk,
    /// The sample, as it is staged.
    pub(super) x: &'a [f32],
    pub(super) tile: usize,
    pub(super) sample: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) sums: &'a mut [f32],
    pub(super) y: Output<'a>,
}

impl Tile for Work<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Self { direct, chunk, x, tile, sample, bias, activation, sums, y } = self;
        let (lanes, width) = (S::F32_LANES, V * S::F32_LANES);
        let positions = direct.stage.positions();
        let begin = tile * direct.registers * lanes;
        // The input as it is ends with the last position: the last tile begins earlier, and leaves out what is not its own.
        let start = if direct.stage.in_place { begin.min(positions - width) } else { begin };
        let end = (start + width).min(positions);
        let x = &x[start..];
        assert!(direct.reach + width <= x.len());
        let sums = &mut sums[..chunk.rows * width];
        let line = sample * direct.rows + chunk.first;
        // Where lines of outputs are not apart, sums go from registers to where they belong.
        let whole = direct.stage.pitch == direct.output[1] && start == begin && start + width <= positions;
        let mut taps = &chunk.taps[..];
        for piece in &chunk.pieces {
            let (these, rest) = taps.split_at(piece.taps as usize);
            taps = rest;
            let row = piece.row as usize;
            let (kept, _) = S::as_mut_simd_f32s(&mut sums[row * width..][..width]);
            let mut set = [simd.splat_f32s(bias.map_or(0.0, |b| b[chunk.first + row])); V];
            if !piece.first {
                set.copy_from_slice(kept);
            }
            // SAFETY: the offsets of a plan, which are private to `Direct` and never changed, are at most `reach`, and `x` has `V`
            // registers behind that.
            unsafe { add::<S, V>(simd, x, these, &mut set) };
            if whole && piece.last {
                // SAFETY: only this call has these positions of these output channels, and the part is dropped in each round.
                let out = unsafe { y.part(line + row, start, width) };
                let (out, _) = S::as_mut_simd_f32s(out);
                for v in 0..V {
                    out[v] = activated(simd, activation, set[v]);
                }
            } else {
                kept.copy_from_slice(&set);
            }
        }
        for &row in &chunk.empty {
            let row = row as usize;
            sums[row * width..][..width].fill(bias.map_or(0.0, |b| b[chunk.first + row]));
        }
        let (pitch, across) = (direct.stage.pitch, direct.output[1]);
        let rows = if whole { chunk.empty.len() } else { chunk.rows };
        for i in 0..rows {
            let row = if whole { chunk.empty[i] as usize } else { i };
            let sums = &sums[row * width..][..width];
            for i in begin / pitch..end.div_ceil(pitch) {
                let (from, to) = (begin.max(i * pitch), end.min(i * pitch + across));
                if from < to {
                    // SAFETY: as above.
                    let out = unsafe { y.part(line + row, i * across + (from - i * pitch), to - from) };
                    for (out, &sum) in out.iter_mut().zip(&sums[from - start..to - start]) {
                        *out = activation.apply(sum);
                    }
                }
            }
        }
    }
}

/// The values after an activation.
#[inline(always)]
fn activated<S: Simd>(simd: S, activation: Activation, values: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    match activation {
        Activation::None => values,
        // As in `Activation::apply`, a NaN is not below zero.
        Activation::Relu => simd.select_f32s(simd.less_than_f32s(values, zero), zero, values),
    }
}

/// Adds taps to the sums of an output channel.
///
/// # Safety
/// `x` has `V` registers behind each offset.
#[inline(always)]
unsafe fn add<S: Simd, const V: usize>(simd: S, x: &[f32], taps: &[Tap], sums: &mut [S::f32s; V]) {
    if V > 6 {
        for tap in taps {
            // SAFETY: the caller's promise.
            unsafe { one::<S, V>(simd, x, tap, sums) };
        }
        return;
    }
    // Two sets of sums, since a multiply-add waits for the one before it.
    let mut others = [simd.splat_f32s(0.0); V];
    let (pairs, rest) = taps.as_chunks::<2>();
    for [a, b] in pairs {
        // SAFETY: the caller's promise.
        unsafe {
            one::<S, V>(simd, x, a, sums);
            one::<S, V>(simd, x, b, &mut others);
        }
    }
    for tap in rest {
        // SAFETY: the caller's promise.
        unsafe { one::<S, V>(simd, x, tap, sums) };
    }
    for v in 0..V {
        sums[v] = simd.add_f32s(sums[v], others[v]);
    }
}

/// Adds one tap.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
unsafe fn one<S: Simd, const V: usize>(simd: S, x: &[f32], tap: &Tap, sums: &mut [S::f32s; V]) {
    let weight = simd.splat_f32s(tap.weight);
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise; vectors are plain data.
        let x = unsafe { x.as_ptr().add(tap.offset as usize + v * S::F32_LANES).cast::<S::f32s>().read_unaligned() };
        *sum = simd.mul_add_e_f32s(weight, x, *sum);
    }
}
