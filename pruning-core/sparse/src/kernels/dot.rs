//! The form for single samples: the dot product of each row with `X`.
//!
//! Compressed rows read a column, a weight and an element of `X` for each nonzero, without gather
//! instructions. Bits need AVX-512 or AVX2: sixteen or eight columns at a time, the values spread to the lanes of the
//! set bits, whatever the sparsity.

use crate::Element;
use crate::formats::csr::{Indices, NARROW};
use crate::kernels::level::Level;
use crate::kernels::output::{Activation, Output};
use crate::{Csr, Sparse, SparseError};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows that a thread takes at a time.
const CHUNK: usize = 64;

/// Weights, row after row.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    rows: usize,
    cols: usize,
    /// The first value of each row, and the number of values.
    starts: Vec<u32>,
    columns: Columns,
    values: Vec<f32>,
}

/// Which column a value belongs to.
#[derive(Clone, Debug)]
enum Columns {
    /// The one that is named; all are below `cols`, which the kernel relies on.
    Named(Indices),
    /// That of its bit, in words of 16 columns; the values are followed by 16 more.
    Bits(Vec<u16>),
    /// All of them.
    Every,
}

impl Rows {
    /// The weights of a matrix.
    pub(crate) fn new<T: Element>(matrix: &Sparse<T>, level: Level) -> Result<Self, SparseError> {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        if let Sparse::Dense(dense) = matrix {
            let values = dense.values().iter().map(|v| v.to_f32()).collect();
            return Ok(Self { rows, cols, starts: Vec::new(), columns: Columns::Every, values });
        }
        let csr = match matrix {
            Sparse::Csr(csr) => csr,
            other => &csr(other)?,
        };
        let mut values: Vec<f32> = csr.values().iter().map(|v| v.to_f32()).collect();
        let dense_enough = values.len() as f64 > level.spreads_from() * (rows * cols) as f64;
        let bits = dense_enough && matches!(matrix, Sparse::Bitmap(_) | Sparse::Packed(_));
        let columns = if bits {
            let width = cols.div_ceil(16);
            let mut words = vec![0; rows * width];
            csr.for_each(|row, col, _| words[row * width + col / 16] |= 1 << (col % 16));
            values.resize(values.len() + 16, 0.0);
            Columns::Bits(words)
        } else {
            Columns::Named(csr.indices().clone())
        };
        Ok(Self { rows, cols, starts: csr.starts().to_vec(), columns, values })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        let columns = match &self.columns {
            Columns::Named(indices) => indices.len() * indices.width(),
            Columns::Bits(words) => 2 * words.len(),
            Columns::Every => 0,
        };
        4 * (self.values.len() + self.starts.len()) + columns
    }

    /// Floats of scratch memory for a batch: `X` in whole words of columns.
    pub(crate) fn scratch(&self, batch: usize) -> usize {
        if matches!(self.columns, Columns::Bits(_)) { batch * self.cols.next_multiple_of(16) } else { 0 }
    }

    /// `Y = X W^T`, in scratch memory as [`scratch`](Self::scratch) says.
    pub(crate) fn run(
        &self,
        level: Level,
        x: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        scratch: &mut [f32],
        y: Output<'_>,
    ) {
        let padded = self.cols.next_multiple_of(16);
        if matches!(self.columns, Columns::Bits(_)) && self.cols > 0 {
            for (to, from) in scratch.chunks_exact_mut(padded).zip(x.chunks_exact(self.cols)) {
                to[..self.cols].copy_from_slice(from);
            }
        }
        let scratch = &*scratch;
        let run = |first: usize| {
            let rows = first..(first + CHUNK).min(self.rows);
            for sample in 0..y.batch() {
                // SAFETY: only this call has these rows, and the part is dropped in each round.
                let y = unsafe { y.part(sample, first, rows.len()) };
                let rows = rows.clone();
                let x = &x[sample * self.cols..][..self.cols];
                match &self.columns {
                    Columns::Named(Indices::U16(i)) => level.run(Named { matrix: self, indices: &i[..], rows, x, y }),
                    Columns::Named(Indices::U32(i)) => level.run(Named { matrix: self, indices: &i[..], rows, x, y }),
                    #[cfg(target_arch = "x86_64")]
                    Columns::Bits(words) => {
                        let x = &scratch[sample * padded..][..padded];
                        if level == Level::Avx512 {
                            if let Some(simd) = pulp::x86::V4::try_new() {
                                Simd::vectorize(simd, Expand { simd, matrix: self, words, rows, x, y });
                            }
                        } else if let Some(simd) = pulp::x86::V3::try_new() {
                            Simd::vectorize(simd, Permute { simd, matrix: self, words, rows, x, y });
                        }
                    }
                    #[cfg(not(target_arch = "x86_64"))]
                    Columns::Bits(_) => unreachable!("bits are for AVX-512 and AVX2, and {scratch:?} is empty"),
                    Columns::Every => level.run(Every { matrix: self, rows, x, y }),
                }
            }
            for sample in 0..y.batch() {
                // SAFETY: as above.
                let y = unsafe { y.part(sample, first, rows.len()) };
                for (i, y) in y.iter_mut().enumerate() {
                    *y = activation.apply(*y + bias.map_or(0.0, |b| b[first + i]));
                }
            }
        };
        let firsts = 0..self.rows.div_ceil(CHUNK);
        #[cfg(feature = "rayon")]
        if super::output::in_parallel(y.batch() * self.values.len()) {
            use rayon::prelude::*;
            return firsts.into_par_iter().for_each(|i| run(i * CHUNK));
        }
        firsts.for_each(|i| run(i * CHUNK));
    }

    /// The values of a row, as a range.
    #[inline(always)]
    fn range(&self, row: usize) -> Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }
}

/// A matrix of another format as compressed rows.
fn csr<T: Element>(matrix: &Sparse<T>) -> Result<Csr<T>, SparseError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let (mut starts, mut values) = (vec![0u32; rows + 1], Vec::new());
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    matrix.for_each(|row, col, value| {
        starts[row + 1] += 1;
        if cols <= NARROW {
            narrow.push(col as u16)
        } else {
            wide.push(col as u32)
        }
        values.push(value);
    });
    crate::error::check_most("entries", u32::MAX as usize, values.len())?;
    (0..rows).for_each(|row| starts[row + 1] += starts[row]);
    Csr::new(rows, cols, starts, if cols <= NARROW { Indices::U16(narrow) } else { Indices::U32(wide) }, values)
}

/// Columns by name.
struct Named<'a, I> {
    matrix: &'a Rows,
    indices: &'a [I],
    rows: Range<usize>,
    x: &'a [f32],
    y: &'a mut [f32],
}

/// An index of 16 or 32 bits.
trait Index: Copy {
    fn wide(self) -> usize;
}

impl Index for u16 {
    #[inline(always)]
    fn wide(self) -> usize {
        self.into()
    }
}

impl Index for u32 {
    #[inline(always)]
    fn wide(self) -> usize {
        self as usize
    }
}

impl<I: Index> WithSimd for Named<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { matrix, indices, rows, x, y } = self;
        assert_eq!(x.len(), matrix.cols);
        // What the compiler makes of a multiply-add of single floats is an instruction where there is one.
        let fused = S::F32_LANES > 1;
        let _ = simd;
        for (row, y) in rows.zip(y) {
            let range = matrix.range(row);
            let (eights, rest) = indices[range.clone()].as_chunks::<8>();
            let (weight_eights, weight_rest) = matrix.values[range].as_chunks::<8>();
            let mut sums = [0.0f32; 8];
            for (indices, weights) in eights.iter().zip(weight_eights) {
                for i in 0..8 {
                    // SAFETY: the indices of a matrix are below its columns, which `Csr` checks; here `x` has as many.
                    let x = unsafe { *x.get_unchecked(indices[i].wide()) };
                    sums[i] = if fused { weights[i].mul_add(x, sums[i]) } else { sums[i] + weights[i] * x };
                }
            }
            for (&index, &weight) in rest.iter().zip(weight_rest) {
                sums[0] += weight * x[index.wide()];
            }
            *y = total(sums);
        }
    }
}

/// The sum of eight, in pairs.
#[inline(always)]
fn total(s: [f32; 8]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// All columns.
struct Every<'a> {
    matrix: &'a Rows,
    rows: Range<usize>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Every<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { matrix, rows, x, y } = self;
        let (x, x_rest) = S::as_simd_f32s(x);
        for (row, y) in rows.zip(y) {
            let (weights, rest) = S::as_simd_f32s(&matrix.values[row * matrix.cols..][..matrix.cols]);
            let mut sums = [simd.splat_f32s(0.0); 4];
            let ((fours, ends), (x_fours, x_ends)) = (weights.as_chunks::<4>(), x.as_chunks::<4>());
            for (weights, x) in fours.iter().zip(x_fours) {
                for i in 0..4 {
                    sums[i] = simd.mul_add_e_f32s(weights[i], x[i], sums[i]);
                }
            }
            for (&weights, &x) in ends.iter().zip(x_ends) {
                sums[0] = simd.mul_add_e_f32s(weights, x, sums[0]);
            }
            let both = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
            *y = rest.iter().zip(x_rest).fold(simd.reduce_sum_f32s(both), |sum, (w, x)| sum + w * x);
        }
    }
}

/// Columns by bits.
#[cfg(target_arch = "x86_64")]
struct Expand<'a> {
    simd: pulp::x86::V4,
    matrix: &'a Rows,
    words: &'a [u16],
    rows: Range<usize>,
    x: &'a [f32],
    y: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl WithSimd for Expand<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { simd, matrix, words, rows, x, y } = self;
        let (x, _) = x.as_chunks::<16>();
        for (row, y) in rows.zip(y) {
            let words = &words[row * x.len()..][..x.len()];
            let mut at = matrix.starts[row] as usize;
            let mut sums = [simd.avx512f._mm512_setzero_ps(); 4];
            let add = |sum, at: usize, word: u16, x: &[f32; 16]| {
                debug_assert!(at + 16 <= matrix.values.len());
                // SAFETY: `at` is the number of bits before this word; the values are as many as the bits, and 16 more.
                let values = unsafe { matrix.values.as_ptr().add(at).cast::<[f32; 16]>().read() };
                let spread = simd.avx512f._mm512_maskz_expand_ps(word, pulp::cast(values));
                // A column without a weight adds nothing, even if it is infinite.
                (simd.avx512f._mm512_mask3_fmadd_ps(spread, pulp::cast(*x), sum, word), at + word.count_ones() as usize)
            };
            let ((fours, rest), (x_fours, x_rest)) = (words.as_chunks::<4>(), x.as_chunks::<4>());
            for (words, x) in fours.iter().zip(x_fours) {
                (sums[0], at) = add(sums[0], at, words[0], &x[0]);
                (sums[1], at) = add(sums[1], at, words[1], &x[1]);
                (sums[2], at) = add(sums[2], at, words[2], &x[2]);
                (sums[3], at) = add(sums[3], at, words[3], &x[3]);
            }
            for (&word, x) in rest.iter().zip(x_rest) {
                (sums[0], at) = add(sums[0], at, word, x);
            }
            let avx = simd.avx512f;
            let both = avx._mm512_add_ps(avx._mm512_add_ps(sums[0], sums[1]), avx._mm512_add_ps(sums[2], sums[3]));
            *y = avx._mm512_reduce_add_ps(both);
        }
    }
}

/// For each byte of bits, which of the values that follow goes to each column whose bit is set.
#[cfg(target_arch = "x86_64")]
const PLACES: [[u8; 8]; 256] = {
    let mut places = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut next) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                places[byte][bit] = next;
                next += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    places
};

/// Columns by bits, where no instruction expands: a permutation from a table for each byte.
#[cfg(target_arch = "x86_64")]
struct Permute<'a> {
    simd: pulp::x86::V3,
    matrix: &'a Rows,
    words: &'a [u16],
    rows: Range<usize>,
    x: &'a [f32],
    y: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl<'a> WithSimd for Permute<'a> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { simd, matrix, words, rows, x, y } = self;
        let (x, _) = x.as_chunks::<16>();
        let lanes = pulp::cast([1i32, 2, 4, 8, 16, 32, 64, 128]);
        for (row, y) in rows.zip(y) {
            let words = &words[row * x.len()..][..x.len()];
            let mut at = matrix.starts[row] as usize;
            let mut sums = [simd.avx._mm256_setzero_ps(); 4];
            let add = |sum, at: usize, byte: u8, x: &[f32; 8]| {
                debug_assert!(at + 8 <= matrix.values.len());
                // SAFETY: `at` is the number of bits before this byte; the values are as many as the bits, and 16 more.
                let values = unsafe { matrix.values.as_ptr().add(at).cast::<[f32; 8]>().read() };
                let places = pulp::cast([u64::from_le_bytes(PLACES[usize::from(byte)]), 0]);
                let places = simd.avx2._mm256_cvtepu8_epi32(places);
                let spread = simd.avx2._mm256_permutevar8x32_ps(pulp::cast(values), places);
                let bits = simd.avx2._mm256_and_si256(simd.avx._mm256_set1_epi32(byte.into()), lanes);
                let set = pulp::cast(simd.avx2._mm256_cmpeq_epi32(bits, lanes));
                // A column without a weight adds nothing, even if it is infinite, or if the value in its lane is.
                let (spread, x) = (simd.avx._mm256_and_ps(spread, set), simd.avx._mm256_and_ps(pulp::cast(*x), set));
                (simd.fma._mm256_fmadd_ps(spread, x, sum), at + byte.count_ones() as usize)
            };
            let halves = |x: &'a [f32; 16]| {
                let (halves, _) = x.as_chunks::<8>();
                (&halves[0], &halves[1])
            };
            let ((twos, rest), (x_twos, x_rest)) = (words.as_chunks::<2>(), x.as_chunks::<2>());
            for (words, x) in twos.iter().zip(x_twos) {
                let ((a, b), (c, d)) = (halves(&x[0]), halves(&x[1]));
                (sums[0], at) = add(sums[0], at, words[0] as u8, a);
                (sums[1], at) = add(sums[1], at, (words[0] >> 8) as u8, b);
                (sums[2], at) = add(sums[2], at, words[1] as u8, c);
                (sums[3], at) = add(sums[3], at, (words[1] >> 8) as u8, d);
            }
            for (&word, x) in rest.iter().zip(x_rest) {
                let (a, b) = halves(x);
                (sums[0], at) = add(sums[0], at, word as u8, a);
                (sums[1], at) = add(sums[1], at, (word >> 8) as u8, b);
            }
            let avx = simd.avx;
            let both = avx._mm256_add_ps(avx._mm256_add_ps(sums[0], sums[1]), avx._mm256_add_ps(sums[2], sums[3]));
            *y = total(pulp::cast(both));
        }
    }
}
