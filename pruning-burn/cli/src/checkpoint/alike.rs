//! Tensors that hold the same numbers, as views of one storage of PyTorch do: [`Alike`].

use crate::checkpoint::tensor::TensorEntry;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The names of tensors with more than one axis, by type, length and the numbers in any order: a transposed view holds the same ones.
#[derive(Debug, Default)]
pub(crate) struct Alike(BTreeMap<(String, usize, u64), Vec<String>>);

impl Alike {
    /// Notes a tensor with its bytes.
    pub(crate) fn note(&mut self, tensor: &TensorEntry, bytes: &[u8]) {
        let elements = tensor.elements();
        if !tensor.is_parameter() || tensor.shape().len() < 2 || elements == 0 {
            return;
        }
        let sum = sum(bytes, bytes.len() / elements);
        self.0.entry((tensor.element().name().to_string(), elements, sum)).or_default().push(tensor.name().to_string());
    }

    /// The names of those that hold the same numbers.
    pub(crate) fn groups(self) -> Vec<Vec<String>> {
        self.0.into_values().filter(|names| names.len() > 1).collect()
    }
}

/// A sum over elements that does not depend on their order, and tells different numbers apart.
fn sum(bytes: &[u8], size: usize) -> u64 {
    let mixed = |element: &[u8]| {
        let mut wide = [0; 8];
        wide[..element.len()].copy_from_slice(element);
        // The finalizer of SplitMix64 (Steele, Lea & Flood 2014).
        let bits = u64::from_le_bytes(wide).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    let part = |part: &[u8]| part.chunks_exact(size).map(mixed).fold(0, u64::wrapping_add);
    bytes.par_chunks(size << 16).map(part).reduce(|| 0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ElementType;

    #[test]
    fn the_same_numbers_in_any_order_are_alike() {
        let tensor = |name: &str, shape: &[usize]| {
            let len = shape.iter().product::<usize>() as u64 * 2;
            TensorEntry::new(name.into(), ElementType::new("F16"), shape.to_vec(), len)
        };
        let mut alike = Alike::default();
        alike.note(&tensor("a", &[2, 3]), &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
        alike.note(&tensor("b", &[3, 2]), &[1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0]);
        alike.note(&tensor("c", &[3, 2]), &[1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 7, 0]);
        alike.note(&tensor("d", &[6]), &[1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0]);
        alike.note(&tensor("e", &[0, 6]), &[]);
        assert_eq!(alike.groups(), [["a", "b"]]);
    }
}
