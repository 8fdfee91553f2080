//! What reports count: all that a recipe has as targets.

use burn::tensor::Device;
use pruning_burn::report::Report;
use pruning_burn::rounds::{IterativePruning, Round};
use pruning_burn::{PruneError, Pruner};
use pruning_tests::models::Mlp;
use std::convert::Infallible;

/// Half of the 128 weights of one layer, and none of the 192 of the other.
const FIFTH: &str = "sparsity = 0.2\ncriterion = \"magnitude\"\n[[override]]\ntarget = \"fc1\"\nsparsity = 0\n\
     [[override]]\ntarget = \"fc2\"\nsparsity = 0.5\n";

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap()
}

fn model() -> Mlp {
    Mlp::new(&Device::flex(), 1)
}

fn counts(report: &Report, removed: usize) {
    let kept: Vec<_> = report.layers.iter().map(|l| (l.path.as_str(), l.weights, l.kept)).collect();
    assert_eq!(kept, [("fc1.weight", 192, 192), ("fc2.weight", 128, 128 - removed)]);
    let sparsity = removed as f64 / 320.0;
    // What is asked is a fraction, and weights are whole.
    assert!(
        (report.sparsity() - sparsity).abs() < 1e-12 && (report.asked() - sparsity).abs() < 0.5 / 320.0,
        "{report}"
    );
    let read: Report = serde_json::from_str(&serde_json::to_string(report).unwrap()).unwrap();
    assert!((read.sparsity() - sparsity).abs() < 1e-12, "{report}");
    let told = format!("sparsity {:.2} % (asked {:.2} %)", 100.0 * sparsity, 100.0 * report.asked());
    assert!(report.to_string().contains(&told), "{report}");
    assert!(!report.skipped.iter().any(|s| s.path == "fc1.weight"));
}

#[test]
fn targets_left_dense_count_in_what_is_asked_and_achieved() {
    let mut pruned = model();
    counts(&pruner(FIFTH).prune(&mut pruned, None).unwrap(), 64);
    counts(&pruner(FIFTH).report(&pruned).unwrap(), 64);

    let rounds = pruner(&format!("schedule = {{ kind = \"iterative\", rounds = 2 }}\n{FIFTH}"));
    let mut stepped = model();
    let mut session = rounds.start(&mut stepped).unwrap();
    counts(&rounds.report(&stepped).unwrap(), 0);
    for removed in [37, 64] {
        counts(&session.step(&mut stepped, None).unwrap().unwrap(), removed);
    }

    let train = |model: Mlp, _: &mut Round| Ok::<_, Infallible>(model);
    let history = IterativePruning::new(&rounds).run(&mut model(), train, |_| 0.0).map_err(|e| e.to_string()).unwrap();
    for (round, removed) in history.rounds.iter().zip([0, 37, 64]) {
        counts(&round.pruning, removed);
        assert!((round.sparsity() - removed as f64 / 320.0).abs() < 1e-12);
    }
}

#[test]
fn a_recipe_that_leaves_every_target_dense_says_so() {
    let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"\n[[override]]\ntarget = \"*\"\nsparsity = 0";
    let error = pruner(recipe).prune(&mut model(), None).unwrap_err();
    assert_eq!(error, PruneError::AllDense { path: "fc1.weight".into() });
}
