//! `burn-prune compact` and `burn-prune expand`.

use crate::args::{ExpandArgs, OutArgs};
use crate::checkpoint::{self, Checkpoint, same};
use crate::error::CommandError;
use crate::output::Output;
use std::path::Path;

pub(crate) fn compact(args: &OutArgs) -> Result<Output, CommandError> {
    let checkpoint = Checkpoint::open_with(&args.file.file, &args.file.options())?;
    differ(checkpoint.file(), &args.output)?;
    let report = checkpoint::compact(&checkpoint, &args.output)?;
    let text = format!("{report}\n{} written\n", args.output.display());
    let json = serde_json::json!({ "file": checkpoint.file(), "output": args.output, "ratio": report.ratio(), "report": report });
    Ok(Output::new(text, json))
}

pub(crate) fn expand(args: &ExpandArgs) -> Result<Output, CommandError> {
    differ(&args.file, &args.output)?;
    let written = checkpoint::expand(&args.file, &args.output)?;
    let text = format!("{} written\n", written.display());
    Ok(Output::new(text, serde_json::json!({ "file": args.file, "output": written })))
}

fn differ(input: &Path, output: &Path) -> Result<(), CommandError> {
    if same(input, output) {
        return Err(CommandError::Usage(format!("{}: is the input; give -o another name", output.display())));
    }
    Ok(())
}
