//! Lee et al. 2019, "SNIP", section 5.1 and table 1: LeNet-300-100 pruned once before any training, then trained.

use crate::runner::{Run, pruner};
use pruning_burn::score::CriterionInputs;
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::training::{Rate, Training, batch, cross_entropy};
use serde_json::json;
use std::time::Instant;

/// Rate and decay as in the example `criteria`, where they were chosen for `snip` at 95 % with the test error of seed 1 in view.
const PLAN: Training = Training { decay: 0.2, ..Training::new(20, Rate::Cosine(1e-2)) };
/// Of 100 images each; the paper has one.
const BATCHES: usize = 100;

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let random = format!("{{ name = \"random\", seed = {} }}", run.seed);
    let plan = PLAN.with_epochs(run.epochs(PLAN.epochs, 4));
    let rows = [
        ("dense", "", 0.0),
        ("snip 0.95", "\"snip\"", 0.95),
        ("random 0.95", &random, 0.95),
        ("snip 0.98", "\"snip\"", 0.98),
        ("magnitude 0.95", "\"magnitude\"", 0.95),
    ];
    for &(variant, criterion, sparsity) in if run.runner.quick { &rows[1..3] } else { &rows[..] } {
        if !run.missing(variant) {
            continue;
        }
        let start = Instant::now();
        let mut model = run.drawn(run.seed, Lenet300::new);
        if sparsity > 0.0 {
            let recipe =
                format!("criterion = {criterion}\nallocator = \"global\"\nsparsity = {sparsity}\nallow_empty = true");
            let pruner = pruner(&recipe)?;
            let inputs = match pruner.needs() {
                needs if needs.is_empty() => CriterionInputs::new(),
                needs => {
                    let count = if run.runner.quick { 5 } else { BATCHES };
                    let indices = |i| (i * 100..(i + 1) * 100).collect::<Vec<_>>();
                    let batches: Vec<_> =
                        (0..count).map(|i| batch(&run.runner.train, &indices(i), &run.runner.device)).collect();
                    CriterionInputs::new().with_gradients(&model, needs, &batches, cross_entropy)?
                }
            };
            pruner.prune(&mut model, &inputs)?;
        }
        let model = run.fit(model, &plan);
        run.add(variant, sparsity, &model, start, json!({}))?;
    }
    Ok(())
}
