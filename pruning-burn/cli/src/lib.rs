//! Prunes checkpoints: the command `burn-prune`, and what it is made of.
//!
//! [`checkpoint::Checkpoint`] opens safetensors (single or in shards), PyTorch files and burnpack, and is a Burn module, so that recipes,
//! criteria and allocators of `pruning-burn` work on a file. [`run`] is the whole command; the guide page `command-line.md` describes it.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("model.safetensors");
//! # let header = br#"{"fc.weight":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}"#;
//! # let values: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
//! # std::fs::write(&file, [&(header.len() as u64).to_le_bytes()[..], header, &values].concat())?;
//! use burn_prune::checkpoint::Checkpoint;
//! use pruning_burn::prelude::*;
//! let mut model = Checkpoint::open(&file)?;
//! let pruner = Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.5", &pruning_plugins::all())?;
//! let report = pruner.prune(&mut model, None)?;
//! assert_eq!(report.kept(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod args;
pub mod checkpoint;
mod commands;
mod error;
pub mod interrupt;
mod output;
mod outputs;
mod progress;
mod recipe;

pub use error::CommandError;

use args::Cli;
use clap::Parser;
use output::Output;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};

/// Runs the command with arguments, the first of which is its own name, and returns its exit code.
///
/// Results go to `out`: text, or one JSON object with `--json`. Errors go to `err`.
///
/// ```
/// let (mut out, mut err) = (Vec::new(), Vec::new());
/// assert_eq!(burn_prune::run(["burn-prune", "plugins"], &mut out, &mut err), 0);
/// assert!(String::from_utf8(out)?.contains("magnitude"));
/// assert_eq!(burn_prune::run(["burn-prune", "inspect", "no-such-file"], &mut Vec::new(), &mut err), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run<A: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = A>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render();
            if error.use_stderr() {
                let _ = write!(err, "{text}");
                return u8::try_from(error.exit_code()).unwrap_or(2);
            }
            return told(print(out, &text.to_string()), err);
        }
    };
    let json = cli.json;
    let done = commands::run(cli.command);
    told(done.and_then(|Output { text, json: object }| print(out, &if json { object.to_string() } else { text })), err)
}

/// Prints a result. A pipe that its reader closed, as `| head` does, is no error.
fn print(out: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CommandError::Print(error)),
        _ => Ok(()),
    }
}

/// The exit code of what was done, with its error printed.
fn told(done: Result<(), CommandError>, err: &mut dyn Write) -> u8 {
    let Err(error) = done else { return 0 };
    // There is nobody left to tell.
    let _ = writeln!(err, "error: {error}");
    error.exit_code()
}
