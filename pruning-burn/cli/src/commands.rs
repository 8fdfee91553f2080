//! The commands, one module each: [`run`].

mod check;
mod compact;
mod diff;
mod inspect;
mod masks;
mod plugins;
mod prune;
mod report;

use crate::args::{Cli, Command, MasksCommand};
use crate::error::CommandError;
use crate::output::Output;
use clap::CommandFactory;

/// Does what was asked.
pub(crate) fn run(command: Command) -> Result<Output, CommandError> {
    match command {
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Prune(args) => prune::prune(&args),
        Command::Check(args) => check::check(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Compact(args) => compact::compact(&args),
        Command::Expand(args) => compact::expand(&args),
        Command::Masks(MasksCommand::Extract(args)) => masks::extract(&args),
        Command::Masks(MasksCommand::Apply(args)) => masks::apply(&args),
        Command::Report(args) => report::report(&args),
        Command::Plugins => Ok(plugins::plugins()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "burn-prune", &mut script);
            let script = String::from_utf8_lossy(&script).into_owned();
            Ok(Output::new(script.clone(), serde_json::json!({ "shell": shell.to_string(), "script": script })))
        }
    }
}
