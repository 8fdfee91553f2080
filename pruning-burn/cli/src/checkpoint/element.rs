//! Types of elements: [`ElementType`].

use burn::tensor::DType;
use burn_store::pytorch_reader;
use serde::Serialize;

/// The type of a tensor's elements, by the name that safetensors gives it: `F32`, `BF16`, `F8_E4M3`, `I4`.
///
/// Names that are not known here are types too: their tensors are copied as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ElementType(String);

/// The types of known sizes, in bits.
const BITS: [(&str, u64); 22] = [
    ("F64", 64),
    ("F32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("I64", 64),
    ("I32", 32),
    ("I16", 16),
    ("I8", 8),
    ("U64", 64),
    ("U32", 32),
    ("U16", 16),
    ("U8", 8),
    ("BOOL", 8),
    ("C64", 64),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("F4", 4),
];

/// The types that Burn has too.
const BURN: [(&str, DType); 12] = [
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
];

impl ElementType {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the bits of an element, if the type is known.
    #[must_use]
    pub fn bits(&self) -> Option<u64> {
        BITS.iter().find(|(name, _)| *name == self.0).map(|(_, bits)| *bits)
    }

    /// Returns the bytes of so many elements, if the type is known.
    pub(crate) fn bytes_of(&self, shape: &[usize]) -> Option<Result<u64, &'static str>> {
        let bits = self.bits()?;
        let elements = shape.iter().try_fold(1u64, |all, &len| all.checked_mul(u64::try_from(len).ok()?));
        Some(match elements.and_then(|all| all.checked_mul(bits)) {
            None => Err("its shape overflows"),
            Some(bits) if !bits.is_multiple_of(8) => Err("its elements do not fill whole bytes"),
            Some(bits) => Ok(bits / 8),
        })
    }

    /// Returns whether the type is one of the floats that can be pruned: 16, 32 or 64 bits.
    #[must_use]
    pub fn is_prunable(&self) -> bool {
        matches!(self.0.as_str(), "F64" | "F32" | "F16" | "BF16")
    }

    /// Returns Burn's type, if it has this one.
    pub(crate) fn burn(&self) -> Option<DType> {
        BURN.iter().find(|(name, _)| *name == self.0).map(|(_, dtype)| *dtype)
    }

    pub(crate) fn of_burn(dtype: DType) -> Self {
        let known = BURN.iter().find(|(_, other)| *other == dtype).map(|(name, _)| (*name).to_string());
        Self(known.unwrap_or_else(|| match dtype {
            DType::Bool(_) if dtype.size() == 1 => "BOOL".to_string(),
            DType::Flex32 => "F32".to_string(),
            DType::QFloat(_) => "QFLOAT".to_string(),
            other => format!("{other:?}").to_uppercase(),
        }))
    }

    pub(crate) fn of_pytorch(dtype: pytorch_reader::DType) -> Self {
        Self(format!("{dtype:?}").to_uppercase())
    }
}
