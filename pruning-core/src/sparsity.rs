//! How much is removed: [`Sparsity`], [`Amount`] and the [`Rounding`] that turns them into a count.

use serde::{Deserialize, Serialize};

/// A fraction of units or weights that is removed, in `[0, 1)`.
///
/// ```
/// use pruning_core::budget::Sparsity;
/// assert_eq!(Sparsity::new(0.9)?.density(), 1.0 - 0.9);
/// assert!(Sparsity::new(1.0).is_err() && Sparsity::new(f64::NAN).is_err());
/// # Ok::<(), pruning_core::budget::SparsityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "SparsityForm", into = "f64")]
pub struct Sparsity(f64);

/// An error for a number that is not a sparsity.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("sparsity {value} is outside [0, 1): it is the fraction removed, so 0.9 keeps one weight in ten")]
pub struct SparsityError {
    /// The number that was given.
    pub value: f64,
}

impl Sparsity {
    /// The sparsity at which nothing is removed.
    pub const ZERO: Self = Self(0.0);

    /// Creates a sparsity from a number in `[0, 1)`.
    ///
    /// # Errors
    /// The value is NaN or outside `[0, 1)`.
    pub fn new(value: f64) -> Result<Self, SparsityError> {
        if (0.0..1.0).contains(&value) { Ok(Self(value)) } else { Err(SparsityError { value }) }
    }

    /// Returns the fraction removed.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }

    /// Returns the fraction kept.
    #[must_use]
    pub fn density(self) -> f64 {
        1.0 - self.0
    }
}

/// The number of a sparsity as a recipe writes it, whatever its range. TOML has NaN and infinities; JSON has neither, so they reach us as
/// text and get the same error as other numbers.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a sparsity: a number in [0, 1)")]
pub(crate) enum SparsityForm {
    Number(f64),
    Text(NotFinite),
}

#[derive(Deserialize)]
pub(crate) enum NotFinite {
    #[serde(rename = "nan")]
    Nan,
    #[serde(rename = "inf")]
    Infinite,
    #[serde(rename = "-inf")]
    NegativeInfinite,
}

impl SparsityForm {
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Number(value) => value,
            Self::Text(NotFinite::Nan) => f64::NAN,
            Self::Text(NotFinite::Infinite) => f64::INFINITY,
            Self::Text(NotFinite::NegativeInfinite) => f64::NEG_INFINITY,
        }
    }
}

impl TryFrom<SparsityForm> for Sparsity {
    type Error = SparsityError;

    fn try_from(form: SparsityForm) -> Result<Self, SparsityError> {
        Self::new(form.value())
    }
}

impl From<Sparsity> for f64 {
    fn from(sparsity: Sparsity) -> f64 {
        sparsity.0
    }
}

impl std::fmt::Display for Sparsity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a fraction of units becomes a count of units to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Rounds to the nearest count, and halves to the even count: the rule of Python's `round`, hence of `torch.nn.utils.prune`.
    #[default]
    HalfEven,
    /// Rounds down: never removes more than asked.
    Floor,
    /// Rounds up: never removes less than asked.
    Ceil,
}

impl Rounding {
    /// Returns how many of `units` the `fraction` stands for; at most `units`.
    ///
    /// ```
    /// use pruning_core::budget::Rounding;
    /// assert_eq!(Rounding::HalfEven.count(0.5, 5), 2);
    /// assert_eq!(Rounding::Ceil.count(0.5, 5), 3);
    /// ```
    #[must_use]
    pub fn count(self, fraction: f64, units: usize) -> usize {
        // The product is rounded to f64 first, as Python does: 0.35 * 10 is 3.5, and rounds to 4.
        let exact = fraction * units as f64;
        let rounded = match self {
            Self::HalfEven => exact.round_ties_even(),
            Self::Floor => exact.floor(),
            Self::Ceil => exact.ceil(),
        };
        (rounded as usize).min(units)
    }
}

/// How much one pruning removes, counted in units of the granularity.
///
/// ```
/// use pruning_core::budget::{Amount, Rounding, Sparsity};
/// // 10 units, 6 of which are not pruned yet: half of all units, and half of those that remain.
/// let half = Sparsity::new(0.5)?;
/// assert_eq!(Amount::OfTotal(half).keep(10, 6, Rounding::HalfEven), Some(5));
/// assert_eq!(Amount::OfRemaining(half).keep(10, 6, Rounding::HalfEven), Some(3));
/// assert_eq!(Amount::Count(7).keep(10, 6, Rounding::HalfEven), None);
/// # Ok::<(), pruning_core::budget::SparsityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// A fraction of all units of the target layers; units that are already pruned count towards it.
    OfTotal(Sparsity),
    /// A fraction of the units that remain, as repeated pruning in `torch.nn.utils.prune` and "20 % per round" mean it.
    OfRemaining(Sparsity),
    /// A number of the units that remain.
    Count(usize),
}

impl Amount {
    /// Returns how many of `units` stay if `alive` of them are not pruned yet. `None` if a count exceeds what remains.
    #[must_use]
    pub fn keep(self, units: usize, alive: usize, rounding: Rounding) -> Option<usize> {
        match self {
            Self::OfTotal(s) => Some((units - rounding.count(s.value(), units)).min(alive)),
            Self::OfRemaining(s) => Some(alive - rounding.count(s.value(), alive)),
            Self::Count(count) => alive.checked_sub(count),
        }
    }

    /// Returns the fraction of `units` that should be gone afterwards, if `alive` of them are not pruned yet.
    #[must_use]
    pub fn asked(self, units: usize, alive: usize) -> f64 {
        let of = |kept: f64| 1.0 - kept / units.max(1) as f64;
        match self {
            Self::OfTotal(s) => s.value(),
            Self::OfRemaining(s) => of(s.density() * alive as f64),
            Self::Count(count) => of(alive.saturating_sub(count) as f64),
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfTotal(s) => write!(f, "{:.2} %", 100.0 * s.value()),
            Self::OfRemaining(s) => write!(f, "{:.2} % of what remains", 100.0 * s.value()),
            Self::Count(count) => write!(f, "{count} units"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_the_even_count() {
        for (units, count) in [(1, 0), (3, 2), (5, 2), (7, 4), (9, 4)] {
            assert_eq!(Rounding::HalfEven.count(0.5, units), count, "0.5 of {units}");
        }
        assert_eq!(Rounding::Floor.count(0.5, 3), 1);
        assert_eq!(Rounding::Ceil.count(0.5, 3), 2);
    }

    #[test]
    fn amounts_of_what_remains_follow_torch() {
        let half = Amount::OfRemaining(Sparsity::new(0.5).unwrap());
        assert_eq!(half.keep(10, 10, Rounding::HalfEven), Some(5));
        assert_eq!(half.keep(10, 5, Rounding::HalfEven), Some(3));
        assert_eq!(Amount::Count(3).keep(10, 3, Rounding::HalfEven), Some(0));
        assert_eq!(Amount::Count(4).keep(10, 3, Rounding::HalfEven), None);
        assert_eq!(Amount::OfTotal(Sparsity::new(0.5).unwrap()).keep(10, 3, Rounding::HalfEven), Some(3));
    }

    #[test]
    fn numbers_outside_the_range_are_refused() {
        for value in [-0.1, 1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert!(Sparsity::new(value).is_err(), "{value}");
        }
        assert!(serde_json::from_str::<Sparsity>("1.5").is_err());
    }
}
