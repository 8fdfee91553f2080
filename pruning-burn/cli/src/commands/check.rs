//! `burn-prune check`.

use crate::args::CheckArgs;
use crate::checkpoint::Checkpoint;
use crate::error::CommandError;
use crate::output::{Output, shown_path, shown_shape, table};
use crate::recipe;
use pruning_burn::report::Report;

pub(crate) fn check(args: &CheckArgs) -> Result<Output, CommandError> {
    let pruner = recipe::of_file(&args.recipe)?;
    let checkpoint = Checkpoint::open_with(&args.file.file, &args.file.options())?;
    let report = recipe::outcome(&pruner, &checkpoint)?;
    let needs: Vec<String> = pruner.needs().iter().map(|need| need.to_string()).collect();
    let recipe = pruner.recipe().to_toml();
    let mut text = format!("{}\n", targets(&report));
    text += &format!("{} of {} parameters are targets\n", report.weights(), report.parameters);
    if !needs.is_empty() {
        text += &format!("needs {}: give --calibration to `prune`, or prune in a program\n", needs.join(", "));
    }
    let ignored = recipe::ignored(&pruner);
    text += &recipe::shown_ignored(&ignored);
    text += &checkpoint.note().map(|note| format!("{note}\n")).unwrap_or_default();
    text += &format!("\n{recipe}");
    let json = serde_json::json!({
        "file": shown_path(checkpoint.file()), "layout": checkpoint.layout(), "recipe": recipe, "needs": needs, "report": report,
        "ignored": ignored, "note": checkpoint.note(),
    });
    Ok(Output::new(text, json))
}

fn targets(report: &Report) -> String {
    let pruned = report.layers.iter().map(|layer| {
        let kept = format!("{} of {} kept", layer.kept, layer.weights);
        [
            layer.path.clone(),
            layer.kind.clone(),
            shown_shape(&layer.shape),
            format!("pruned: {}, {kept}", layer.granularity),
        ]
    });
    let skipped = report
        .skipped
        .iter()
        .map(|skipped| [skipped.path.clone(), String::new(), String::new(), skipped.reason.to_string()]);
    table(["tensor", "layer", "shape in Burn", "what happens"], 4, pruned.chain(skipped))
}
