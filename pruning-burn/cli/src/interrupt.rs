//! Interruption by the user: whether it came, and how a command ends then.
//!
//! Ctrl-C sets a flag. Whoever reads or writes looks at it, and stops with an error, so that temporary files are removed like after any
//! other error. While nothing is written there is nothing to remove, and the process ends at once, whatever it waits for. A second Ctrl-C
//! ends it at once too; the next write into the folder removes what that leaves.

use crate::error::CommandError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static WRITERS: AtomicUsize = AtomicUsize::new(0);

/// Handles Ctrl-C and a request to terminate, for the whole process.
pub fn listen() {
    // Without a handler, an interrupt leaves a temporary file, which the next write removes.
    let _ = ctrlc::set_handler(|| {
        let again = INTERRUPTED.swap(true, Ordering::SeqCst);
        let idle = WRITERS.load(Ordering::SeqCst) == 0;
        if idle && !again {
            eprintln!("error: {}", CommandError::Interrupted);
        }
        if idle || again {
            std::process::exit(130);
        }
    });
}

/// An error if the user interrupted the command.
pub(crate) fn interrupted() -> Result<(), CommandError> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(CommandError::Interrupted) } else { Ok(()) }
}

/// As long as this lives, an interruption waits for the one who writes.
#[derive(Debug)]
pub(crate) struct Writing(());

impl Writing {
    /// Begins to write, unless the user interrupted the command.
    pub(crate) fn begin() -> Result<Self, CommandError> {
        WRITERS.fetch_add(1, Ordering::SeqCst);
        let writing = Self(());
        // The handler sets the flag before it counts, so one of the two sees the other.
        interrupted().map(|()| writing)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITERS.fetch_sub(1, Ordering::SeqCst);
    }
}
