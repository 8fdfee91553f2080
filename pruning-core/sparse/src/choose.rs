//! The choice of the format that suits a matrix.

use crate::formats::packed::{check_pattern, groups};
use crate::kernels::level::Level;
use crate::{Dense, Element, Format, Plan};

/// The N:M patterns that are tried, and the blocks.
const PATTERNS: [(usize, usize); 4] = [(1, 4), (2, 8), (2, 4), (4, 8)];
const BLOCKS: [(usize, usize); 3] = [(4, 4), (8, 8), (16, 16)];

/// Returns the format whose arrays take the fewest bytes for a matrix; ties go to the first in [`Format`]'s order.
///
/// The candidates are dense, COO, CSR, bitmap, N:M for 1:4, 2:8, 2:4 and 4:8 where the matrix respects them, and square blocks of 4, 8
/// and 16 where they fill the matrix. `kernel` is the number of columns for each input channel, 1 in a linear layer: groups of N:M are
/// sought along the channels and along the columns.
///
/// ```
/// use pruning_sparse::{Dense, Format, smallest};
/// // One value in every four: 1:4 is smaller than any format that stores columns.
/// let one_of_four: Vec<f32> = (0..1024).map(|i| if i % 4 == 0 { 1.0 } else { 0.0 }).collect();
/// let format = smallest(&Dense::new(16, 64, one_of_four)?, 1);
/// assert_eq!(format, Format::Packed { n: 1, m: 4, kernel: 1 });
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[must_use]
pub fn smallest<T: Element>(dense: &Dense<T>, kernel: usize) -> Format {
    let (rows, cols, nonzeros) = (dense.rows(), dense.cols(), dense.nonzeros());
    let csr = Format::csr(cols);
    let mut candidates: Vec<_> = [Format::Dense, Format::Coo, csr, Format::Bitmap].map(|f| (f, nonzeros)).to_vec();
    let kernels = if kernel == 1 { vec![1] } else { vec![kernel, 1] };
    for ((n, m), kernel) in
        PATTERNS.into_iter().flat_map(|pattern| kernels.iter().map(move |&kernel| (pattern, kernel)))
    {
        if respects(dense, n, m, kernel) {
            candidates.push((Format::Packed { n, m, kernel }, nonzeros));
        }
    }
    for (height, width) in BLOCKS {
        if rows.is_multiple_of(height) && cols.is_multiple_of(width) {
            candidates.push((Format::Blocks { height, width }, blocks(dense, height, width)));
        }
    }
    let bytes = |&(format, stored): &(Format, usize)| format.bytes(rows, cols, stored, T::BYTES);
    // The first of equal ones.
    candidates.iter().min_by_key(|c| bytes(c)).map_or(Format::Dense, |c| c.0)
}

/// Returns the format whose product is the fastest for a batch of `batch` samples, by a model of one core.
///
/// For a batch, a dense product takes a multiply-add for each element and register of samples, and a sparse one about twice that for each
/// nonzero: dense wins from a density of one half on, compressed rows below. Single samples are bound by memory where the matrix is
/// larger than the caches, and by the processor where it is not: dense wins above 70 % density; a bitmap wins above 20 % (with AVX-512)
/// or 35 % (AVX2) where the dense matrix takes 16 MiB or more; compressed rows win elsewhere. The limits are from `cargo bench -p
/// pruning-core --bench sparse` on one Zen 4 core at 50 % sparsity and above; the limit of 70 % is extrapolated. They are a rule of
/// thumb: other machines have other limits.
///
/// ```
/// use pruning_sparse::{Dense, Format, fastest};
/// let sparse: Vec<f32> = (0..1024).map(|i| if i % 10 == 0 { 1.0 } else { 0.0 }).collect();
/// assert_eq!(fastest(&Dense::new(16, 64, sparse)?, 32), Format::Csr16);
/// assert_eq!(fastest(&Dense::new(16, 64, vec![1.0f32; 1024])?, 32), Format::Dense);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[must_use]
pub fn fastest<T: Element>(dense: &Dense<T>, batch: usize) -> Format {
    let len = dense.values().len();
    let csr = Format::csr(dense.cols());
    let density = dense.nonzeros() as f64 / len.max(1) as f64;
    // Matrices in the caches are read faster than they are unpacked.
    let far = len * 4 >= 16 << 20;
    let limit = match (batch >= Plan::TILED, far) {
        (true, _) => 0.5,
        (false, true) => 0.7,
        (false, false) => 0.2,
    };
    let level = Level::available().first().copied().unwrap_or(Level::Scalar);
    let bits = batch < Plan::TILED && far && density > level.spreads_from().max(0.2);
    if density > limit {
        Format::Dense
    } else if bits {
        Format::Bitmap
    } else {
        csr
    }
}

/// Returns whether every group of `m` columns has at most `n` values.
fn respects<T: Element>(dense: &Dense<T>, n: usize, m: usize, kernel: usize) -> bool {
    let fits = |group: &mut dyn Iterator<Item = &T>| group.filter(|v| !v.is_zero()).count() <= n;
    check_pattern(dense.cols(), n, m, kernel).is_ok()
        && groups(dense.values(), m, kernel).all(|mut group| fits(&mut group))
}

/// Returns the number of blocks that are not all zero.
fn blocks<T: Element>(dense: &Dense<T>, height: usize, width: usize) -> usize {
    let across = dense.cols() / width;
    let mut seen = vec![false; dense.rows() / height * across];
    dense.for_each(|row, col, _| seen[row / height * across + col / width] = true);
    seen.into_iter().filter(|&s| s).count()
}
