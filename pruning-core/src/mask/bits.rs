//! A set of booleans in packed form, one bit each: [`Bits`].

use pulp::Arch;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::ops::Range;

/// A fixed number of bits, packed in 64-bit words, lowest index in the lowest bit. Bits past the end are zero.
///
/// ```
/// use pruning_core::mask::Bits;
/// let mut bits = Bits::from_bools(&[true, false, true]);
/// bits.set(1, true);
/// bits.intersect(&Bits::from_bools(&[false, true, true]));
/// assert_eq!(bits.iter_ones().collect::<Vec<_>>(), [1, 2]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// Creates bits that are all set.
    #[must_use]
    pub fn ones(len: usize) -> Self {
        let mut bits = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        bits.clear_tail();
        bits
    }

    /// Creates bits that are all set, unless memory does not hold them.
    pub(crate) fn try_ones(len: usize) -> Option<Self> {
        let mut words = Vec::new();
        words.try_reserve_exact(len.div_ceil(64)).ok()?;
        words.resize(len.div_ceil(64), u64::MAX);
        let mut bits = Self { words, len };
        bits.clear_tail();
        Some(bits)
    }

    /// Creates bits of which none is set.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// Creates bits from booleans.
    #[must_use]
    pub fn from_bools(values: &[bool]) -> Self {
        let words = values
            .chunks(64)
            .map(|chunk| chunk.iter().enumerate().fold(0, |word, (i, &v)| word | u64::from(v) << i))
            .collect();
        Self { words, len: values.len() }
    }

    /// Creates bits from words as [`words`](Self::words) returns them; bits past `len` are dropped.
    pub(crate) fn from_words(words: Vec<u64>, len: usize) -> Self {
        debug_assert_eq!(words.len(), len.div_ceil(64));
        let mut bits = Self { words, len };
        bits.clear_tail();
        bits
    }

    /// Returns one boolean for each bit.
    #[must_use]
    pub fn to_bools(&self) -> Vec<bool> {
        self.to_bytes().into_iter().map(|byte| byte != 0).collect()
    }

    /// Returns one byte, 0 or 1, for each bit: the form that devices take.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Eight bits are spread over the eight bytes of a word at once: copy them to each byte, keep one bit in each,
        // and turn "not zero" into 1.
        let mut bytes = vec![0u8; self.words.len() * 64];
        for (word, out) in self.words.iter().zip(bytes.chunks_exact_mut(64)) {
            for (i, eight) in out.chunks_exact_mut(8).enumerate() {
                let byte = (word >> (8 * i)) & 0xff;
                let spread = byte.wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
                let ones = (spread.wrapping_add(0x00406070787c7e7f) >> 7) & 0x0101_0101_0101_0101;
                eight.copy_from_slice(&ones.to_le_bytes());
            }
        }
        bytes.truncate(self.len);
        bytes
    }

    /// Returns the number of bits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no bits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the packed words.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns the number of set bits.
    #[must_use]
    pub fn count_ones(&self) -> usize {
        // An x86 that is not asked has no instruction for it.
        Arch::new().dispatch(|| self.words.iter().map(|word| word.count_ones() as usize).sum())
    }

    /// Returns whether bit `index` is set.
    ///
    /// # Panics
    /// `index` is not below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, index: usize) -> bool {
        assert!(index < self.len, "bit {index} of {}", self.len);
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Sets or clears bit `index`.
    ///
    /// # Panics
    /// `index` is not below [`len`](Self::len).
    pub fn set(&mut self, index: usize, value: bool) {
        assert!(index < self.len, "bit {index} of {}", self.len);
        let (word, bit) = (&mut self.words[index / 64], 1 << (index % 64));
        if value {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    /// Returns the 64 bits from `start` on; those past the end are zero.
    #[inline(always)]
    pub(crate) fn word_at(&self, start: usize) -> u64 {
        let (index, shift) = (start / 64, start % 64);
        let next = self.words.get(index + 1).map_or(0, |next| next << 1 << (63 - shift));
        self.words[index] >> shift | next
    }

    /// Sets the bits of `word`, whose lowest bit is bit `start`; none may lie past the end.
    #[inline(always)]
    pub(crate) fn insert(&mut self, start: usize, word: u64) {
        let (index, shift) = (start / 64, start % 64);
        self.words[index] |= word << shift;
        if shift > 0 && word >> (64 - shift) != 0 {
            self.words[index + 1] |= word >> (64 - shift);
        }
    }

    /// Sets the `len` bits from `start` on.
    pub(crate) fn fill(&mut self, start: usize, len: usize) {
        let end = start + len;
        let mut at = start;
        while at < end {
            let next = (at / 64 * 64 + 64).min(end);
            self.words[at / 64] |= (u64::MAX >> (64 - (next - at))) << (at % 64);
            at = next;
        }
    }

    /// Sets the bits from `start` on that are set in `other`.
    pub(crate) fn unite(&mut self, other: &Self, start: usize) {
        for (w, word) in self.words.iter_mut().enumerate() {
            *word |= other.word_at(start + 64 * w);
        }
        self.clear_tail();
    }

    /// Returns whether a bit of a range is set.
    pub(crate) fn any(&self, range: Range<usize>) -> bool {
        let masked = |at: usize| self.word_at(at) & (u64::MAX >> (64 - (range.end - at).min(64)));
        range.clone().step_by(64).any(|at| masked(at) != 0)
    }

    /// Clears the bits that are not set in `other`.
    ///
    /// # Panics
    /// The lengths differ.
    pub fn intersect(&mut self, other: &Self) {
        assert_eq!(self.len, other.len, "both sets have one bit for each element");
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Returns the inverse: the bits that are not set here.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self::from_words(self.words.iter().map(|word| !word).collect(), self.len)
    }

    /// Returns the indices of the set bits in ascending order.
    pub fn iter_ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(w, &word)| ones(word).map(move |bit| w * 64 + bit))
    }

    fn clear_tail(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.len.is_multiple_of(64)
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }
}

/// Returns the positions of the set bits of one word in ascending order.
pub(crate) fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bits({} of {})", self.count_ones(), self.len)
    }
}

// Text formats get hexadecimal bytes, binary ones the bytes: both little-endian, as many as the length needs.
impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8));
        if serializer.is_human_readable() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (self.len, hex).serialize(serializer)
        } else {
            (self.len, bytes).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (len, bytes) = if deserializer.is_human_readable() {
            let (len, hex) = <(usize, String)>::deserialize(deserializer)?;
            let bytes = hex.as_bytes().chunks(2).map(|pair| {
                std::str::from_utf8(pair).ok().filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok())
            });
            (len, bytes.collect::<Option<Vec<u8>>>().ok_or_else(|| de::Error::custom("mask bits are not hexadecimal"))?)
        } else {
            <(usize, Vec<u8>)>::deserialize(deserializer)?
        };
        if bytes.len() != len.div_ceil(8) {
            return Err(de::Error::custom(format!("{} bytes of mask for {len} bits", bytes.len())));
        }
        let words = bytes
            .chunks(8)
            .map(|chunk| chunk.iter().enumerate().fold(0, |word, (i, &byte)| word | u64::from(byte) << (8 * i)))
            .collect::<Vec<u64>>();
        let bits = Self { words, len };
        if len % 64 != 0 && bits.words.last().is_some_and(|&last| last >> (len % 64) != 0) {
            return Err(de::Error::custom("mask bits are set past the end"));
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_holds_the_same_bits(values in proptest::collection::vec(any::<bool>(), 0..300)) {
            let bits = Bits::from_bools(&values);
            prop_assert_eq!(bits.to_bools(), values.clone());
            prop_assert_eq!(bits.count_ones(), values.iter().filter(|v| **v).count());
            let indices: Vec<_> = values.iter().enumerate().filter(|(_, v)| **v).map(|(i, _)| i).collect();
            prop_assert_eq!(bits.iter_ones().collect::<Vec<_>>(), indices);
            let text = serde_json::to_string(&bits).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bits>(&text).unwrap(), bits);
        }
    }

    #[test]
    fn all_ones_stops_at_the_end() {
        assert_eq!(Bits::ones(70).count_ones(), 70);
        assert_eq!(Bits::ones(70), Bits::from_bools(&[true; 70]));
        assert_eq!(Bits::ones(128).count_ones(), 128);
    }

    #[test]
    fn words_and_ranges_go_anywhere() {
        for (start, len) in [(0, 0), (0, 64), (3, 61), (3, 62), (63, 2), (64, 64), (70, 130), (199, 1)] {
            let mut filled = Bits::zeros(200);
            filled.fill(start, len);
            assert_eq!(filled.iter_ones().collect::<Vec<_>>(), (start..start + len).collect::<Vec<_>>());
            if len > 0 {
                let low = len.min(64);
                let word = u64::MAX >> (64 - low);
                assert_eq!(filled.word_at(start), word, "{start} {len}");
                assert!(filled.any(start..200) && filled.any(0..start + 1) && !filled.any(0..start), "{start} {len}");
                let mut inserted = Bits::zeros(200);
                inserted.insert(start, word);
                assert_eq!(inserted.iter_ones().collect::<Vec<_>>(), (start..start + low).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn altered_text_is_refused() {
        for text in [r#"[9,"ff"]"#, r#"[8,"fg"]"#, r#"[8,"f"]"#, r#"[4,"ff"]"#, r#"[8,"é"]"#] {
            assert!(serde_json::from_str::<Bits>(text).is_err(), "{text}");
        }
    }
}
