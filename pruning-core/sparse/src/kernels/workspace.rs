//! Memory that calls work in: [`Workspace`].

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Floats of a cache line.
pub(crate) const LINE: usize = 16;

/// Which plan a workspace is of. Clones of a plan share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanId(usize);

impl PlanId {
    /// One that no other plan has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// Memory that the calls of a [`Plan`](crate::Plan) or a [`ConvPlan`](crate::ConvPlan) work in: one for each call at a time. An empty
/// one, and one of another plan, is made anew by the call that it is given to.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    owner: Option<PlanId>,
    /// Inputs as a kernel wants them, with room to begin at a cache line.
    pub(crate) inputs: Vec<f32>,
    pub(crate) sums: Vec<f32>,
    /// Of the plans that a convolution consists of.
    pub(crate) parts: Vec<Workspace>,
}

impl Workspace {
    /// All zeros, which kernels rely on where inputs are padded; with floats for inputs and sums, beside room to align them.
    pub(crate) fn new(owner: PlanId, inputs: usize, sums: usize, parts: Vec<Self>) -> Self {
        Self { owner: Some(owner), inputs: vec![0.0; inputs + LINE], sums: vec![0.0; sums + LINE], parts }
    }

    /// Whether it is of this plan. The size alone does not tell: two convolutions may leave different zeros in it.
    pub(crate) fn is_of(&self, plan: PlanId) -> bool {
        self.owner == Some(plan)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.inputs.len() + self.sums.len()) + self.parts.iter().map(Self::bytes).sum::<usize>()
    }
}

/// From the first cache line on.
pub(crate) fn aligned(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let len = scratch.len() - LINE;
    &mut scratch[skip..][..len]
}

/// Workspaces of calls that are over, kept for the next calls: any number of threads share one pool.
///
/// ```
/// use pruning_sparse::{Dense, Format, Plan, Sparse, WorkspacePool};
/// let pool = WorkspacePool::default();
/// let nothing_yet = pool.with(|workspace| format!("{workspace:?}"));
/// # assert!(!nothing_yet.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct WorkspacePool(Mutex<Vec<Workspace>>);

impl WorkspacePool {
    /// Calls a function with a workspace that no other call is using.
    ///
    /// The workspace is taken out, not borrowed: a thread that waits for others to finish their rows may be given another call meanwhile.
    /// A new one is empty, and the plan gives it its memory.
    pub fn with<R>(&self, call: impl FnOnce(&mut Workspace) -> R) -> R {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = idle().pop().unwrap_or_default();
        let result = call(&mut workspace);
        idle().push(workspace);
        result
    }
}
