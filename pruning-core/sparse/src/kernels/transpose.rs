//! Blocks of eight by eight, turned: samples into lanes, and back.

use pulp::Simd;

/// Eight rows as eight columns.
#[inline(always)]
pub(crate) fn transposed<S: Simd>(block: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES >= 8 {
        // SAFETY: of the levels for this architecture, only those with AVX have so many lanes, and a `Simd` exists where its level does.
        return unsafe { avx(block) };
    }
    std::array::from_fn(|j| std::array::from_fn(|i| block[i][j]))
}

/// In 24 shuffles; left to itself the compiler moves every float for itself, which costs a sparse product of a batch two fifths of
/// its time at 95 % sparsity.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx")]
fn avx(block: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    use std::arch::x86_64::{
        __m256, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };
    // SAFETY: both are eight floats, and any bits are some.
    let load = |i: usize| unsafe { std::mem::transmute::<[f32; 8], __m256>(block[i]) };
    let rows: [__m256; 8] = std::array::from_fn(load);
    // Within halves of registers: pairs, then fours, of rows `i` to `i + 3`.
    let fours = |i: usize| {
        let (a, b) = (_mm256_unpacklo_ps(rows[i], rows[i + 1]), _mm256_unpackhi_ps(rows[i], rows[i + 1]));
        let (c, d) = (_mm256_unpacklo_ps(rows[i + 2], rows[i + 3]), _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]));
        [
            _mm256_shuffle_ps::<0x44>(a, c),
            _mm256_shuffle_ps::<0xee>(a, c),
            _mm256_shuffle_ps::<0x44>(b, d),
            _mm256_shuffle_ps::<0xee>(b, d),
        ]
    };
    let (top, bottom) = (fours(0), fours(4));
    let column = |j: usize| {
        let (top, bottom) = (top[j % 4], bottom[j % 4]);
        let turned = if j < 4 {
            _mm256_permute2f128_ps::<0x20>(top, bottom)
        } else {
            _mm256_permute2f128_ps::<0x31>(top, bottom)
        };
        // SAFETY: as above.
        unsafe { std::mem::transmute::<__m256, [f32; 8]>(turned) }
    };
    std::array::from_fn(column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::level::{Level, Tile};

    struct Turn<'a>(&'a [[f32; 8]; 8], &'a mut [[f32; 8]; 8]);

    impl Tile for Turn<'_> {
        #[inline(always)]
        fn run<S: Simd, const V: usize>(self, _: S) {
            *self.1 = transposed::<S>(self.0);
        }
    }

    #[test]
    fn every_level_turns_a_block() {
        let block: [[f32; 8]; 8] = std::array::from_fn(|i| std::array::from_fn(|j| (10 * i + j) as f32));
        for level in Level::available() {
            let mut turned = [[0.0; 8]; 8];
            level.tile(32, Turn(&block, &mut turned));
            for (j, row) in turned.iter().enumerate() {
                assert_eq!(*row, std::array::from_fn(|i| block[i][j]), "{level:?}");
            }
        }
    }
}
