//! What cannot be shrunken, and what is said then.

use crate::models::{Branches, Encoder, Norms, Residual, Shuffle, Stock};
use crate::{channels, pruner};
use burn::tensor::Device;
use pruning_burn::Pruner;
use pruning_burn::mask::masks;
use pruning_burn::shrink;
use pruning_burn::shrink::{CostTarget, Fields, PlanError, RoundTo, ShrinkError, ShrinkPlan, Shrinker};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::shrinking::Shrinks;
use pruning_tests::values::{base, same_bits};

fn traced<M: Shrinks>() -> (M, Trace) {
    let device = Device::flex();
    let model = M::new(&device);
    let trace = Trace::record(&model, |m: &M, s: &mut Scope| m.forward(s, &device)).unwrap();
    (model, trace)
}

fn plan<M: Shrinks>(pruner: &Pruner) -> Result<ShrinkPlan, ShrinkError> {
    let (model, trace) = traced::<M>();
    Shrinker::new(pruner).plan(&model, &trace, None)
}

fn says<M: Shrinks>(pruner: &Pruner) -> String {
    plan::<M>(pruner).unwrap_err().to_string()
}

#[test]
fn an_output_layer_is_no_target() {
    let include = |path: &str| channels(0.5, &format!("[target]\ninclude = [\"{path}\"]"));
    assert_eq!(says::<Residual>(&include("head")), "no channels can be removed: head.weight: an output of the model");
    let both = channels(0.5, "[target]\ninclude = [\"head\", \"inner\"]");
    assert_eq!(says::<Residual>(&both), "head.weight: its channels cannot be removed: an output of the model");
    let idle = channels(0.5, "[[override]]\ntarget = \"head\"\nsparsity = 0.5");
    assert!(matches!(plan::<Residual>(&idle), Err(ShrinkError::Fixed { .. })));
    // Burn's attention cannot lose heads, and says so.
    let error = says::<Stock>(&include("*.query"));
    assert!(error.contains("pruning_burn::nn::MultiHeadAttention"), "{error}");
}

#[test]
fn granularities_that_leave_shapes_are_refused() {
    for granularity in ["\"element\"", "{ kind = \"block\", rows = 2, cols = 2 }"] {
        let recipe = format!("criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = {granularity}");
        assert!(says::<Residual>(&pruner(&recipe)).contains("only channels and heads can be removed"));
    }
    let mixed = channels(0.5, "[[override]]\ntarget = \"inner\"\nsparsity = 0.5\ngranularity = \"element\"");
    let error = says::<Residual>(&mixed);
    assert!(error.starts_with("granularity element of an override, beside channel"), "{error}");
    let recipe = |size| {
        format!(
            "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = {{ kind = \"head\", size = {size} }}\n\
             [target]\ninclude = [\"attention.q\"]"
        )
    };
    assert_eq!(
        says::<Encoder>(&pruner(&recipe(4))),
        "attention.q.weight: its heads have 3 channels, and the recipe says 4"
    );
}

#[test]
fn floors_multiples_and_targets_hold() {
    let (model, trace) = traced::<Residual>();
    let shrinker = |sparsity| Shrinker::new(&channels(sparsity, ""));
    let kept = |plan: &ShrinkPlan| plan.groups.iter().map(|g| g.kept).collect::<Vec<_>>();
    assert_eq!(kept(&shrinker(0.999).plan(&model, &trace, None).unwrap()), [1, 1]);
    assert_eq!(kept(&shrinker(0.9).with_min_keep(3).plan(&model, &trace, None).unwrap()), [3, 3]);
    assert_eq!(kept(&shrinker(0.5).with_round_to(RoundTo::Multiple(3)).plan(&model, &trace, None).unwrap()), [3, 3]);
    assert_eq!(kept(&shrinker(0.0).plan(&model, &trace, None).unwrap()), [8, 6]);
    // 8 is the CPU's multiple: six channels have none.
    let error = shrinker(0.5).with_round_to(RoundTo::Device).plan(&model, &trace, None).unwrap_err();
    assert!(matches!(error, ShrinkError::RoundTo { multiple: 8, units: 6, .. }), "{error}");
    // A search for a target says the same.
    let error = shrinker(0.5)
        .with_round_to(RoundTo::Device)
        .with_target(CostTarget::Macs(0.5))
        .plan(&model, &trace, None)
        .unwrap_err();
    assert!(matches!(error, ShrinkError::RoundTo { multiple: 8, units: 6, .. }), "{error}");
    let error =
        shrinker(0.5).with_round_to(RoundTo::Multiple(4)).with_min_keep(5).plan(&model, &trace, None).unwrap_err();
    assert!(matches!(error, ShrinkError::RoundTo { .. }), "{error}");
    for fraction in [0.0, -1.0, 1.5, f64::NAN] {
        let error = shrinker(0.5).with_target(CostTarget::Macs(fraction)).plan(&model, &trace, None).unwrap_err();
        assert!(matches!(error, ShrinkError::Fraction { .. }), "{error}");
    }
    let error = shrinker(0.5).with_target(CostTarget::Parameters(0.001)).plan(&model, &trace, None).unwrap_err();
    assert!(matches!(error, ShrinkError::Unreachable { what: "parameters", .. }), "{error}");
    // More than all units but one of each.
    let global = channels(0.99, "allocator = \"global\"");
    assert!(matches!(plan::<Residual>(&global), Err(ShrinkError::Allocation(_))));
}

#[test]
fn a_plan_for_another_model_changes_nothing() {
    let device = Device::flex();
    let forward = |m: &Branches, s: &mut Scope| m.forward(s, &device);
    let (mut model, _) = traced::<Branches>();
    let before = base(&model);
    let nothing = |_: &mut Branches, _: &mut Fields| {};
    let other = plan::<Residual>(&channels(0.5, "")).unwrap();
    let error = shrink::apply(&other, &mut model, nothing, forward).unwrap_err();
    assert!(matches!(error, ShrinkError::OtherModel { .. }), "{error}");
    assert!(matches!(shrink::mask(&other, &mut model), Err(ShrinkError::OtherModel { .. })));
    let (_, trace) = traced::<Residual>();
    let error = Shrinker::new(&channels(0.5, "")).plan(&model, &trace, None).unwrap_err();
    assert!(matches!(error, ShrinkError::OtherModel { .. }), "{error}");

    let mut broken = plan::<Branches>(&channels(0.5, "")).unwrap();
    let cut = broken.parameters.values_mut().next().unwrap();
    cut.keep.values_mut().next().unwrap().push(1000);
    let error = shrink::apply(&broken, &mut model, nothing, forward).unwrap_err();
    assert!(matches!(error, ShrinkError::Plan(PlanError::Range { position: 1000, .. })), "{error}");
    assert!(same_bits(&base(&model), &before));
}

#[test]
fn fields_that_are_not_set_and_masks_that_would_be_lost_are_errors() {
    let device = Device::flex();
    let (mut model, trace) = traced::<Norms>();
    let before = base(&model);
    let forward = |m: &Norms, s: &mut Scope| m.forward(s, &device);
    let plan = Shrinker::new(&channels(0.5, "")).plan(&model, &trace, None).unwrap();
    let error = shrink::apply(&plan, &mut model, |_: &mut Norms, _: &mut Fields| {}, forward).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sizes outside of the parameters were not set: groups.num_channels = 6, groups.num_groups = 2, \
         instances.num_channels = 3; take each from `Fields` in the function given to `apply`"
    );
    // Taken and not set: the second trace finds out.
    let lie = |_: &mut Norms, fields: &mut Fields| {
        while let Some(path) = fields.open().first().map(|f| f.path.clone()) {
            fields.take(&path);
        }
    };
    let error = shrink::apply(&plan, &mut model, lie, forward).unwrap_err();
    assert!(matches!(error, ShrinkError::Broken { .. }), "{error}");

    let mut masked = model.clone();
    pruner("criterion = \"magnitude\"\nsparsity = 0.5").prune(&mut masked, None).unwrap();
    let set = |m: &mut Norms, f: &mut Fields| m.set(f);
    let error = shrink::apply(&plan, &mut masked, set, forward).unwrap_err();
    assert!(matches!(error, ShrinkError::Masked { .. }), "{error}");
    assert!(!masks(&masked).is_empty());
    assert!(same_bits(&base(&model), &before));
}

#[test]
fn code_with_sizes_written_down_is_found_out() {
    let device = Device::flex();
    let (mut model, trace) = traced::<Shuffle>();
    let before = base(&model);
    let plan = Shrinker::new(&channels(0.5, "")).plan(&model, &trace, None).unwrap();
    let set = |m: &mut Shuffle, f: &mut Fields| m.set(f);
    // Another forward than the one that was traced.
    let other = |m: &Shuffle, s: &mut Scope| {
        m.forward(s, &device);
        m.forward(s, &device);
    };
    let error = shrink::apply(&plan, &mut model, set, other).unwrap_err();
    assert!(error.to_string().starts_with("the smaller model does not run as planned"), "{error}");
    let panics = |_: &Shuffle, _: &mut Scope| panic!("a size of 8 was expected");
    let error = shrink::apply(&plan, &mut model, set, panics).unwrap_err();
    assert!(error.to_string().contains("a size of 8 was expected"), "{error}");
    assert!(same_bits(&base(&model), &before));
}

/// Targets are met to within a hundredth, where units are small enough.
#[test]
fn targets_of_parameters_and_macs_are_met() {
    let device = Device::flex().clone();
    let model = crate::random::wide(&device);
    let trace = Trace::record(&model, |m, s| crate::random::forward(m, s, &device)).unwrap();
    for fraction in [0.75, 0.5, 0.3] {
        for target in [CostTarget::Parameters(fraction), CostTarget::Macs(fraction)] {
            for allocator in ["uniform", "global", "budget"] {
                let pruner = channels(0.5, &format!("allocator = \"{allocator}\""));
                let plan = Shrinker::new(&pruner).with_target(target).plan(&model, &trace, None).unwrap();
                let reached = match target {
                    CostTarget::Parameters(_) => plan.after.parameters as f64 / plan.before.parameters as f64,
                    _ => plan.after.macs as f64 / plan.before.macs as f64,
                };
                assert!((reached - fraction).abs() < 0.01, "{target:?} {allocator}: {reached}");
            }
        }
    }
}
