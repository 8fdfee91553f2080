//! Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", tables 1 to 3: LeNet-300-100 and LeNet-5 with 12
//! times fewer weights. What each layer keeps follows from one threshold here, and from one a layer in the paper.

use crate::runner::{DENSE, RETRAIN, Run, pruner};
use burn::tensor::Device;
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
    let start = Instant::now();
    let mut model = run.fit(run.drawn(run.seed, new), &DENSE.with_epochs(run.epochs(length.dense.0, length.dense.1)));
    if run.missing("dense") {
        run.add("dense", 0.0, &model, start, json!({}))?;
    }
    let start = Instant::now();
    let pruner = pruner(&format!(
        "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {}\nschedule = {{ kind = \"iterative\", rounds = {} }}",
        1.0 - 1.0 / 12.0,
        length.rounds
    ))?;
    let mut session = pruner.start(&mut model)?;
    let mut kept = json!({});
    let mut sparsity = 0.0;
    while !session.is_done() {
        let Some(report) = session.step(&mut model, None)? else { continue };
        let full = if session.is_done() { length.last } else { length.each };
        model = run.fit(model, &RETRAIN.with_epochs(run.epochs(full, 1)));
        sparsity = report.sparsity();
        for layer in &report.layers {
            kept[format!("{} kept, %", layer.path)] = json!(100.0 * (1.0 - layer.sparsity()));
        }
    }
    run.add("12x", sparsity, &model, start, kept)?;
    Ok(())
}
