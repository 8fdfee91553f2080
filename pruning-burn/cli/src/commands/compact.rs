//! `burn-prune compact` and `burn-prune expand`.

use crate::args::{ExpandArgs, OutArgs};
use crate::checkpoint::{self, Checkpoint};
use crate::error::CommandError;
use crate::output::{Output, shown_path};
use crate::outputs::{RENAME, named, spare};

pub(crate) fn compact(args: &OutArgs) -> Result<Output, CommandError> {
    let checkpoint = Checkpoint::open_with(&args.file.file, &args.file.options())?;
    spare(&checkpoint.files(), &[&args.output], RENAME)?;
    named(&args.output, "safetensors")?;
    let report = checkpoint::compact(&checkpoint, &args.output)?;
    let text = format!("{report}\n{} written\n", args.output.display());
    let (file, output) = (shown_path(checkpoint.file()), shown_path(&args.output));
    let json = serde_json::json!({ "file": file, "output": output, "ratio": report.ratio(), "report": report });
    Ok(Output::new(text, json))
}

pub(crate) fn expand(args: &ExpandArgs) -> Result<Output, CommandError> {
    let written = checkpoint::expand(&args.file, &args.output)?;
    let text = format!("{} written\n", written.display());
    Ok(Output::new(text, serde_json::json!({ "file": shown_path(&args.file), "output": shown_path(&written) })))
}
