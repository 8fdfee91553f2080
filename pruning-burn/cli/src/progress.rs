//! A progress bar on a terminal: [`Progress`].

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

/// Bytes that were read of those that will be, shown with rate and time left if standard error is a terminal.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Option<ProgressBar>>);

impl Progress {
    /// Begins to show the reading of so many bytes.
    pub(crate) fn begin(&self, what: &'static str, bytes: u64) {
        self.end();
        if !std::io::stderr().is_terminal() {
            return;
        }
        let style =
            ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        let bar = ProgressBar::new(bytes).with_message(what);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    /// Counts bytes that were read.
    pub(crate) fn read(&self, bytes: usize) {
        if let Some(bar) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(bytes as u64);
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        if let Some(bar) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}
