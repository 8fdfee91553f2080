//! What it takes to shrink a model, and what must be true afterwards.

use crate::values::{base, same_bits};
use burn::module::Module;
use burn::tensor::Device;
use pruning_burn::Pruner;
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker, verify};
use pruning_burn::trace::{Scope, Trace};

/// A network that can be shrunken.
pub trait Shrinks: Module + 'static {
    /// With weights, which are the same every time.
    fn new(device: &Device) -> Self;
    /// The forward pass on an input of its own.
    fn forward(&self, scope: &mut Scope, device: &Device);
    /// Sets the sizes that no parameter has.
    fn set(&mut self, _: &mut Fields) {}
}

/// By a recipe, with all plugins.
///
/// # Panics
/// The recipe is wrong.
#[must_use]
pub fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap()
}

/// Channels by magnitude.
#[must_use]
pub fn channels(sparsity: f64, more: &str) -> Pruner {
    pruner(&format!("criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = {sparsity}\n{more}"))
}

/// Plans, masks, applies, verifies; returns how much is left of parameters and MACs.
///
/// # Panics
/// Something of it fails, or the models are further apart than `most`, relative to the largest output.
#[must_use]
pub fn shrinks<M: Shrinks>(recipe: &Pruner, most: f64) -> (f64, f64) {
    let device = Device::flex();
    let model = M::new(&device);
    let forward = |m: &M, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let before = base(&model);
    let plan = Shrinker::new(recipe).plan(&model, &trace, None).unwrap_or_else(|e| panic!("{e}"));
    assert!(!plan.is_empty(), "{plan}");
    let mut masked = model.clone();
    shrink::mask(&plan, &mut masked).unwrap();
    let mut smaller = model.clone();
    let set = |m: &mut M, f: &mut Fields| m.set(f);
    let applied = shrink::apply(&plan, &mut smaller, set, forward).unwrap_or_else(|e| panic!("{e}\n{plan}"));
    let found = applied.equivalence.difference().unwrap_or_else(|| panic!("{:?}", applied.equivalence));
    assert!(found.outputs > 0 && found.max_rel < most, "{found:?}\n{plan}");
    let difference = verify(&masked, &smaller, forward).unwrap();
    assert!(difference.outputs > 0 && difference.max_rel < most, "{difference:?}\n{plan}");
    // So does the recorded pass, which nothing is set in.
    let (_, traced) = shrink::apply_to_traces(&plan, [&trace], &model).unwrap_or_else(|e| panic!("{e}\n{plan}"));
    let found = traced.equivalence.difference().unwrap_or_else(|| panic!("{:?}", traced.equivalence));
    assert!(found.outputs > 0 && found.max_rel < most, "{found:?}\n{plan}");
    // The masked model can be cut as well, and the first one is untouched.
    shrink::apply(&plan, &mut masked, set, forward).unwrap();
    assert!(same_bits(&base(&masked), &base(&smaller)));
    assert!(same_bits(&base(&model), &before));
    assert_eq!(trace.costs().macs(), plan.before.macs);
    assert_eq!(trace.costs().parameters, plan.before.parameters);
    let ratio = |a: u64, b: u64| a as f64 / b as f64;
    (ratio(plan.after.parameters, plan.before.parameters), ratio(plan.after.macs, plan.before.macs))
}
