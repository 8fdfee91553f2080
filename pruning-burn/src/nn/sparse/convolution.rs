//! The convolution of an input on the host, with plans for the sizes that occur.

use crate::nn::sparse::weights::Weights;
use crate::nn::sparse::{SparseLayerError, lock};
use burn::nn::PaddingConfig2d;
use burn::tensor::Shape;
use pruning_sparse::{ConvPlan, ConvShape, WorkspacePool};
use std::sync::{Arc, Mutex};

/// The state that clones of a [`SparseConv2d`](crate::nn::SparseConv2d) share.
#[derive(Debug)]
pub(super) struct Convolution {
    pub(super) weights: Weights,
    /// The convolution without a size of input.
    pub(super) frame: ConvShape,
    pub(super) padding: PaddingConfig2d,
    /// The plans, with the last used one at the end.
    plans: Mutex<Vec<(Key, Arc<Shared>)>>,
}

/// A plan, and the memory of finished calls.
#[derive(Debug)]
struct Shared {
    plan: ConvPlan,
    spare: WorkspacePool,
}

/// The inputs that a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    input: [usize; 2],
    batch: usize,
}

/// The largest number of samples of a plan. Larger batches run in pieces, without more memory once every thread has some.
const BATCH: usize = 32;
/// The number of plans that a layer keeps: single samples and batches of two sizes of input, or four sizes of one of them.
const KEPT: usize = 4;

impl Key {
    fn of(input: &Shape) -> Self {
        Self { input: [input[2], input[3]], batch: if input[0] == 1 { 1 } else { BATCH } }
    }
}

impl Convolution {
    pub(super) fn new(weights: Weights, frame: ConvShape, padding: PaddingConfig2d) -> Self {
        Self { weights, frame, padding, plans: Mutex::default() }
    }

    /// Returns the bytes of the plans made so far.
    pub(super) fn plan_bytes(&self) -> usize {
        lock(&self.plans).iter().map(|(_, shared)| shared.plan.bytes()).sum()
    }

    /// Returns the convolution for an input of this height and width.
    pub(super) fn shape(&self, input: [usize; 2]) -> ConvShape {
        let sides = match self.padding {
            PaddingConfig2d::Valid => [[0, 0]; 2],
            PaddingConfig2d::Same => [0, 1].map(|i| same(input[i], self.frame.kernel[i], self.frame.stride[i])),
            PaddingConfig2d::Explicit(top, left, bottom, right) => [[top, bottom], [left, right]],
        };
        let mut shape = self.frame.clone().with_sides(sides);
        shape.input = input;
        shape
    }

    /// Makes a plan for an input, unless there is one.
    pub(super) fn prepare(&self, input: &Shape) -> Result<(), SparseLayerError> {
        self.shared(input)?;
        Ok(())
    }

    /// Computes the output for an input on the host.
    pub(super) fn run(&self, x: &[f32], input: &Shape, y: &mut [f32]) -> Result<(), SparseLayerError> {
        let shared = self.shared(input)?;
        let (bias, activation) = (self.weights.bias.as_deref(), self.weights.options.activation);
        let (sample, result) = (x.len() / input[0], y.len() / input[0]);
        let pieces = x.chunks(BATCH * sample).zip(y.chunks_mut(BATCH * result));
        shared.spare.with(|workspace| {
            let mut done = pieces.map(|(x, y)| shared.plan.run_in(workspace, x, x.len() / sample, bias, activation, y));
            Ok(done.try_for_each(|done| done)?)
        })
    }

    /// Returns the plan for an input. Results must not depend on earlier calls, so a batch has a plan of its own.
    fn shared(&self, input: &Shape) -> Result<Arc<Shared>, SparseLayerError> {
        let key = Key::of(input);
        if let Some(found) = kept(&mut lock(&self.plans), key, None) {
            return Ok(found);
        }
        // The plan is made without the lock, since this takes a while.
        let plan = ConvPlan::new(&self.weights.matrix, &self.shape(key.input), key.batch)?;
        let made = Arc::new(Shared { plan, spare: WorkspacePool::default() });
        Ok(kept(&mut lock(&self.plans), key, Some(made.clone())).unwrap_or(made))
    }
}

/// Returns the plan for a key and marks it as last used. If there is none, `other` is added and the oldest plan removed.
fn kept(plans: &mut Vec<(Key, Arc<Shared>)>, key: Key, other: Option<Arc<Shared>>) -> Option<Arc<Shared>> {
    let found = plans.iter().position(|(of, _)| *of == key).map(|at| plans.remove(at).1).or(other)?;
    plans.push((key, found.clone()));
    let excess = plans.len().saturating_sub(KEPT);
    plans.drain(..excess);
    Some(found)
}

/// Returns the padding that leaves `ceil(input / stride)` outputs, with the odd one after the input. Burn's own function is private.
fn same(input: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let outputs = input.div_ceil(stride);
    let needed = if outputs > 0 { (outputs - 1) * stride + kernel } else { 0 };
    let padding = needed.saturating_sub(input);
    [padding / 2, padding - padding / 2]
}
