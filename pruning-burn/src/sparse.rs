//! Zeros that pay: recorded models that run with sparse weights on the CPU.
//!
//! A [`SparseModel`] is compiled from what a [`Trace`](crate::trace::Trace) recorded of any module, without a change to its code. Every
//! product with a weight (linear layers, convolutions, the projections of attention, gates) is timed in place, dense and sparse, and runs
//! as is faster; [`SparseModel::report`] says what became of each. [`break_even`] says beforehand from which sparsity on a layer will be.
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
//! A program is a trace with its weights: operations on constants alone are run once (unless their result is larger than what it comes
//! from), and every use says whether it is the last, so that an interpreter holds nothing but the constants after a run. A product whose
//! right operand is a constant takes the addition of a constant row and the ReLU that follow with it, and becomes one custom operation of
//! Burn's interpreter.
//!
//! What becomes sparse is decided by timing those operations inside whole runs, dense and with each candidate in turn, and at last the
//! whole pass against the dense one. Each round is a pair; a race bets on the winner of the next pair, which makes no one rich between
//! equal ways, so that noise of any kind is called a difference once in a hundred. What the budget leaves open goes by the middle of the
//! pairs, product by product, and the report says [`Verdict::Uncertain`]. The race knows no clock, so its tests have machines with known
//! noise. Interpreters wait in a pool with the constants registered; a run takes one, so threads share a model. Weights are prepared once
//! for all passes in which they are used alike.

mod autotune;
mod break_even;
mod decide;
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

pub use break_even::{BreakEven, BreakEvenRow, break_even};
pub use model::SparseModel;
pub use options::Options;
pub use report::{LayerRow, PassReport, SparseReport, Verdict, Why};

use crate::trace::ReplayError;
use pruning_sparse::SparseError;

/// Why a model is not compiled, or does not run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseModelError {
    /// No trace was given.
    #[error("no recorded pass to compile; give the trace of at least one input shape")]
    NoPass,
    /// The model is not the one that was recorded, or not on Flex.
    #[error(transparent)]
    Model(#[from] ReplayError),
    /// A weight cannot be sparse.
    #[error("{path}: {source}")]
    Weight {
        /// The parameter.
        path: String,
        /// Why.
        source: SparseError,
    },
    /// No pass was recorded for such inputs.
    #[error("no pass was recorded for inputs {found}; there are: {}; compile with a trace for these shapes as well", .known.join(" | "))]
    Inputs {
        /// Shapes and types that were given.
        found: String,
        /// Those of each pass.
        known: Vec<String>,
    },
    /// An input is on another backend.
    #[error("input {index}: {reason}; sparse models run on the CPU, `Device::flex()`")]
    Backend {
        /// Its place.
        index: usize,
        /// What Burn says.
        reason: String,
    },
}

/// The middle of some numbers, of which there is at least one.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
