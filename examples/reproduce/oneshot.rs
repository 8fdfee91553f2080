//! Han et al. 2015, section 5 and figure 5: without retraining half of the weights go for free, and pruning in rounds is better than
//! pruning at once. Both train for the same number of epochs after the first pruning.

use crate::runner::{RETRAIN, Run, pruner};
use pruning_examples::Failed;
use serde_json::json;
use std::time::Instant;

const ROUNDS: usize = 5;
/// After each round, and after the last.
const EPOCHS: (usize, usize) = (2, 4);

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let recipe = |sparsity: f64, rounds: usize| {
        pruner(&format!(
            "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {sparsity}\n\
             schedule = {{ kind = \"iterative\", rounds = {rounds} }}"
        ))
    };
    let all = [0.5, 0.8, 0.9, 0.95, 0.98];
    if run.missing("dense") {
        run.add("dense", 0.0, &run.dense(), Instant::now(), json!({}))?;
    }
    for sparsity in all {
        let name = format!("no retraining {sparsity:.2}");
        if run.missing(&name) {
            let start = Instant::now();
            let mut model = run.dense();
            recipe(sparsity, 1)?.prune(&mut model, None)?;
            run.add(&name, sparsity, &model, start, json!({}))?;
        }
    }
    let (each, last) = (run.epochs(EPOCHS.0, 1), run.epochs(EPOCHS.1, 2));
    for &sparsity in if run.runner.quick { &all[4..] } else { &all[2..] } {
        for (name, rounds) in [("one-shot", 1), ("iterative", ROUNDS)] {
            let name = format!("{name} {sparsity:.2}");
            if !run.missing(&name) {
                continue;
            }
            let start = Instant::now();
            let mut model = run.dense();
            let mut session = recipe(sparsity, rounds)?.start(&mut model)?;
            while !session.is_done() {
                session.step(&mut model, None)?;
                let epochs = match (rounds, session.is_done()) {
                    (1, _) => each * (ROUNDS - 1) + last,
                    (_, true) => last,
                    _ => each,
                };
                model = run.fit(model, &RETRAIN.with_epochs(epochs));
            }
            run.add(&name, sparsity, &model, start, json!({}))?;
        }
    }
    Ok(())
}
