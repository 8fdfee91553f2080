//! The values of bytes: [`floats`], zeros, masks.

use crate::checkpoint::element::ElementType;
use crate::checkpoint::tensor::TensorEntry;
use burn::tensor::{bf16, f16};
use pruning_burn::mask::Bits;
use rayon::prelude::*;

/// A float as it is stored.
pub trait Float: Copy {
    /// Returns the value in double precision.
    fn value(self) -> f64;
}

macro_rules! float {
    ($($type:ty),+) => {$(
        impl Float for $type {
            fn value(self) -> f64 {
                self.into()
            }
        }
    )+};
}
float!(f64, f32, f16, bf16);

/// Returns the values of the bytes of a float tensor in double precision; nothing for another type.
#[must_use]
pub fn floats(bytes: &[u8], element: &ElementType) -> Option<Vec<f64>> {
    fn all<const N: usize, F: Float>(bytes: &[u8], read: impl Fn([u8; N]) -> F) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| read(*bytes).value()).collect()
    }
    Some(match element.name() {
        "F64" => all(bytes, f64::from_le_bytes),
        "F32" => all(bytes, f32::from_le_bytes),
        "F16" => all(bytes, f16::from_le_bytes),
        "BF16" => all(bytes, bf16::from_le_bytes),
        _ => return None,
    })
}

/// Returns which elements are not zero; minus zero is zero. The type has whole bytes.
pub(crate) fn nonzero(bytes: &[u8], element: &ElementType) -> Bits {
    let size = (element.bits().unwrap_or(8) / 8).max(1) as usize;
    // All that a zero of a float may have is its sign, in the highest bit of the last byte.
    let signed = element.is_prunable() || ["F8_E4M3", "F8_E5M2"].contains(&element.name());
    let sign = if signed { 0x7f } else { 0xff };
    let stays = |element: &[u8]| {
        let (last, rest) = element.split_last().unwrap_or((&0, &[]));
        last & sign != 0 || rest.iter().any(|byte| *byte != 0)
    };
    Bits::from_bools(&bytes.chunks_exact(size).map(stays).collect::<Vec<_>>())
}

/// Returns how many elements of a float tensor are zero.
pub(crate) fn zeros(bytes: &[u8], element: &ElementType) -> usize {
    fn of<const N: usize>(bytes: &[u8], is_zero: impl Fn([u8; N]) -> bool + Sync) -> usize {
        let parts = bytes.as_chunks::<N>().0.par_chunks(1 << 16);
        parts.map(|part| part.iter().filter(|element| is_zero(**element)).count()).sum()
    }
    // The sign is shifted out.
    match element.bits() {
        Some(64) => of(bytes, |element| u64::from_le_bytes(element) << 1 == 0),
        Some(32) => of(bytes, |element| u32::from_le_bytes(element) << 1 == 0),
        _ => of(bytes, |element| u16::from_le_bytes(element) << 1 == 0),
    }
}

/// Sets elements to zero that a mask does not keep. The mask is in Burn's order, the bytes are in that of the file.
pub(crate) fn mask(bytes: &mut [u8], tensor: &TensorEntry, keep: &Bits) {
    let elements = keep.len().max(1);
    let size = bytes.len() / elements;
    let &[rows, cols] = tensor.shape.as_slice() else { return apply(bytes, size, |i| keep.get(i)) };
    if tensor.turned {
        let row = (cols * size).max(1);
        bytes.par_chunks_mut(row).enumerate().for_each(|(r, bytes)| apply(bytes, size, |c| keep.get(c * rows + r)));
    } else {
        apply(bytes, size, |i| keep.get(i));
    }
}

fn apply(bytes: &mut [u8], size: usize, keep: impl Fn(usize) -> bool) {
    for (i, element) in bytes.chunks_exact_mut(size.max(1)).enumerate() {
        if !keep(i) {
            element.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_zero_is_zero_and_every_other_bit_is_not() {
        let bytes: Vec<u8> = [0.0f32, -0.0, 1.0, f32::from_bits(1)].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(nonzero(&bytes, &ElementType::new("F32")).to_bools(), [false, false, true, true]);
        assert_eq!(zeros(&bytes, &ElementType::new("F32")), 2);
        assert_eq!(zeros(&[0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0], &ElementType::new("F64")), 1);
        assert_eq!(zeros(&[0, 0x80, 0, 1, 0, 0], &ElementType::new("F16")), 2);
        assert_eq!(nonzero(&[0x80, 1], &ElementType::new("F8_E4M3")).to_bools(), [false, true]);
        assert_eq!(nonzero(&[0, 0x80, 0, 0], &ElementType::new("I16")).to_bools(), [true, false]);
    }

    #[test]
    fn a_mask_follows_the_axes() {
        let mut tensor = TensorEntry::new("fc.weight".into(), ElementType::new("U8"), vec![2, 3], 6);
        let keep = Bits::from_bools(&[true, false, true, true, false, true]);
        let mut bytes = [1, 2, 3, 4, 5, 6];
        mask(&mut bytes, &tensor, &keep);
        assert_eq!(bytes, [1, 0, 3, 4, 0, 6]);
        tensor.turned = true;
        let mut bytes = [1, 2, 3, 4, 5, 6];
        mask(&mut bytes, &tensor, &keep);
        // Burn has [3, 2]: rows (1, 4), (2, 5), (3, 6).
        assert_eq!(bytes, [1, 2, 0, 0, 5, 6]);
    }
}
