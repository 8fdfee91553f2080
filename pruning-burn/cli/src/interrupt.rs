//! Interruption by the user: [`interrupted`].
//!
//! Ctrl-C sets a flag. Whoever reads or writes looks at it, and stops with an error, so that temporary files are removed like after any
//! other error. A second Ctrl-C ends the process at once; the next write into the folder removes what that leaves.

use crate::error::CommandError;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Handles Ctrl-C and a request to terminate, for the whole process.
pub fn listen() {
    // Without a handler, an interrupt leaves a temporary file, which the next write removes.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
}

/// An error if the user interrupted the command.
pub(crate) fn interrupted() -> Result<(), CommandError> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(CommandError::Interrupted) } else { Ok(()) }
}
