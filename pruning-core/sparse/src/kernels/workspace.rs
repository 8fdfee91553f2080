//! Working memory of calls: [`Workspace`].

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The number of floats of a cache line.
pub(crate) const LINE: usize = 16;

/// The identity of a plan, by which a workspace knows it. Clones of a plan share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanId(usize);

impl PlanId {
    /// Creates an identity that no other plan has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// The memory in which the calls of a [`Plan`](crate::Plan) or a [`ConvPlan`](crate::ConvPlan) work, one call at a time.
///
/// A call reallocates an empty workspace, and a workspace of another plan.
///
/// ```
/// use pruning_sparse::{Activation, Dense, Format, Plan, Sparse, Workspace};
/// let weights = Dense::new(1, 2, vec![0.0f32, 2.0])?;
/// let plan = Plan::new(&Sparse::from_dense(&weights, Format::Csr16)?, 1)?;
/// let (mut workspace, mut y) = (Workspace::default(), [0.0]);
/// plan.run_in(&mut workspace, &[1.0, 3.0], 1, None, Activation::None, &mut y)?;
/// assert_eq!(y, [6.0]);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    owner: Option<PlanId>,
    /// The inputs in the form that a kernel reads, with room to begin at a cache line.
    pub(crate) inputs: Vec<f32>,
    pub(crate) sums: Vec<f32>,
    /// The workspaces of the plans that make up a convolution.
    pub(crate) parts: Vec<Workspace>,
}

impl Workspace {
    /// Creates a workspace of zeros, which kernels rely on where inputs are padded, for `inputs` and `sums` floats and room to align
    /// them.
    pub(crate) fn new(owner: PlanId, inputs: usize, sums: usize, parts: Vec<Self>) -> Self {
        Self { owner: Some(owner), inputs: vec![0.0; inputs + LINE], sums: vec![0.0; sums + LINE], parts }
    }

    /// Returns whether the workspace belongs to this plan. Its size does not show that: two convolutions may leave different zeros in it.
    pub(crate) fn is_of(&self, plan: PlanId) -> bool {
        self.owner == Some(plan)
    }

    /// Returns the bytes of the workspace.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.inputs.len() + self.sums.len()) + self.parts.iter().map(Self::bytes).sum::<usize>()
    }
}

/// Returns the memory from the first cache line on.
pub(crate) fn aligned(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let len = scratch.len() - LINE;
    &mut scratch[skip..][..len]
}

/// A pool of idle workspaces for the next calls; any number of threads share it.
///
/// ```
/// use pruning_sparse::{Activation, Dense, Format, Plan, Sparse, WorkspacePool};
/// let weights = Dense::new(1, 2, vec![0.0f32, 2.0])?;
/// let plan = Plan::new(&Sparse::from_dense(&weights, Format::Csr16)?, 1)?;
/// let pool = WorkspacePool::default();
/// let mut y = [0.0];
/// pool.with(|workspace| plan.run_in(workspace, &[1.0, 3.0], 1, None, Activation::None, &mut y))?;
/// assert_eq!(y, [6.0]);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[derive(Debug, Default)]
pub struct WorkspacePool(Mutex<Vec<Workspace>>);

impl WorkspacePool {
    /// Calls a function with a workspace that no other call is using.
    ///
    /// The workspace is taken out of the pool, not borrowed, because a thread that waits for others to finish their rows may start
    /// another call meanwhile. A new workspace is empty, and the plan allocates its memory.
    pub fn with<R>(&self, call: impl FnOnce(&mut Workspace) -> R) -> R {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = idle().pop().unwrap_or_default();
        let result = call(&mut workspace);
        idle().push(workspace);
        result
    }
}
