//! The options for compiling a sparse model: [`Options`].

#[cfg(doc)]
use pruning_sparse::fastest;
use std::time::Duration;

/// The way to decide which products become sparse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Measured,
    Rule,
    All,
    Dense,
}

/// The options of [`SparseModel::compile`]: how it chooses the products that become sparse, and how long it measures.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// use pruning_burn::sparse::{Options, SparseModel};
/// use pruning_burn::trace::Trace;
///
/// let device = Device::flex();
/// let model = LinearConfig::new(8, 4).init(&device);
/// let x = Tensor::<2>::ones([1, 8], &device);
/// let trace = Trace::record(&model, |model, scope| {
///     let x = scope.input(&x);
///     scope.output(model.forward(x));
/// })?;
/// let sparse = |options| SparseModel::compile([&trace], &model, &options).map(|m| m.report().passes[0].layers[0].sparse);
/// assert!(!sparse(Options::by_rule())?);                   // there are no zeros
/// assert!(sparse(Options::every_product())?);
/// assert!(!sparse(Options::dense())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`SparseModel::compile`]: crate::sparse::SparseModel::compile
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
    /// Creates options that measure each recorded pass for at most two seconds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates options that choose by the rule of [`fastest`] without measuring.
    ///
    /// The choice is the same in every run on this kind of processor.
    #[must_use]
    pub fn by_rule() -> Self {
        Self { choice: Choice::Rule, ..Self::default() }
    }

    /// Creates options that make every product with a weight sparse, even if that is slower.
    #[must_use]
    pub fn every_product() -> Self {
        Self { choice: Choice::All, ..Self::default() }
    }

    /// Creates options that keep every product dense, and measure nothing.
    ///
    /// The result is the program as recorded, with its weights: it runs, and can be saved and loaded, without the module.
    #[must_use]
    pub fn dense() -> Self {
        Self { choice: Choice::Dense, ..Self::default() }
    }

    /// Sets the longest time to measure each recorded pass.
    ///
    /// Measuring ends earlier once it is certain which way is faster. Whatever the budget is, the pass runs once dense, once sparse and
    /// once as chosen.
    #[must_use]
    pub fn with_budget(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }
}
