//! Sparse from the first step on: random masks that stay, against masks that change while training goes on, by chance (SET, Mocanu et al.
//! 2018) or towards the largest gradients (RigL, Evci et al. 2020). All three start with the same weights and masks, shared out by
//! Erdős-Rényi, and train as long as the dense network does.

use crate::runner::{DENSE, Run, pruner};
use burn::optim::ModuleOptimizer;
use pruning_burn::mask::{masks, update};
use pruning_burn::score::CriterionInputs;
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::training::{Batch, Training, cross_entropy};
use serde_json::json;
use std::time::Instant;

/// Steps between updates and the fraction of the first one, as in RigL's experiments; the last comes after three quarters of the training.
const EVERY: usize = 100;
const FRACTION: f64 = 0.3;

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let plan = DENSE.with_epochs(run.epochs(DENSE.epochs, 5));
    let random = format!("{{ name = \"random\", seed = {} }}", run.seed);
    let sparsities = [0.9, 0.95];
    for &sparsity in if run.runner.quick { &sparsities[1..] } else { &sparsities[..] } {
        for (name, criterion) in [("static", None), ("SET", Some(random.as_str())), ("RigL", Some("\"gradient\""))] {
            let variant = format!("{name} {sparsity:.2}");
            if run.missing(&variant) {
                let start = Instant::now();
                let (model, swapped) = train(run, &plan, sparsity, &random, criterion)?;
                run.add(&variant, sparsity, &model, start, json!({ "swapped": swapped }))?;
            }
        }
    }
    Ok(())
}

/// The trained network, and how many weights all updates brought in.
fn train(
    run: &Run<'_>,
    plan: &Training,
    sparsity: f64,
    random: &str,
    grow: Option<&str>,
) -> Result<(Lenet300, usize), Failed> {
    let shared = format!("allocator = \"erk\"\nsparsity = {sparsity}");
    let mut model = run.drawn(run.seed, Lenet300::new);
    let mut start = model.clone();
    pruner(&format!("criterion = {random}\n{shared}"))?.prune(&mut start, None)?;
    let start = masks(&start);

    let steps = plan.epochs * run.runner.train.len().div_ceil(plan.batch);
    let (every, end) = (run.epochs(EVERY, 20), steps * 3 / 4);
    let grow = grow.map_or(String::new(), |criterion| {
        format!("grow = {{ criterion = {criterion}, fraction = {FRACTION}, every = {every}, end = {end} }}")
    });
    // Magnitude says what is dropped. The pruning that the session begins with finds nothing left to do.
    let mut session = pruner(&format!("criterion = \"magnitude\"\n{shared}\n{grow}"))?.start(&mut model)?;
    update(&mut model, &start)?;
    let mut swapped = 0;
    let step = |model: &mut Lenet300, optimizer: &mut ModuleOptimizer, batch: &Batch| -> Result<(), Failed> {
        let inputs = match session.needs() {
            needs if needs.is_empty() => CriterionInputs::new(),
            needs => {
                CriterionInputs::new().with_dense_gradients(model, needs, std::slice::from_ref(batch), cross_entropy)?
            }
        };
        if let Some(report) = session.step(model, &inputs)? {
            *optimizer = session.mask_optimizer(model, optimizer)?;
            swapped += report.grown.unwrap_or(0);
            assert!(
                report.step > Some(0) || masks(model) == start,
                "the first step starts from the masks that were drawn"
            );
        }
        Ok(())
    };
    let model = run.trainer(plan, &mut run.random()).run_with(model, step)?;
    Ok((model, swapped))
}
