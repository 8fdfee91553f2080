//! Frankle & Carbin 2019, "The Lottery Ticket Hypothesis", section 2: after each round of iterative pruning the weights go back to what
//! they were before training. The same masks on newly drawn weights do worse.

use crate::runner::{Run, pruner};
use pruning_burn::rounds::{IterativePruning, Round, reinitialize};
use pruning_examples::Failed;
use pruning_examples::lenet::Lenet300;
use pruning_examples::training::{Rate, Training};
use serde_json::json;
use std::time::Instant;

/// Optimizer, rate and batch of the paper (appendix G), which trains for 50,000 steps; this is 917 an epoch.
const PLAN: Training = Training { batch: 60, decay: 0.0, ..Training::new(3, Rate::Constant(1.2e-3)) };
/// A fifth of the weights each, half as much of the last layer: 3.6 % stay.
const ROUNDS: usize = 15;
/// Rounds whose masks are tried on other weights: 51.5, 21.1 and 3.6 % stay.
const REDRAWN: [usize; 3] = [3, 7, 15];

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let rounds = run.epochs(ROUNDS, 2);
    let ticket = |round: usize| format!("ticket {round:02}");
    let redrawn = |round: usize| format!("redrawn {round:02}");
    let last =
        (0..=rounds).rev().find(|&r| run.missing(&ticket(r)) || REDRAWN.contains(&r) && run.missing(&redrawn(r)));
    let Some(last) = last else { return Ok(()) };

    let pruner = pruner(&format!(
        "criterion = \"magnitude\"\nallocator = \"uniform\"\ninitialization = \"rewind\"\n\
         schedule = {{ kind = \"iterative\", rounds = {ROUNDS}, fraction = 0.2 }}\n\
         [[override]]\ntarget = \"fc3\"\nsparsity = {}",
        1.0 - 0.9f64.powi(ROUNDS as i32)
    ))?;
    let plan = PLAN.with_epochs(run.epochs(PLAN.epochs, 1));
    // Trains, and logs with what the test error was on the way.
    let fit = |name: &str, sparsity: f64, model: Lenet300| -> Result<Lenet300, Failed> {
        let start = Instant::now();
        let mut errors = Vec::new();
        let mut random = run.random();
        let watch = |_, model: &Lenet300| errors.push(run.error(model));
        let model = run.trainer(&plan, &mut random).with_after_epoch(watch).run(model);
        if run.missing(name) {
            run.add(name, sparsity, &model, start, json!({ "first_epoch_error": errors[0] }))?;
        }
        Ok(model)
    };

    let mut model = run.drawn(run.seed, Lenet300::glorot);
    let train = |model: Lenet300, round: &mut Round| {
        let (number, sparsity) = (round.number(), round.report().sparsity());
        if REDRAWN.contains(&number) && run.missing(&redrawn(number)) {
            // Far from the other seeds, which are small.
            let fresh = run.drawn(run.seed + 1000 * number as u64, Lenet300::glorot);
            let mut other = model.clone();
            reinitialize(&mut other, &fresh)?;
            fit(&redrawn(number), sparsity, other)?;
        }
        fit(&ticket(number), sparsity, model)
    };
    IterativePruning::new(&pruner).with_last_round(last).run(&mut model, train, |model| run.error(model))?;
    Ok(())
}
