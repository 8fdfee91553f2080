//! A product with one matrix, and its plans on the host: for batches of several sizes, made when they are first needed, for any number of
//! threads.

use crate::nn::sparse::SparseLayerError;
use crate::nn::sparse::weights::Weights;
use pruning_sparse::{Format, Plan, Sparse, SparseError, WorkspacePool, fastest};
use std::sync::OnceLock;

/// The most samples of each plan. Single samples have a form of their own; the others differ in how many samples they take at
/// once. Larger batches go in pieces.
const BATCHES: [usize; 4] = [Plan::TILED - 1, 8, 16, 256];

/// What clones of a [`SparseLinear`](crate::nn::SparseLinear) share.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) weights: Weights,
    pub(super) plans: Plans,
}

/// Plans of a linear layer.
#[derive(Debug, Default)]
pub(super) struct Plans([OnceLock<Shared>; BATCHES.len()]);

/// A plan, and the memory of calls that are over.
#[derive(Debug)]
struct Shared {
    plan: Plan,
    spare: WorkspacePool,
}

impl Plans {
    /// Makes the plan for a batch, unless it is there.
    pub(super) fn prepare(&self, weights: &Weights, batch: usize) -> Result<(), SparseLayerError> {
        self.shared(weights, class(batch))?;
        Ok(())
    }

    fn shared(&self, weights: &Weights, class: usize) -> Result<&Shared, SparseLayerError> {
        if let Some(shared) = self.0[class].get() {
            return Ok(shared);
        }
        let made = Shared { plan: plan(weights, BATCHES[class])?, spare: WorkspacePool::default() };
        // Where another thread was faster, its plan, which is the same.
        Ok(self.0[class].get_or_init(|| made))
    }

    /// `y = activation(x W^T + bias)` for `x` `[batch, cols]` and `y` `[batch, rows]`.
    pub(super) fn run(
        &self,
        weights: &Weights,
        x: &[f32],
        batch: usize,
        y: &mut [f32],
    ) -> Result<(), SparseLayerError> {
        let (rows, cols) = (weights.matrix.rows(), weights.matrix.cols());
        let shared = self.shared(weights, class(batch))?;
        // Pieces of about the same size, in whole tiles.
        let most = shared.plan.batch();
        let piece = batch.div_ceil(batch.div_ceil(most)).next_multiple_of(32).min(most);
        let pieces = x.chunks(piece * cols).zip(y.chunks_mut(piece * rows));
        let (bias, activation) = (weights.bias.as_deref(), weights.options.activation);
        shared.spare.with(|workspace| {
            let mut done = pieces.map(|(x, y)| shared.plan.run_in(workspace, x, x.len() / cols, bias, activation, y));
            Ok(done.try_for_each(|done| done)?)
        })
    }

    /// Bytes of what is prepared so far, without memory of calls.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().filter_map(OnceLock::get).map(|shared| shared.plan.bytes()).sum()
    }
}

/// Which plan a batch takes.
fn class(batch: usize) -> usize {
    BATCHES.iter().position(|&most| batch <= most).unwrap_or(BATCHES.len() - 1)
}

/// A plan for a batch, in the form that suits it.
fn plan(weights: &Weights, batch: usize) -> Result<Plan, SparseError> {
    if weights.options.format.is_none() && batch == BATCHES[0] {
        let dense = weights.matrix.to_dense();
        // What is faster dense is asked for sparse nevertheless.
        if fastest(&dense, batch) == Format::Bitmap {
            return Plan::new(&Sparse::from_dense(&dense, Format::Bitmap)?, batch);
        }
    }
    Plan::new(&weights.matrix, batch)
}
