//! How the budget is shared out over the layers, at the same total sparsity, by magnitude and in one shot: global, uniform, ERK (Evci et al.
//! 2020) and LAMP (Lee et al. 2021, figure 1: the gap opens at high sparsity).

use crate::runner::{RETRAIN, Run, pruner};
use pruning_examples::Failed;
use serde_json::json;
use std::time::Instant;

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let sparsities = [0.8, 0.9, 0.95, 0.98, 0.99];
    for &sparsity in if run.runner.quick { &sparsities[4..] } else { &sparsities[..] } {
        for allocator in ["global", "uniform", "erk", "lamp"] {
            let variant = format!("{allocator} {sparsity:.2}");
            if !run.missing(&variant) {
                continue;
            }
            let start = Instant::now();
            let mut model = run.dense();
            let recipe = format!("criterion = \"magnitude\"\nallocator = \"{allocator}\"\nsparsity = {sparsity}");
            let report = pruner(&recipe)?.prune(&mut model, None)?;
            let mut more = json!({ "untrained_error": run.error(&model) });
            for layer in &report.layers {
                more[format!("{} kept, %", layer.path)] = json!(100.0 * (1.0 - layer.sparsity()));
            }
            let model = run.fit(model, &RETRAIN.with_epochs(run.epochs(RETRAIN.epochs, 2)));
            run.add(&variant, report.sparsity(), &model, start, more)?;
        }
    }
    Ok(())
}
