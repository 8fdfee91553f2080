//! Instruction sets, and kernels compiled for each of them.

use crate::SparseError;
use pulp::{Scalar, Simd, WithSimd};

/// An instruction set that kernels are compiled for.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One lane at a time.
    Scalar,
    /// AVX2 and FMA, 8 lanes.
    Avx2,
    /// AVX-512, 16 lanes.
    Avx512,
    /// NEON, 4 lanes.
    Neon,
}

impl Level {
    /// Returns whether this processor has the instruction set.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Returns the instruction sets of this processor, fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let levels = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];
        levels.into_iter().filter(|l| l.is_available()).collect()
    }

    /// Returns the level itself, if this processor has it.
    pub(crate) fn check(self) -> Result<Self, SparseError> {
        let name = match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
            Self::Neon => "NEON",
        };
        if self.is_available() { Ok(self) } else { Err(SparseError::Level(name)) }
    }

    /// Runs a kernel on whole tiles of `lanes`, which are 8, 16, 32 or 64.
    pub(crate) fn tile<K: Tile>(self, lanes: usize, kernel: K) {
        match (self, lanes) {
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, 16..) => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return match lanes {
                        16 => Simd::vectorize(simd, With::<K, 1>(kernel)),
                        32 => Simd::vectorize(simd, With::<K, 2>(kernel)),
                        _ => Simd::vectorize(simd, With::<K, 4>(kernel)),
                    };
                }
            }
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512 | Self::Avx2, _) => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return match lanes {
                        8 => Simd::vectorize(simd, With::<K, 1>(kernel)),
                        16 => Simd::vectorize(simd, With::<K, 2>(kernel)),
                        32 => Simd::vectorize(simd, With::<K, 4>(kernel)),
                        _ => Simd::vectorize(simd, With::<K, 8>(kernel)),
                    };
                }
            }
            #[cfg(target_arch = "aarch64")]
            (Self::Neon, _) => {
                if let Some(simd) = pulp::aarch64::Neon::try_new() {
                    return match lanes {
                        8 => Simd::vectorize(simd, With::<K, 2>(kernel)),
                        16 => Simd::vectorize(simd, With::<K, 4>(kernel)),
                        32 => Simd::vectorize(simd, With::<K, 8>(kernel)),
                        _ => Simd::vectorize(simd, With::<K, 16>(kernel)),
                    };
                }
            }
            _ => {}
        }
        match lanes {
            8 => Simd::vectorize(Scalar, With::<K, 8>(kernel)),
            16 => Simd::vectorize(Scalar, With::<K, 16>(kernel)),
            32 => Simd::vectorize(Scalar, With::<K, 32>(kernel)),
            _ => Simd::vectorize(Scalar, With::<K, 64>(kernel)),
        }
    }

    /// Returns the density above which a single sample is faster by bits, whose values are spread over lanes, than by named columns. It
    /// was measured where the dense matrix is larger than the caches: on Zen 4, and for AVX2 on a Zen processor without AVX-512.
    pub(crate) fn spreads_from(self) -> f64 {
        match self {
            Self::Avx512 => 0.0,
            Self::Avx2 => 0.35,
            Self::Neon | Self::Scalar => f64::INFINITY,
        }
    }

    /// Returns the floats of a register.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Scalar => 1,
            Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Runs a kernel on tiles of `registers` registers, 1 to [`MOST`], of a level that is available.
    pub(crate) fn registers<K: Tile>(self, registers: usize, kernel: K) {
        macro_rules! with {
            ($simd:expr; $($count:literal)*) => {
                match registers {
                    $($count => Simd::vectorize($simd, With::<K, $count>(kernel)),)*
                    _ => Simd::vectorize($simd, With::<K, MOST>(kernel)),
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    with!(simd; 1 2 3 4 5 6 7 8 9 10 11)
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    with!(simd; 1 2 3 4 5 6 7 8 9 10 11)
                }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                if let Some(simd) = pulp::aarch64::Neon::try_new() {
                    with!(simd; 1 2 3 4 5 6 7 8 9 10 11)
                }
            }
            _ => with!(Scalar; 1 2 3 4 5 6 7 8 9 10 11),
        }
    }

    /// Runs a kernel that handles lanes by itself.
    pub(crate) fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            Self::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            _ => {}
        }
        #[cfg(target_arch = "aarch64")]
        if let (Self::Neon, Some(simd)) = (self, pulp::aarch64::Neon::try_new()) {
            return Simd::vectorize(simd, kernel);
        }
        Simd::vectorize(Scalar, kernel)
    }
}

/// The most registers of a tile: those that AVX2 has beside a weight and an input.
pub(crate) const MOST: usize = 12;

/// A kernel over tiles of `V` registers. Mark its method `#[inline(always)]`: what is not inlined is compiled for the lowest level.
pub(crate) trait Tile {
    /// Runs the kernel.
    fn run<S: Simd, const V: usize>(self, simd: S);
}

struct With<K, const V: usize>(K);

impl<K: Tile, const V: usize> WithSimd for With<K, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<S, V>(simd);
    }
}
