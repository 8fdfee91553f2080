//! Comparing many keys at once, at the SIMD level of the machine.

use pulp::{Arch, NullaryFnOnce};
#[cfg(target_arch = "x86_64")]
use pulp::{cast, x86::V3};

/// A pass over keys that is compiled for the SIMD level of the machine it runs on.
pub(crate) trait Pass {
    /// The result of the pass.
    type Output;

    /// Runs the pass. Mark it `#[inline(always)]`: what is not inlined is compiled for the lowest level.
    fn run(self, compare: impl CompareKeys) -> Self::Output;
}

/// Runs a pass at the highest level there is.
pub(crate) fn run<P: Pass>(pass: P) -> P::Output {
    // AVX-512 runs at this level too; its own instructions are not faster here.
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = V3::try_new() {
        return simd.vectorize(At { pass, compare: simd });
    }
    Arch::new().dispatch(At { pass, compare: Portable })
}

struct At<P, C> {
    pass: P,
    compare: C,
}

impl<P: Pass, C: CompareKeys> NullaryFnOnce for At<P, C> {
    type Output = P::Output;

    #[inline(always)]
    fn call(self) -> P::Output {
        self.pass.run(self.compare)
    }
}

/// How a SIMD level compares 64 keys at once, with one bit for each.
pub(crate) trait CompareKeys: Copy {
    /// Returns where a key is at least the other key of its pair.
    fn at_least(self, keys: &[u32; 64], others: &[u32; 64]) -> u64;

    /// Returns where a key is at least `least`.
    fn at_least_key(self, keys: &[u32; 64], least: u32) -> u64;
}

/// The form that the compiler makes of a plain loop.
#[derive(Clone, Copy)]
struct Portable;

impl CompareKeys for Portable {
    #[inline(always)]
    fn at_least(self, keys: &[u32; 64], others: &[u32; 64]) -> u64 {
        let mut flags = [0; 64];
        for i in 0..64 {
            flags[i] = u8::from(keys[i] >= others[i]);
        }
        pack(&flags)
    }

    #[inline(always)]
    fn at_least_key(self, keys: &[u32; 64], least: u32) -> u64 {
        self.at_least(keys, &[least; 64])
    }
}

/// Gathers the lowest bit of each byte.
#[inline(always)]
fn pack(flags: &[u8; 64]) -> u64 {
    let mut word = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // The product moves bit 8 j to bit 56 + j, for all j at once and without carries.
        word |= (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
}

/// AVX2 gathers the signs of eight lanes at once, which the compiler does not find by itself.
#[cfg(target_arch = "x86_64")]
impl CompareKeys for V3 {
    #[inline(always)]
    fn at_least(self, keys: &[u32; 64], others: &[u32; 64]) -> u64 {
        let (keys, others) = (keys.as_chunks::<8>().0, others.as_chunks::<8>().0);
        keys.iter().zip(others).rev().fold(0, |word, (&keys, &others)| {
            let eight = self.cmp_ge_u32x8(cast(keys), cast(others));
            word << 8 | u64::from(self.avx._mm256_movemask_ps(cast(eight)) as u8)
        })
    }

    #[inline(always)]
    fn at_least_key(self, keys: &[u32; 64], least: u32) -> u64 {
        let least = self.splat_u32x8(least);
        keys.as_chunks::<8>().0.iter().rev().fold(0, |word, &keys| {
            let eight = self.cmp_ge_u32x8(cast(keys), least);
            word << 8 | u64::from(self.avx._mm256_movemask_ps(cast(eight)) as u8)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares by both ways, with as many wins as losses and ties.
    struct Both([[u32; 64]; 2]);

    impl Pass for Both {
        type Output = [u64; 2];

        fn run(self, compare: impl CompareKeys) -> [u64; 2] {
            [compare.at_least(&self.0[0], &self.0[1]), compare.at_least_key(&self.0[0], 0x8000_0001)]
        }
    }

    #[test]
    fn every_simd_level_compares_alike() {
        let keys = |seed: u32| std::array::from_fn(|i| 0x8000_0000 + (i as u32 * seed) % 5 - 2 * (seed & 1));
        let keys = [keys(7), keys(3)];
        let expected = |test: &dyn Fn(usize) -> bool| (0..64).fold(0, |word, i| word | u64::from(test(i)) << i);
        let expected = [expected(&|i| keys[0][i] >= keys[1][i]), expected(&|i| keys[0][i] >= 0x8000_0001)];
        assert_eq!(Both(keys).run(Portable), expected);
        assert_eq!(run(Both(keys)), expected);
    }
}
