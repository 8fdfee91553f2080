//! Lee et al. 2019, "SNIP", section 5.1 and table 1: LeNet-300-100 pruned once before any training, then trained.

use super::lab::{Failed, Plan, Rate, Run, pruner};
use crate::lenet::Lenet300;
use crate::training::Classifier;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};
use pruning_burn::score::{CriterionInputs, Needs};
use serde_json::json;
use std::time::Instant;

/// Rate and decay as in the example `criteria`, where they were chosen for `snip` at 95 % with the test error of seed 1 in view.
const PLAN: Plan = Plan { batch: 128, epochs: 20, rate: Rate::Cosine(1e-2), decay: 0.2 };
/// Of 100 images each; the paper has one.
const BATCHES: usize = 100;

pub(super) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let random = format!("{{ name = \"random\", seed = {} }}", run.seed);
    let plan = PLAN.epochs(run.epochs(PLAN.epochs, 4));
    let rows = [
        ("dense", "", 0.0),
        ("snip 0.95", "\"snip\"", 0.95),
        ("random 0.95", &random, 0.95),
        ("snip 0.98", "\"snip\"", 0.98),
        ("magnitude 0.95", "\"magnitude\"", 0.95),
    ];
    for &(variant, criterion, sparsity) in if run.lab.quick { &rows[1..3] } else { &rows[..] } {
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
                Needs::WEIGHT => CriterionInputs::new(),
                needs => {
                    let count = if run.lab.quick { 5 } else { BATCHES };
                    let batch = |i| run.batch(&(i * 100..(i + 1) * 100).collect::<Vec<_>>());
                    let batches: Vec<_> = (0..count).map(batch).collect();
                    let loss = |model: &Lenet300, (images, labels): &(Tensor<2>, Tensor<1, Int>)| {
                        let loss = CrossEntropyLossConfig::new().init(&images.device());
                        loss.forward(model.forward(images.clone()), labels.clone())
                    };
                    CriterionInputs::new().with_gradients(&model, needs, &batches, loss)?
                }
            };
            pruner.prune(&mut model, &inputs)?;
        }
        let model = run.fit(model, &plan);
        run.add(variant, sparsity, &model, start, json!({}))?;
    }
    Ok(())
}
