//! Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", tables 1 to 3: LeNet-300-100 and LeNet-5 with 12
//! times fewer weights. What each layer keeps follows from one threshold here, and from one a layer in the paper.

use crate::runner::{DENSE, RETRAIN, Run, pruner};
use burn::tensor::Device;
use pruning_burn::rounds::{IterativePruning, Round};
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::lenet5::Lenet5;
use pruning_examples::training::Classifier;
use serde_json::json;
use std::time::Instant;

/// How long to train.
struct Length {
    /// Epochs of the dense network; in a quick run.
    dense: (usize, usize),
    rounds: usize,
    /// Epochs after each round, and after the last.
    each: usize,
    last: usize,
}

pub(crate) fn lenet300(run: &Run<'_>) -> Result<(), Failed> {
    twelve(run, Lenet300::new, &Length { dense: (15, 5), rounds: 6, each: 5, last: 10 })
}

pub(crate) fn lenet5(run: &Run<'_>) -> Result<(), Failed> {
    let rounds = if run.runner.quick { 1 } else { 3 };
    twelve(run, Lenet5::new, &Length { dense: (4, 1), rounds, each: 1, last: 2 })
}

fn twelve<M: Classifier>(run: &Run<'_>, new: fn(&Device) -> M, length: &Length) -> Result<(), Failed> {
    if !run.missing("dense") && !run.missing("12x") {
        return Ok(());
    }
    let pruner = pruner(&format!(
        "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {}\nschedule = {{ kind = \"iterative\", rounds = {} }}",
        1.0 - 1.0 / 12.0,
        length.rounds
    ))?;
    let mut start = Instant::now();
    let train = |model: M, round: &mut Round| -> Result<M, Failed> {
        let (how, full, quick) = match round.number() {
            0 => (DENSE, length.dense.0, length.dense.1),
            number if number == round.last() => (RETRAIN, length.last, 1),
            _ => (RETRAIN, length.each, 1),
        };
        let model = run.fit(model, &how.with_epochs(run.epochs(full, quick)));
        if round.number() == 0 {
            if run.missing("dense") {
                run.add("dense", 0.0, &model, start, json!({}))?;
            }
            start = Instant::now();
        }
        Ok(model)
    };
    let mut model = run.drawn(run.seed, new);
    let history = IterativePruning::new(&pruner).run(&mut model, train, |model| run.error(model))?;
    let report = &history.rounds[history.rounds.len() - 1].pruning;
    let mut kept = json!({});
    for layer in &report.layers {
        kept[format!("{} kept, %", layer.path)] = json!(100.0 * (1.0 - layer.sparsity()));
    }
    run.add("12x", report.sparsity(), &model, start, kept)?;
    Ok(())
}
