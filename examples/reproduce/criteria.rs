//! Magnitude by its L1 and L2 norm, and chance. Of single weights both norms are the absolute value; of channels they differ (Li et al.
//! 2017, section 3, prunes by L1 and finds L2 no better).

use crate::runner::{RETRAIN, Run, pruner};
use pruning_burn::mask::masks;
use pruning_examples::Failed;
use serde_json::json;
use std::time::Instant;

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let random = format!("{{ name = \"random\", seed = {} }}", run.seed);
    let l1 = "{ name = \"magnitude\", p = 1 }";
    let l2 = "{ name = \"magnitude\", p = 2 }";
    // The classes are no channels that can go.
    let settings = [
        ("element 0.95", "sparsity = 0.95\nallocator = \"global\""),
        ("channel 0.50", "sparsity = 0.5\ngranularity = \"channel\"\ntarget = { exclude = [\"fc3\"] }"),
        ("channel 0.75", "sparsity = 0.75\ngranularity = \"channel\"\ntarget = { exclude = [\"fc3\"] }"),
    ];
    let settings = if run.runner.quick { &settings[..1] } else { &settings[..] };
    for (what, recipe) in settings {
        for (name, criterion) in [("l1", l1), ("l2", l2), ("random", random.as_str())] {
            // Of single weights both norms are the absolute value, which is checked with the first of them.
            let single = what.starts_with("element");
            let variant = format!("{what} {name}");
            if single && name == "l2" || !run.missing(&variant) {
                continue;
            }
            let start = Instant::now();
            let mut model = run.dense();
            let report = pruner(&format!("criterion = {criterion}\n{recipe}"))?.prune(&mut model, None)?;
            if single && name == "l1" {
                let mut other = run.dense();
                pruner(&format!("criterion = {l2}\n{recipe}"))?.prune(&mut other, None)?;
                if masks(&other) != masks(&model) {
                    return Err("magnitudes by L1 and L2 norm differ for single weights".into());
                }
            }
            let before = run.error(&model);
            let model = run.fit(model, &RETRAIN.with_epochs(run.epochs(RETRAIN.epochs, 2)));
            run.add(&variant, report.sparsity(), &model, start, json!({ "untrained_error": before }))?;
        }
    }
    Ok(())
}
