//! How scores rank: [`Order`].

use pulp::Arch;

/// The number by which scores are ranked: their value or their absolute value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Ranks by value.
    #[default]
    Value,
    /// Ranks by absolute value: weights are ranked by magnitude without a tensor of magnitudes.
    Absolute,
}

impl Order {
    /// Returns the number by which a score ranks.
    #[must_use]
    pub fn of(self, score: f32) -> f32 {
        if self == Self::Absolute { score.abs() } else { score }
    }
}

/// An error for a score that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("score {value} at index {index} is not finite")]
pub struct NonFinite {
    /// The index of the score in the slice.
    pub index: usize,
    /// The score that is not finite.
    pub value: f32,
}

impl NonFinite {
    /// Returns the same error for a slice that starts at index `start` of a longer one.
    pub(crate) fn after(self, start: usize) -> Self {
        Self { index: start + self.index, ..self }
    }
}

/// Maps a score to a key that orders as what ranks does, whatever the order of other scores; -0 and 0 are equal.
#[inline(always)]
pub(crate) fn rank_key(value: f32, order: Order) -> u32 {
    match order {
        Order::Absolute => value.to_bits() | 1 << 31,
        Order::Value => {
            let bits = (value + 0.0).to_bits();
            // Negative numbers order backwards by their bits, and come before the positive ones.
            bits ^ ((bits as i32 >> 31) as u32 | 0x8000_0000)
        }
    }
}

/// Maps a double to a key that orders as the number does; -0 and 0 are equal.
#[inline(always)]
pub(crate) fn rank_key_of_double(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    bits ^ ((bits as i64 >> 63) as u64 | 1 << 63)
}

/// Checks that no score is NaN or infinite.
pub(crate) fn check_finite(scores: &[f32]) -> Result<(), NonFinite> {
    // The largest exponent of a block tells, with no branch for each score; the search happens only on failure.
    let finite = Arch::new().dispatch(|| {
        scores.chunks(1024).all(|chunk| chunk.iter().fold(0, |max, v| max.max(v.to_bits() & 0x7fff_ffff)) < 0x7f80_0000)
    });
    if finite {
        return Ok(());
    }
    match scores.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(NonFinite { index, value: scores[index] }),
        None => Ok(()),
    }
}
