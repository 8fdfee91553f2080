//! Renda et al. 2020, "Comparing Rewinding and Fine-tuning in Neural Network Pruning": after one pruning, train on at the last learning rate,
//! from the weights of an earlier epoch, or with the learning rates from there on and the weights as they are.

use crate::runner::{Run, pruner};
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::training::{Rate, Training};
use serde_json::json;
use std::time::Instant;

const BASE: f64 = 2e-3;
const EPOCHS: usize = 8;
/// Epoch to go back to.
const EARLY: usize = 1;

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let sparsities = [0.95, 0.98, 0.99];
    let sparsities = if run.runner.quick { &sparsities[1..2] } else { &sparsities[..] };
    let methods = ["fine-tuning", "weight rewinding", "rate rewinding"];
    let name = |method: &str, sparsity: f64| format!("{method} {sparsity:.2}");
    let all = sparsities.iter().flat_map(|&s| methods.map(|method| name(method, s)));
    if !run.missing("dense") && all.into_iter().all(|name| !run.missing(&name)) {
        return Ok(());
    }

    let of = run.epochs(EPOCHS, 4);
    let from = |from: usize| Training::new(of - from, Rate::Steps { rate: BASE, from, of });
    let start = Instant::now();
    let early = run.fit(run.drawn(run.seed, Lenet300::new), &Training { epochs: EARLY, ..from(0) });
    // Each recipe takes its snapshot of the same early weights; one training serves them all.
    let mut dense = early.clone();
    let mut sessions = Vec::new();
    for &sparsity in sparsities {
        let recipe = |then: &str| {
            pruner(&format!(
                "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = {sparsity}\ninitialization = \"{then}\""
            ))
        };
        let (mut a, mut b) = (early.clone(), early.clone());
        sessions.push((sparsity, recipe("keep")?.start(&mut a)?, recipe("rewind")?.start(&mut b)?));
        dense = a;
    }
    dense = run.fit(dense, &from(EARLY));
    if run.missing("dense") {
        run.add("dense", 0.0, &dense, start, json!({}))?;
    }
    for (sparsity, keep, rewind) in sessions {
        for method in methods {
            let variant = name(method, sparsity);
            if !run.missing(&variant) {
                continue;
            }
            let start = Instant::now();
            let mut model = dense.clone();
            let mut session = if method == "weight rewinding" { rewind.clone() } else { keep.clone() };
            session.step(&mut model, None)?;
            let plan = match method {
                "fine-tuning" => Training { rate: Rate::Constant(0.01 * BASE), ..from(EARLY) },
                _ => from(EARLY),
            };
            let model = run.fit(model, &plan);
            run.add(&variant, sparsity, &model, start, json!({}))?;
        }
    }
    Ok(())
}
