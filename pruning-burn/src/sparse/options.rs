//! How a model is compiled: [`Options`].

#[cfg(doc)]
use pruning_sparse::fastest;
use std::time::Duration;

/// How it is decided which products become sparse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Measured,
    Rule,
    All,
}

/// How a model is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) choice: Choice,
    pub(super) budget: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { choice: Choice::Measured, budget: Duration::from_secs(2) }
    }
}

impl Options {
    /// Measured, for at most two seconds a recorded pass.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By the rule of [`fastest`], without measuring: the same choice in every run on this kind of processor.
    #[must_use]
    pub fn by_rule() -> Self {
        Self { choice: Choice::Rule, ..Self::default() }
    }

    /// Every product with a weight, even if that is slower.
    #[must_use]
    pub fn every_product() -> Self {
        Self { choice: Choice::All, ..Self::default() }
    }

    /// How long to measure for each recorded pass, at most; less where it is soon certain what is faster. Whatever the budget is, the pass
    /// runs once dense, once sparse and once as was chosen.
    #[must_use]
    pub fn with_budget(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }
}
