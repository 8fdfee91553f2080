//! `burn-prune report`.

use crate::args::ReportArgs;
use crate::checkpoint::Checkpoint;
use crate::error::CommandError;
use crate::interrupt::Writing;
use crate::output::{Output, shown_path};
use crate::outputs::{RENAME, spare};
use pruning_burn::Pruner;
use pruning_report::{Page, PageError};
use serde::Deserialize;
use std::path::PathBuf;

/// What `burn-prune prune --json` says of its input.
#[derive(Deserialize)]
struct Origin {
    file: PathBuf,
    recipe: String,
}

pub(crate) fn report(args: &ReportArgs) -> Result<Output, CommandError> {
    let failed = |error: String| CommandError::file(&args.json_file, error);
    spare(&[&args.json_file], &[&args.output], RENAME)?;
    let text = std::fs::read_to_string(&args.json_file).map_err(|error| failed(error.to_string()))?;
    let page = Page::from_json(&text).map_err(|error| failed(error.to_string()))?;
    let mut scores = Vec::new();
    if args.scores {
        let origin: Origin = serde_json::from_str(&text)
            .map_err(|error| failed(format!("does not say what was pruned, as `prune --json` does: {error}")))?;
        let pruner = Pruner::from_toml(&origin.recipe, &pruning_plugins::all());
        let pruner =
            pruner.map_err(|source| CommandError::Recipe { file: args.json_file.display().to_string(), source })?;
        let checkpoint = Checkpoint::open(&origin.file)?;
        spare(&checkpoint.files(), &[&args.output], RENAME)?;
        let found = pruner.scores(&checkpoint, None);
        checkpoint.sound()?;
        scores = found.map_err(|error| CommandError::prune(checkpoint.file(), error))?;
    }
    let page = if scores.is_empty() { page } else { page.with_scores(&scores) };
    let _writing = Writing::begin()?;
    page.save(&args.output).map_err(|error| match error {
        PageError::Store(error) => error.into(),
        other => CommandError::write(&args.output, other),
    })?;
    let text = format!("{} written", args.output.display());
    Ok(Output::new(
        text,
        serde_json::json!({ "file": shown_path(&args.json_file), "output": shown_path(&args.output) }),
    ))
}
