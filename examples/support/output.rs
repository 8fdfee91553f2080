//! What a program prints: sentences for people, or JSON lines and nothing else.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal;

/// Standard output, for people or for programs.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Prints JSON lines, or text for people.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints text, for people only.
    pub fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// Prints a JSON line, for programs only.
    pub fn line(&self, value: &Value) {
        if self.json {
            println!("{value}");
        }
    }

    /// Creates a progress bar, which only people at a terminal see.
    #[must_use]
    pub fn bar(&self, name: &str) -> ProgressBar {
        let bar = match std::io::stderr().is_terminal() && !self.json {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:14} {bar:40} {percent:>3} % {eta_precise}") {
            bar.set_style(style);
        }
        bar.with_prefix(name.to_string())
    }
}
