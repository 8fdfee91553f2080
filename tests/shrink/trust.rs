//! Networks whose code reads sizes from tensors, fields and constants: what `apply` accepts computes what the dense module
//! computes with zeroed weights.
//!
//! `PRUNING_NETWORKS=10000 cargo test --workspace --test shrink -- what_is_accepted_is_exact` tries more of them.

mod network;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use network::{BATCH, LENGTH, Network, Size, Step, size, step};
use proptest::prelude::*;
use pruning_burn::shrink;
use pruning_burn::shrink::{Applied, Checks, Equivalence, Fields, ShrinkError, ShrinkPlan, Shrinker};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::numbers;
use pruning_tests::values::{base, same_bits};
use std::cell::Cell;

/// Zeroes what a plan removes, by the kept positions alone.
struct Zero<'a> {
    path: Vec<String>,
    plan: &'a ShrinkPlan,
}

impl ModuleMapper for Zero<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(cut) = self.plan.parameters.get(&self.path.join(".")) else { return param };
        param.map(|tensor| {
            let shape = tensor.dims();
            let mut values: Vec<f32> = tensor.to_data().iter::<f32>().collect();
            for (at, value) in values.iter_mut().enumerate() {
                let mut rest = at;
                for axis in (0..D).rev() {
                    let position = rest % shape[axis];
                    rest /= shape[axis];
                    if cut.keep.get(&axis).is_some_and(|keep| !keep.contains(&position)) {
                        *value = 0.0;
                    }
                }
            }
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}

/// The numbers that a module puts out.
fn run(model: &Network, device: &Device) -> Vec<f32> {
    let out = Cell::new(Vec::new());
    let trace = Trace::record(model, |m: &Network, s: &mut Scope| m.forward(s, device)).unwrap();
    let x = Tensor::<1>::from_floats(numbers(BATCH * LENGTH * 3, 21).as_slice(), device).reshape([BATCH, LENGTH, 3]);
    let values =
        trace.replay::<burn::backend::Flex, _>(model, pruning_burn::trace::Values::new().with::<3, _>(x)).unwrap();
    let numbers = match model.flat {
        None => values.get::<3, burn::tensor::Float>(0).unwrap().into_data(),
        Some(_) => values.get::<2, burn::tensor::Float>(0).unwrap().into_data(),
    };
    out.set(numbers.iter::<f32>().collect());
    out.into_inner()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// There was no plan.
    Unplanned,
    Refused,
    Applied,
}

type Case = (Vec<Step>, Option<Size>, f64, bool);

fn check((steps, flat, sparsity, heads): Case) -> Result<Outcome, TestCaseError> {
    let device = Device::flex();
    let model = Network::new(&steps, flat, &device);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let attends = model.steps.iter().any(|(step, _)| matches!(step, Step::Heads { .. }));
    let granularity = if heads && attends { "head" } else { "channel" };
    let recipe = format!("criterion = \"magnitude\"\ngranularity = \"{granularity}\"\nsparsity = {sparsity}");
    let plan = match Shrinker::new(&crate::pruner(&recipe)).plan(&model, &trace, None) {
        Ok(plan) if !plan.is_empty() => plan,
        Ok(_) => return Ok(Outcome::Unplanned),
        // Heads may not divide every layer, all channels may be tied.
        Err(_) => return Ok(Outcome::Unplanned),
    };
    let mut smaller = model.clone();
    let before = base(&model);
    let set = |m: &mut Network, f: &mut Fields| m.set(f);
    let applied = shrink::apply(&plan, &mut smaller, set, forward);
    if let Err(error) = applied {
        prop_assert!(same_bits(&base(&smaller), &before), "the model changed: {error}");
        let apart = matches!(error, ShrinkError::Apart { .. });
        prop_assert!(!apart, "only the numbers gave it away: {error}\n{plan}");
        return Ok(Outcome::Refused);
    }
    let zeroed = model.map(&mut Zero { path: Vec::new(), plan: &plan });
    let (expected, found) = (run(&zeroed, &device), run(&smaller, &device));
    prop_assert_eq!(expected.len(), found.len());
    if expected.iter().all(|x| x.is_finite()) {
        let largest = expected.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
        for (x, y) in expected.iter().zip(&found) {
            prop_assert!((x - y).abs() <= 1e-4 * largest, "{} is not {}\n{}", y, x, plan);
        }
    }
    Ok(Outcome::Applied)
}

#[test]
fn what_is_accepted_is_exact() {
    let cases = std::env::var("PRUNING_NETWORKS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let flat = prop_oneof![2 => Just(None), 1 => size().prop_map(Some)];
    let counts = [const { Cell::new(0_u32) }; 3];
    let networks = (prop::collection::vec(step(), 1..8), flat, 0.1..0.8f64, prop::bool::weighted(0.3));
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&networks, |case| {
        let count = &counts[check(case)? as usize];
        count.set(count.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let [unplanned, refused, applied] = counts.map(Cell::into_inner);
    eprintln!("{applied} applied, {refused} refused, {unplanned} without a plan");
    // A property of nothing would hold as well.
    assert!(applied > cases / 6 && refused > cases / 20, "{applied} applied, {refused} refused of {cases}");
}

const CHANNEL: &str = "granularity = \"channel\"\n[target]\nexclude = [\"head\"]";

/// Shrinks a network of these steps by half, with the checks that are given.
fn halved(steps: &[Step], what: &str, checks: &Checks) -> Result<Applied, ShrinkError> {
    let device = Device::flex();
    let mut model = Network::new(steps, None, &device);
    let before = base(&model);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let recipe = format!("criterion = \"magnitude\"\nsparsity = 0.5\n{what}");
    let plan = Shrinker::new(&crate::pruner(&recipe)).plan(&model, &trace, None).unwrap();
    let set = |m: &mut Network, f: &mut Fields| m.set(f);
    let applied = checks.apply(&plan, &mut model, set, forward);
    assert_eq!(applied.is_err(), same_bits(&base(&model), &before));
    applied
}

#[test]
fn an_operation_with_another_size_is_named() {
    let heads = |fused, both| Step::Heads { heads: 2, by_size: false, both, scale: Size::Live, fused };
    let head = "granularity = \"head\"";
    let channel = CHANNEL;
    let cases = [
        (heads(true, false), head, "swap_dims"),
        (Step::Mean(Size::Live), channel, "div_scalar"),
        (Step::Rms(Size::Live), channel, "div_scalar"),
        (Step::Scale(Size::Live), channel, "div_scalar"),
        (heads(false, false), channel, "div_scalar"),
    ];
    for (step, granularity, names) in cases {
        let steps = [Step::Linear { to: 12 }, step.clone(), Step::Linear { to: 5 }];
        // The operations give it away, whatever the numbers are.
        let applied = halved(&steps, granularity, &Checks::new().without_equivalence());
        let Err(error) = applied else { panic!("{step:?} was accepted") };
        let ShrinkError::Departs { operation, near, predicted, found, .. } = &error else {
            panic!("{step:?}: {error}")
        };
        assert!(operation.contains(names) || predicted.contains(names), "{step:?}: {error}");
        assert!(near.starts_with("linears.") && predicted != found, "{step:?}: {error}");
    }
}

#[test]
fn a_smaller_model_is_compared_by_its_numbers_as_well() {
    let steps = [Step::Linear { to: 12 }, Step::Activation { which: 0 }, Step::Linear { to: 6 }];
    let applied = halved(&steps, CHANNEL, &Checks::new()).unwrap();
    let found = applied.equivalence.difference().unwrap();
    assert!(found.outputs == BATCH * LENGTH * 3 && found.max_rel < 1e-5, "{found:?}");
    // No two sums of floats in another order are that close.
    let error = halved(&steps, CHANNEL, &Checks::new().with_tolerance(-1.0)).unwrap_err();
    assert!(matches!(error, ShrinkError::Apart { tolerance: -1.0, .. }), "{error}");
    // A tolerance that is no number allows nothing.
    let error = halved(&steps, CHANNEL, &Checks::new().with_tolerance(f64::NAN)).unwrap_err();
    assert!(matches!(error, ShrinkError::Apart { .. }), "{error}");
    let unchecked = halved(&steps, CHANNEL, &Checks::new().without_equivalence()).unwrap();
    assert!(matches!(unchecked.equivalence, Equivalence::NotChecked { .. }));
}

#[test]
fn a_model_that_carries_the_masks_of_the_plan_is_checked_as_well() {
    let device = Device::flex();
    let mut model = Network::new(&[Step::Linear { to: 12 }, Step::Activation { which: 0 }], None, &device);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let plan = Shrinker::new(&crate::channels(0.5, "")).plan(&model, &trace, None).unwrap();
    shrink::mask(&plan, &mut model).unwrap();
    let applied = shrink::apply(&plan, &mut model, |_: &mut Network, _: &mut Fields| {}, forward).unwrap();
    assert!(matches!(applied.equivalence, Equivalence::Checked(_)), "{applied:?}");
}

#[test]
fn a_setter_that_builds_a_layer_anew_is_found_out() {
    let device = Device::flex();
    let mut model = Network::new(&[Step::Linear { to: 12 }], None, &device);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let plan = Shrinker::new(&crate::channels(0.5, "")).plan(&model, &trace, None).unwrap();
    let before = base(&model);
    let anew = |m: &mut Network, _: &mut Fields| {
        let [inputs, outputs] = m.head.weight.dims();
        m.head = burn::nn::LinearConfig::new(inputs, outputs).init(&device);
    };
    let error = shrink::apply(&plan, &mut model, anew, forward).unwrap_err();
    assert!(matches!(&error, ShrinkError::Changed { path } if path == "head.weight"), "{error}");
    // The same parameter with other numbers.
    let doubled = |m: &mut Network, _: &mut Fields| m.head.bias = m.head.bias.take().map(|b| b.map(|b| b * 2.0));
    let error = shrink::apply(&plan, &mut model, doubled, forward).unwrap_err();
    assert!(matches!(&error, ShrinkError::Changed { path } if path == "head.bias"), "{error}");
    assert!(same_bits(&base(&model), &before));
}

#[test]
fn a_plan_that_cuts_only_one_side_is_refused() {
    let device = Device::flex();
    let mut model = Network::new(&[Step::Linear { to: 12 }], None, &device);
    let forward = |m: &Network, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let plan = Shrinker::new(&crate::channels(0.5, "")).plan(&model, &trace, None).unwrap();
    let before = base(&model);
    let nothing = |_: &mut Network, _: &mut Fields| {};

    let mut one_side = plan.clone();
    one_side.parameters.remove("linears.1.weight").unwrap();
    let error = shrink::apply(&one_side, &mut model, nothing, forward).unwrap_err();
    assert!(matches!(&error, ShrinkError::Uncoupled { path, .. } if path == "linears.1.weight"), "{error}");

    let mut outputs = plan.clone();
    outputs.parameters.get_mut("head.weight").unwrap().keep.insert(1, vec![0, 2]);
    let error = shrink::apply(&outputs, &mut model, nothing, forward).unwrap_err();
    let says = "the plan does not fit what the forward does: a position that must stay would be removed too: an output of the model";
    assert_eq!(error.to_string(), says);

    let panics = |_: &mut Network, _: &mut Fields| panic!("no such field");
    let error = shrink::apply(&plan, &mut model, panics, forward).unwrap_err();
    assert_eq!(error.to_string(), "the function that sets the fields panicked: no such field");
    assert!(same_bits(&base(&model), &before));
}
