//! A product with one matrix, and its plans on the host for batches of several sizes and any number of threads.

use crate::nn::sparse::SparseLayerError;
use crate::nn::sparse::weights::Weights;
use pruning_sparse::{Format, Plan, Sparse, SparseError, WorkspacePool, fastest};
use std::sync::OnceLock;

/// The largest number of samples of each plan. Single samples have a form of their own; the others differ in the number of samples that
/// they take at once. Larger batches run in pieces.
const BATCHES: [usize; 4] = [Plan::TILED - 1, 8, 16, 256];

/// The state that clones of a [`SparseLinear`](crate::nn::SparseLinear) share.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) weights: Weights,
    pub(super) plans: Plans,
}

/// The plans of a linear layer.
#[derive(Debug, Default)]
pub(super) struct Plans([OnceLock<Shared>; BATCHES.len()]);

/// A plan, and the memory of finished calls.
#[derive(Debug)]
struct Shared {
    plan: Plan,
    spare: WorkspacePool,
}

impl Plans {
    /// Makes the plan for a batch, unless it exists.
    pub(super) fn prepare(&self, weights: &Weights, batch: usize) -> Result<(), SparseLayerError> {
        self.shared(weights, class(batch))?;
        Ok(())
    }

    fn shared(&self, weights: &Weights, class: usize) -> Result<&Shared, SparseLayerError> {
        if let Some(shared) = self.0[class].get() {
            return Ok(shared);
        }
        let made = Shared { plan: plan(weights, BATCHES[class])?, spare: WorkspacePool::default() };
        // If another thread was faster, its plan is used, which is the same.
        Ok(self.0[class].get_or_init(|| made))
    }

    /// Computes `y = activation(x W^T + bias)` for `x` `[batch, cols]` and `y` `[batch, rows]`.
    pub(super) fn run(
        &self,
        weights: &Weights,
        x: &[f32],
        batch: usize,
        y: &mut [f32],
    ) -> Result<(), SparseLayerError> {
        let (rows, cols) = (weights.matrix.rows(), weights.matrix.cols());
        let shared = self.shared(weights, class(batch))?;
        // The pieces have about the same size, in whole tiles.
        let most = shared.plan.batch();
        let piece = batch.div_ceil(batch.div_ceil(most)).next_multiple_of(32).min(most);
        let pieces = x.chunks(piece * cols).zip(y.chunks_mut(piece * rows));
        let (bias, activation) = (weights.bias.as_deref(), weights.options.activation);
        shared.spare.with(|workspace| {
            let mut done = pieces.map(|(x, y)| shared.plan.run_in(workspace, x, x.len() / cols, bias, activation, y));
            Ok(done.try_for_each(|done| done)?)
        })
    }

    /// Returns the bytes of the plans made so far, without the memory of calls.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().filter_map(OnceLock::get).map(|shared| shared.plan.bytes()).sum()
    }
}

/// Returns the index of the plan for a batch.
fn class(batch: usize) -> usize {
    BATCHES.iter().position(|&most| batch <= most).unwrap_or(BATCHES.len() - 1)
}

/// Makes a plan for a batch, in the form that suits it.
fn plan(weights: &Weights, batch: usize) -> Result<Plan, SparseError> {
    if weights.options.format.is_none() && batch == BATCHES[0] {
        let dense = weights.matrix.to_dense();
        // The user asked for a sparse layer, even if the dense one is faster.
        if fastest(&dense, batch) == Format::Bitmap {
            return Plan::new(&Sparse::from_dense(&dense, Format::Bitmap)?, batch);
        }
    }
    Plan::new(&weights.matrix, batch)
}
