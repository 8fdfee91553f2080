//! Memory of calls that are over, for the next ones: [`Workspaces`].

use pruning_core::sparse::Workspace;
use std::sync::{Mutex, PoisonError};

/// The workspaces of one plan, each used by one call at a time.
#[derive(Debug, Default)]
pub(crate) struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Calls with one that no other call is using. It is taken out, not borrowed: a thread that waits for others to finish their rows may
    /// be given another call meanwhile. A new one is empty, and the plan gives it its memory.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Workspace) -> R) -> R {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = idle().pop().unwrap_or_default();
        let result = call(&mut workspace);
        idle().push(workspace);
        result
    }
}
