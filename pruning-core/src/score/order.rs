//! How scores rank: [`Order`].

use pulp::Arch;

/// How the numbers of a score slice rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By value.
    #[default]
    Value,
    /// By absolute value: ranks weights by magnitude with no tensor of magnitudes in between.
    Absolute,
}

impl Order {
    /// A score as the number that it ranks by.
    #[must_use]
    pub fn of(self, score: f32) -> f32 {
        if self == Self::Absolute { score.abs() } else { score }
    }
}

/// A score that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("score {value} at index {index} is not finite")]
pub struct NonFinite {
    /// Index into the slice.
    pub index: usize,
    /// The score.
    pub value: f32,
}

impl NonFinite {
    /// The same, found in a slice that starts with index `start` of another one.
    pub(crate) fn after(self, start: usize) -> Self {
        Self { index: start + self.index, ..self }
    }
}

/// Orders as the score does; -0 and 0 are equal.
#[inline(always)]
pub(crate) fn rank_key(value: f32, order: Order) -> u32 {
    match order {
        Order::Absolute => value.to_bits() << 1,
        Order::Value => {
            let bits = (value + 0.0).to_bits();
            // Negative numbers order backwards by their bits, and come before the positive ones.
            bits ^ ((bits as i32 >> 31) as u32 | 0x8000_0000)
        }
    }
}

/// That no score is NaN or infinite.
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
