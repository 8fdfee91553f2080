//! Element types, and arrays of them that are equal bit for bit.

use crate::SparseError;
use half::{bf16, f16};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A type of weights: `f32`, `f16` or `bf16`.
///
/// A zero is the all-zero bit pattern and nothing else. Minus zero, NaNs and infinities are values, and every conversion keeps them bit
/// for bit.
pub trait Element: Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static + sealed::Sealed {
    /// The bytes of a value.
    const BYTES: usize;
    /// The all-zero bit pattern.
    const ZERO: Self;

    /// Returns the bits of the value, in the lower half if it has 16.
    fn bits(self) -> u32;

    /// Returns the value with these bits; `None` if they are too wide.
    fn from_bits(bits: u32) -> Option<Self>;

    /// Returns the value in single precision, which holds every value exactly.
    fn to_f32(self) -> f32;

    /// Returns whether the value is the all-zero bit pattern.
    fn is_zero(self) -> bool {
        self.bits() == 0
    }
}

mod sealed {
    /// The three types that can be elements.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Element for f32 {
    const BYTES: usize = 4;
    const ZERO: Self = 0.0;

    fn bits(self) -> u32 {
        self.to_bits()
    }

    fn from_bits(bits: u32) -> Option<Self> {
        Some(Self::from_bits(bits))
    }

    fn to_f32(self) -> f32 {
        self
    }
}

macro_rules! half {
    ($($type:ident),*) => {$(
        impl Element for $type {
            const BYTES: usize = 2;
            const ZERO: Self = $type::ZERO;

            fn bits(self) -> u32 {
                self.to_bits().into()
            }

            fn from_bits(bits: u32) -> Option<Self> {
                u16::try_from(bits).ok().map(Self::from_bits)
            }

            fn to_f32(self) -> f32 {
                self.into()
            }
        }
    )*};
}
half!(f16, bf16);

/// Values that are equal if their bits are, and are written as their bits, so that formats without NaNs keep them.
#[derive(Clone)]
pub(crate) struct Values<T>(pub(crate) Vec<T>);

impl<T: Element> PartialEq for Values<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.bits() == b.bits())
    }
}

impl<T: Element> std::fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Element> Serialize for Values<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|v| v.bits()))
    }
}

impl<'de, T: Element> Deserialize<'de> for Values<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = Vec::<u32>::deserialize(deserializer)?;
        let values = bits.into_iter().enumerate();
        let values = values.map(|(entry, bits)| T::from_bits(bits).ok_or(SparseError::Bits { entry, bits }));
        values.collect::<Result<_, _>>().map(Self).map_err(de::Error::custom)
    }
}
