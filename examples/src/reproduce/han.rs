//! Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", tables 1 and 2: LeNet-300-100 with 12
//! times fewer weights. What each layer keeps follows from one threshold here, and from one a layer in the paper.

use super::lab::{DENSE, Failed, RETRAIN, Run, pruner};
use crate::lenet::Lenet300;
use serde_json::json;
use std::time::Instant;

const ROUNDS: usize = 6;
/// After each round, and after the last.
const EPOCHS: (usize, usize) = (5, 10);

pub(super) fn run(run: &Run<'_>) -> Result<(), Failed> {
    if !run.missing("dense") && !run.missing("12x") {
        return Ok(());
    }
    let start = Instant::now();
    let mut model = run.fit(run.drawn(run.seed, Lenet300::new), &DENSE.epochs(run.epochs(15, 5)));
    if run.missing("dense") {
        run.add("dense", 0.0, &model, start, json!({}))?;
    }
    let start = Instant::now();
    let pruner = pruner(&format!(
        "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {}\nschedule = {{ kind = \"iterative\", rounds = {ROUNDS} }}",
        1.0 - 1.0 / 12.0
    ))?;
    let mut session = pruner.attach(&mut model)?;
    let mut kept = json!({});
    let mut sparsity = 0.0;
    while !session.is_done() {
        let Some(report) = session.step(&mut model)? else { continue };
        let full = if session.is_done() { EPOCHS.1 } else { EPOCHS.0 };
        model = run.fit(model, &RETRAIN.epochs(run.epochs(full, 1)));
        sparsity = report.sparsity();
        for layer in &report.layers {
            kept[format!("{} kept, %", layer.path)] = json!(100.0 * (1.0 - layer.sparsity()));
        }
    }
    run.add("12x", sparsity, &model, start, kept)?;
    Ok(())
}
