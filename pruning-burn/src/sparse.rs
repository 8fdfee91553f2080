//! Recorded models that run with sparse weights on the CPU, where that is faster.
//!
//! A [`SparseModel`] is compiled from what a [`Trace`](crate::trace::Trace) recorded of any module, without a change to its code. Every
//! product with a weight (linear layers, convolutions, the projections of attention, gates) is timed in place, dense and sparse, and runs
//! whichever is faster; [`SparseModel::report`] tells the result for each. [`Options::dense`] keeps all of them as they are: a program with
//! its weights that needs no module. [`shrink::apply_to_traces`](crate::shrink::apply_to_traces) makes such programs with fewer channels. [`break_even`] measures before pruning from which sparsity on
//! the sparse product of a layer is faster.
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
//! use pruning_burn::Pruner;
//! use pruning_burn::sparse::{Options, SparseModel};
//! use pruning_burn::trace::{Trace, Values};
//!
//! let device = Device::flex();
//! let mut model = LinearConfig::new(256, 128).init(&device);
//! # let mut plugins = pruning_burn::plugin::Plugins::empty();
//! # pruning_magnitude::register(&mut plugins);
//! # pruning_allocation::register(&mut plugins);
//! Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.95", &plugins)?.prune(&mut model, None)?;
//!
//! let x = Tensor::<2>::ones([8, 256], &device);
//! let trace = Trace::record(&model, |model, scope| {
//!     let x = scope.input(&x);
//!     scope.output(model.forward(x));
//! })?;
//! let sparse = SparseModel::compile([&trace], &model, &Options::new())?;
//! println!("{}", sparse.report());
//!
//! let y: Tensor<2> = sparse.run(Values::new().with(x.clone()))?.get(0)?;
//! let difference = (y - model.forward(x)).abs().max().into_scalar::<f32>();
//! assert!(difference < 1e-5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! A program is a trace with its weights. Operations on constants run once (unless the result is larger than its operands), and every use
//! of a tensor says whether it is the last, so an interpreter holds only the constants after a run. A product whose right operand is a
//! constant includes the addition of a constant row and the ReLU that follow it, and becomes one custom operation of Burn's interpreter.
//!
//! Whole runs time those operations, dense and with each candidate in turn, and decide which become sparse; at last the whole pass is
//! timed against the dense one. Each round is a pair of runs. A duel bets on the winner of the next pair. Between equally fast ways such
//! bets gain nothing on average, so noise of any kind is taken for a difference at most once in a hundred duels. If the budget ends first,
//! the median of the pairs decides for each product, and the report says [`Verdict::Uncertain`]. The race gets its times from a closure,
//! so tests run it with known noise. Interpreters with registered constants wait in a pool, and each run takes one, so threads can share
//! a model. Weights are prepared once for all passes that use them in the same way.

mod autotune;
mod break_even;
mod decide;
mod dense;
mod file;
mod layer;
mod model;
mod options;
mod pass;
mod product;
mod program;
mod race;
mod report;
mod weight_cache;

pub(crate) use autotune::example;
pub use break_even::{BreakEven, BreakEvenRow, break_even};
pub use model::SparseModel;
pub use options::Options;
pub use report::{LayerRow, PassReport, SparseReport, Verdict, Why};

use crate::trace::ReplayError;
use pruning_sparse::SparseError;

/// An error that keeps a sparse model from being compiled or run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseModelError {
    /// No trace was given.
    #[error("no recorded pass to compile; give the trace of at least one input shape")]
    NoPass,
    /// The model is not the recorded one, or is not on Flex.
    #[error(transparent)]
    Model(#[from] ReplayError),
    /// A weight cannot be sparse.
    #[error("{path}: {source}")]
    Weight {
        /// The path of the parameter.
        path: String,
        /// The reason.
        source: SparseError,
    },
    /// No pass was recorded for inputs of these shapes and types.
    #[error("no pass was recorded for inputs {found}, only for: {}; compile with a trace for these shapes as well", .known.join(" | "))]
    Inputs {
        /// The shapes and types given.
        found: String,
        /// The shapes and types of each recorded pass.
        known: Vec<String>,
    },
    /// An input is on another backend.
    #[error("input {index}: {reason}; sparse models run on the CPU, `Device::flex()`")]
    Backend {
        /// The index of the input.
        index: usize,
        /// The reason that Burn gives.
        reason: String,
    },
}

/// Returns the median of at least one number.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
