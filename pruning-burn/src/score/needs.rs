//! What a criterion looks at besides the weights: [`Needs`].

use std::fmt;
use std::ops::BitOr;

/// Inputs of a criterion. The weights are there in any case; the rest is collected into [`CriterionInputs`](crate::score::CriterionInputs) beforehand.
///
/// ```
/// use pruning_burn::score::Needs;
/// let needs = Needs::GRADIENT | Needs::INITIAL_WEIGHT;
/// assert!(needs.contains(Needs::GRADIENT) && !needs.contains(Needs::FLOW));
/// assert_eq!(needs.to_string(), "gradient, initial weight");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// The weights alone.
    pub const WEIGHT: Self = Self(0);
    /// The gradient of the loss, averaged over batches.
    pub const GRADIENT: Self = Self(1);
    /// The squared gradient of the loss of a batch, averaged over batches.
    pub const SQUARED_GRADIENT: Self = Self(1 << 1);
    /// The product of the Hessian of the loss with its gradient, collected in double precision: see
    /// [`CriterionInputs::with_gradients`](crate::score::CriterionInputs::with_gradients).
    pub const HESSIAN_GRADIENT: Self = Self(1 << 2);
    /// The weights at an earlier time.
    pub const INITIAL_WEIGHT: Self = Self(1 << 3);
    /// `-w g`, summed over steps of training.
    pub const MOVEMENT: Self = Self(1 << 4);
    /// The gradient of the summed outputs of the network of absolute weights.
    pub const FLOW: Self = Self(1 << 5);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::GRADIENT, "gradient"),
        (Self::SQUARED_GRADIENT, "squared gradient"),
        (Self::HESSIAN_GRADIENT, "Hessian-gradient product"),
        (Self::INITIAL_WEIGHT, "initial weight"),
        (Self::MOVEMENT, "movement"),
        (Self::FLOW, "flow"),
    ];

    /// Every input there is, one at a time.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(need, _)| need)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These, but for those of `other`.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is among these.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Self::NAMES.iter().filter(|(n, _)| self.contains(*n)).map(|(_, name)| *name).collect();
        f.write_str(if names.is_empty() { "weight".to_string() } else { names.join(", ") }.as_str())
    }
}
