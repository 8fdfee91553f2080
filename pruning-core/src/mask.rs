//! Masks, which say which elements of a parameter are kept.

mod bits;
mod random_masks;

pub use bits::Bits;
pub(crate) use bits::ones;
pub use random_masks::random_masks;

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The mask of one parameter, in the parameter's own shape and memory order. **True means keep.**
///
/// ```
/// use pruning_core::mask::{Bits, Mask};
/// let mask = Mask::new([2, 2], Bits::from_bools(&[true, false, false, true]))?;
/// assert_eq!((mask.kept(), mask.len()), (2, 4));
/// assert!(Mask::new([2, 3], Bits::ones(4)).is_err());
/// # Ok::<(), pruning_core::mask::MaskError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawMask")]
pub struct Mask {
    shape: Vec<usize>,
    keep: Bits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMask {
    shape: Vec<usize>,
    keep: Bits,
}

impl TryFrom<RawMask> for Mask {
    type Error = MaskError;

    fn try_from(raw: RawMask) -> Result<Self, MaskError> {
        Self::new(raw.shape, raw.keep)
    }
}

/// An error for a mask that fits no parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The number of bits differs from the number of elements.
    #[error("a mask of shape {shape:?} needs {expected} bits, not {found}")]
    Length {
        /// The shape that was asked for.
        shape: Vec<usize>,
        /// The number of elements of that shape.
        expected: usize,
        /// The number of bits that were given.
        found: usize,
    },
    /// The mask needs more bits than memory holds.
    #[error("a mask of shape {shape:?} needs more bits than memory holds")]
    TooLarge {
        /// The shape that was asked for.
        shape: Vec<usize>,
    },
    /// Two masks of one parameter have different shapes.
    #[error("{path}: masks of shape {first:?} and {second:?} have no intersection")]
    Shapes {
        /// The path of the parameter.
        path: String,
        /// The shape of one mask.
        first: Vec<usize>,
        /// The shape of the other mask.
        second: Vec<usize>,
    },
    /// Two masks were given for one parameter.
    #[error("{path} has two masks in one set: remove one, or intersect them")]
    Duplicate {
        /// The path of the parameter.
        path: String,
    },
}

impl Mask {
    /// Creates a mask of `shape` from its bits in row-major order.
    ///
    /// # Errors
    /// The number of bits is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, keep: Bits) -> Result<Self, MaskError> {
        let shape = shape.into();
        let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
        if keep.len() == expected {
            Ok(Self { shape, keep })
        } else {
            Err(MaskError::Length { shape, expected, found: keep.len() })
        }
    }

    /// Creates a mask that keeps every element.
    ///
    /// # Errors
    /// The shape has more elements than memory holds bits.
    pub fn dense(shape: impl Into<Vec<usize>>) -> Result<Self, MaskError> {
        let shape = shape.into();
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match len.and_then(Bits::try_ones) {
            Some(keep) => Ok(Self { shape, keep }),
            None => Err(MaskError::TooLarge { shape }),
        }
    }

    /// Returns the shape of the parameter.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the bits in row-major order.
    #[must_use]
    pub fn bits(&self) -> &Bits {
        &self.keep
    }

    /// Returns the number of kept elements.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.keep.count_ones()
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keep.len()
    }

    /// Returns whether the parameter has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keep.is_empty()
    }
}

/// The masks of a model: a [`Mask`] for each parameter path, in the order of the model.
///
/// ```
/// use pruning_core::mask::{Bits, Mask, MaskSet};
/// let mask = Mask::new([2, 3], Bits::from_bools(&[true, false, true, true, false, false]))?;
/// let set = MaskSet::new([("fc1.weight".to_string(), mask)])?;
/// assert_eq!(set.get("fc1.weight").unwrap().kept(), 3);
/// # Ok::<(), pruning_core::mask::MaskError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, Mask)>", into = "Vec<(String, Mask)>")]
pub struct MaskSet {
    masks: Vec<(String, Mask)>,
    /// Place of each path.
    places: HashMap<String, usize>,
}

impl MaskSet {
    /// Creates a set from pairs of path and mask.
    ///
    /// # Errors
    /// A path occurs twice.
    pub fn new(masks: impl IntoIterator<Item = (String, Mask)>) -> Result<Self, MaskError> {
        let mut set = Self::default();
        for (path, mask) in masks {
            if set.places.insert(path.clone(), set.masks.len()).is_some() {
                return Err(MaskError::Duplicate { path });
            }
            set.masks.push((path, mask));
        }
        Ok(set)
    }

    /// Returns the mask of a parameter.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Mask> {
        self.places.get(path).map(|&place| &self.masks[place].1)
    }

    /// Returns paths and masks in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Mask)> {
        self.masks.iter().map(|(path, mask)| (path.as_str(), mask))
    }

    /// Returns masks that keep what both sets keep, for every parameter with a mask in either set.
    ///
    /// # Errors
    /// The two masks of a parameter have different shapes.
    pub fn intersection(&self, other: &Self) -> Result<Self, MaskError> {
        let mut both = self.clone();
        for (path, mask) in &other.masks {
            match self.places.get(path).map(|&place| &mut both.masks[place]) {
                Some((_, ours)) if ours.shape == mask.shape => ours.keep.intersect(&mask.keep),
                Some((_, ours)) => {
                    let (first, second) = (ours.shape.clone(), mask.shape.clone());
                    return Err(MaskError::Shapes { path: path.clone(), first, second });
                }
                None => {
                    both.places.insert(path.clone(), both.masks.len());
                    both.masks.push((path.clone(), mask.clone()));
                }
            }
        }
        Ok(both)
    }

    /// Returns the number of masks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.masks.len()
    }

    /// Returns whether there are no masks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// Returns the fraction of the masked parameters' elements that is removed; 0 without masks.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        let (kept, len) = self.masks.iter().fold((0, 0), |(k, n), (_, m)| (k + m.kept(), n + m.len()));
        if len == 0 { 0.0 } else { 1.0 - kept as f64 / len as f64 }
    }
}

impl TryFrom<Vec<(String, Mask)>> for MaskSet {
    type Error = MaskError;

    fn try_from(masks: Vec<(String, Mask)>) -> Result<Self, MaskError> {
        Self::new(masks)
    }
}

impl From<MaskSet> for Vec<(String, Mask)> {
    fn from(set: MaskSet) -> Self {
        set.masks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_of_the_wrong_length_is_refused() {
        let error = Mask::new([2, 2], Bits::ones(3)).unwrap_err();
        assert_eq!(error.to_string(), "a mask of shape [2, 2] needs 4 bits, not 3");
        let text = r#"{"shape":[2,2],"keep":[3,"07"]}"#;
        assert!(serde_json::from_str::<Mask>(text).is_err());
    }

    #[test]
    fn a_shape_that_no_memory_holds_is_refused() {
        for shape in [vec![usize::MAX], vec![usize::MAX, 2], vec![1 << 32, 1 << 32, 1 << 32], vec![1 << 62, 1]] {
            assert_eq!(Mask::dense(shape.clone()), Err(MaskError::TooLarge { shape }));
        }
        assert_eq!(Mask::dense([2, 3]).unwrap().kept(), 6);
        assert!(Mask::dense([usize::MAX, 0]).unwrap().is_empty());
    }

    #[test]
    fn a_set_round_trips_and_refuses_duplicates() {
        let mask = |bits: &[bool]| Mask::new([bits.len()], Bits::from_bools(bits)).unwrap();
        let set = MaskSet::new([("b".into(), mask(&[true, false])), ("a".into(), mask(&[false]))]).unwrap();
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<MaskSet>(&text).unwrap(), set);
        assert_eq!(set.iter().map(|(p, _)| p).collect::<Vec<_>>(), ["b", "a"]);
        assert!((set.sparsity() - 2.0 / 3.0).abs() < 1e-12);
        assert!(MaskSet::new([("a".into(), mask(&[true])), ("a".into(), mask(&[true]))]).is_err());
    }

    #[test]
    fn an_intersection_keeps_what_both_keep() {
        let set = |masks: &[(&str, &[bool])]| {
            let mask = |bits: &[bool]| Mask::new([bits.len()], Bits::from_bools(bits)).unwrap();
            MaskSet::new(masks.iter().map(|(path, bits)| (path.to_string(), mask(bits)))).unwrap()
        };
        let one = set(&[("a", &[true, true, false]), ("b", &[true])]);
        let two = set(&[("a", &[false, true, true]), ("c", &[false])]);
        let both = set(&[("a", &[false, true, false]), ("b", &[true]), ("c", &[false])]);
        assert_eq!(one.intersection(&two).unwrap(), both);
        let error = one.intersection(&set(&[("b", &[true, true])])).unwrap_err();
        assert_eq!(error.to_string(), "b: masks of shape [1] and [2] have no intersection");
    }
}
