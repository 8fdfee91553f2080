//! A masked channel means one thing, whoever masks it: a pruner with a trace, a plan, or a scan.

use crate::models::{Dense, Encoder, Norms, Residual, Shuffle};
use crate::{channels, pruner};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::analyze::sensitivity::{Scan, SensitivityError};
use pruning_burn::mask::{Bits, MaskSet, masks};
use pruning_burn::report::{Report, SkipReason, Warning};
use pruning_burn::shrink;
use pruning_burn::shrink::{RoundTo, ShrinkError, ShrinkPlan, Shrinker};
use pruning_burn::store::{load, save};
use pruning_burn::trace::{Scope, Trace};
use pruning_burn::{PruneError, Pruner};
use pruning_tests::models::{Cnn, Mlp, numbers};
use pruning_tests::shrinking::Shrinks;
use pruning_tests::values::{base, same_bits, weights};
use std::collections::BTreeMap;
use std::sync::Mutex;

fn traced<M: Shrinks>() -> (M, Trace) {
    let device = Device::flex();
    let model = M::new(&device);
    let trace = Trace::record(&model, |m: &M, s: &mut Scope| m.forward(s, &device)).unwrap();
    (model, trace)
}

fn cnn() -> (Cnn, Trace, Tensor<4>) {
    let device = Device::flex();
    let model = Cnn::new(&device, 1);
    let x = Tensor::from_data(TensorData::new(numbers(2 * 3 * 64, 4), [2, 3, 8, 8]), &device);
    let trace = Trace::record(&model, |m: &Cnn, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    });
    (model, trace.unwrap(), x)
}

/// Masks that remove something.
fn removing(masks: &MaskSet) -> BTreeMap<String, Bits> {
    let some = masks.iter().filter(|(_, mask)| mask.kept() < mask.len());
    some.map(|(path, mask)| (path.to_string(), mask.bits().clone())).collect()
}

fn same_as_the_plan<M: Shrinks>(pruner: &Pruner) -> Report {
    let (model, trace) = traced::<M>();
    let plan = Shrinker::new(pruner).plan(&model, &trace, None).unwrap();
    let (mut planned, mut pruned) = (model.clone(), model.clone());
    shrink::mask(&plan, &mut planned).unwrap();
    let report = pruner.clone().with_trace(&trace).prune(&mut pruned, None).unwrap();
    assert!(!plan.is_empty() && removing(&masks(&planned)) == removing(&masks(&pruned)), "{report}\n{plan}");
    // Everything that is gone from the plan's model is counted.
    let gone = |l: &pruning_burn::report::LayerReport| l.weights - l.kept;
    let removed: usize = report.layers.iter().chain(&report.followers).map(gone).sum();
    let (before, after) = (plan.before.parameters as usize, plan.after.parameters as usize);
    assert_eq!((report.parameters, removed), (before, before - after), "{report}\n{plan}");
    assert!(report.warnings.is_empty());
    report
}

#[test]
fn a_pruner_with_a_trace_masks_what_a_plan_does() {
    for more in ["", "allocator = \"global\"", "channel_score = \"own\""] {
        for pruner in [channels(0.5, more), channels(0.25, more)] {
            same_as_the_plan::<Residual>(&pruner);
            same_as_the_plan::<Dense>(&pruner);
            same_as_the_plan::<Shuffle>(&pruner);
            same_as_the_plan::<Norms>(&pruner);
            same_as_the_plan::<Encoder>(&pruner);
        }
    }
    let heads = "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = { kind = \"head\", size = 3 }\n\
         [target]\ninclude = [\"attention\"]\nexclude = [\"attention.out\"]";
    same_as_the_plan::<Encoder>(&pruner(heads));
    same_as_the_plan::<Residual>(&channels(0.5, "[[override]]\ntarget = \"inner\"\nsparsity = 0.8"));
    let input = "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = { kind = \"channel\", axis = \"input\" }";
    same_as_the_plan::<Residual>(&pruner(input));
}

#[test]
fn what_a_norm_puts_out_for_a_masked_channel_is_zero_with_a_trace_and_a_warning_without() {
    let (model, trace, x) = cnn();
    let silent = |model: &Cnn| -> Vec<bool> {
        let y = model.norm.forward(model.conv1.forward(x.clone())).abs();
        let most: Tensor<1> = y.swap_dims(0, 1).reshape([8, -1]).max_dim(1).flatten(0, 1);
        most.into_data().iter::<f32>().map(|most| most == 0.0).collect()
    };
    let (mut with, mut without) = (model.clone(), model.clone());
    let pruner = channels(0.5, "");
    let report = pruner.clone().with_trace(&trace).prune(&mut with, None).unwrap();
    assert_eq!(silent(&with).iter().filter(|silent| **silent).count(), 4, "{report}");
    assert!(report.warnings.is_empty());
    let report = pruner.prune(&mut without, None).unwrap();
    assert!(silent(&without).iter().all(|silent| !silent));
    let paths = ["conv1.weight", "conv2.weight", "head.weight"].map(String::from).to_vec();
    assert_eq!(report.warnings, [Warning::Untraced { paths }]);
    assert!(
        report.to_string().contains("warning: conv1.weight, conv2.weight, head.weight: masked channels"),
        "{report}"
    );
}

#[test]
fn no_warning_is_given_where_nothing_is_left() {
    let warned = |recipe: &str| {
        let recipe = format!("criterion = \"magnitude\"\nsparsity = 0.5\n{recipe}");
        !pruner(&recipe).prune(&mut Cnn::new(&Device::flex(), 1), None).unwrap().warnings.is_empty()
    };
    assert!(warned("granularity = \"channel\"") && warned("granularity = { kind = \"head\", size = 4 }"));
    assert!(!warned("granularity = \"element\""));
    // A channel that is not read is as good as gone.
    assert!(!warned("granularity = { kind = \"channel\", axis = \"input\" }"));
    let mut plain = burn::nn::LinearConfig::new(6, 4).with_bias(false).init(&Device::flex());
    assert!(channels(0.5, "").prune(&mut plain, None).unwrap().warnings.is_empty());
}

#[test]
fn reports_count_groups_once_and_all_that_follows() {
    let report = same_as_the_plan::<Residual>(&channels(0.5, ""));
    let layers: Vec<_> = report.layers.iter().map(|l| (l.path.as_str(), l.units, l.kept_units, l.asked)).collect();
    // The channels of `stem` are those of `outer`.
    assert_eq!(layers, [("stem.weight", 8, 4, 0.5), ("inner.weight", 6, 3, 0.5), ("outer.weight", 0, 0, 0.5)]);
    assert!((report.unit_sparsity() - 0.5).abs() < 1e-12 && (report.asked() - 0.5).abs() < 1e-12);
    let followers: Vec<_> = report.followers.iter().map(|l| (l.path.as_str(), l.weights, l.kept)).collect();
    let halved =
        [("stem.bias", 8, 4), ("norm.gamma", 8, 4), ("norm.beta", 8, 4), ("inner.bias", 6, 3), ("outer.bias", 8, 4)];
    assert_eq!(followers[..5], halved);
    assert_eq!(followers[5..], [("head.weight", 32, 16)]);
    let stays = report.skipped.iter().find(|s| s.path == "head.weight").unwrap();
    assert_eq!(stays.reason, SkipReason::ChannelsStay { why: "an output of the model".to_string() });
    assert_eq!(stays.reason.to_string(), "its channels stay: an output of the model");
    let text = report.to_string();
    assert!(text.contains("removed: 50.00 % of the units (asked 50.00 %)"), "{text}");
    assert!(text.contains("along with the channels: 35 of 70 entries of 6 parameters that are no targets"), "{text}");
    let read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn layers_that_share_channels_lose_what_the_most_careful_override_says() {
    let kept = |more: &str| same_as_the_plan::<Residual>(&channels(0.5, more)).layers[0].kept_units;
    let (stem, outer) =
        ("[[override]]\ntarget = \"stem\"\nsparsity = ", "[[override]]\ntarget = \"outer\"\nsparsity = ");
    assert_eq!(kept(&format!("{stem}0.75\n{outer}0.25")), 6);
    assert_eq!(kept(&format!("{stem}0.25\n{outer}0.75")), 6);
    // One that is left dense keeps the channels of both.
    let report = same_as_the_plan::<Residual>(&channels(0.5, &format!("{outer}0")));
    let paths: Vec<_> = report.layers.iter().map(|l| (l.path.as_str(), l.kept_units)).collect();
    assert_eq!(paths, [("inner.weight", 3), ("outer.weight", 8)]);
    assert!(
        report.skipped.iter().any(|s| s.path == "stem.weight" && s.reason.to_string().contains("is left out")),
        "{report}"
    );
}

#[test]
fn a_session_takes_whole_groups_round_by_round() {
    let (model, trace) = traced::<Residual>();
    let pruner = channels(0.75, "schedule = { kind = \"iterative\", rounds = 3 }").with_trace(&trace);
    let mut masked = model.clone();
    let mut session = pruner.start(&mut masked).unwrap();
    let mut before = removing(&masks(&masked));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.bpk");
    while !session.is_done() {
        let Some(report) = session.step(&mut masked, None).unwrap() else { continue };
        if before.is_empty() {
            save((&masked, &session), &file).unwrap();
        }
        assert!((report.unit_sparsity() - report.asked()).abs() < 1.0 / 14.0, "{report}");
        let after = removing(&masks(&masked));
        for (path, bits) in &before {
            let mut both = bits.clone();
            both.intersect(&after[path]);
            assert_eq!(both, after[path], "{path}: what is pruned stays pruned");
        }
        // Biases and norms follow in every round.
        assert_eq!(after["norm.gamma"].count_ones(), report.layers[0].kept_units);
        before = after;
    }
    assert_eq!(before["norm.gamma"].count_ones(), 2);
    // A session that was saved after its first round comes to the same.
    let mut loaded = Residual::new(&Device::flex());
    let mut session = load(&file).and_then(|file| file.into_session(&mut loaded, &pruner)).unwrap();
    while !session.is_done() {
        session.step(&mut loaded, None).unwrap();
    }
    assert_eq!(removing(&masks(&loaded)), before);
    assert!(same_bits(
        &base(&model),
        &base(&{
            let mut open = masked.clone();
            pruning_burn::mask::undo(&mut open).unwrap();
            open
        })
    ));
}

#[test]
fn a_scan_removes_what_a_pruning_of_that_layer_removes() {
    let (model, trace) = traced::<Residual>();
    let pruner = channels(0.5, "").with_trace(&trace);
    let seen = Mutex::new(Vec::new());
    let look = |m: &Residual| {
        seen.lock().unwrap().push(removing(&masks(m)));
        1.0
    };
    let mut found = Scan::new(&pruner).with_sparsities([0.5]).run(&model, look).unwrap();
    // `outer` shares the channels of `stem`, those of `head` stay.
    let layers: Vec<_> = found.layers.iter().map(|l| (l.path.as_str(), l.units, l.weights)).collect();
    assert_eq!(layers, [("stem.weight", 8, 8 * 27 + 8 * 54), ("inner.weight", 6, 6 * 72)]);
    let seen = seen.into_inner().unwrap();
    for (include, seen) in [("[\"stem\", \"outer\"]", &seen[1]), ("[\"inner\"]", &seen[2])] {
        let mut alone = model.clone();
        let recipe = channels(0.5, &format!("[target]\ninclude = {include}"));
        recipe.with_trace(&trace).prune(&mut alone, None).unwrap();
        assert_eq!(&removing(&masks(&alone)), seen, "{include}");
    }
    // What it suggests is removed with the trace as well.
    let suggested = found.suggest_for(0.5).unwrap().apply(&pruner);
    assert!(suggested.prune(&mut model.clone(), None).unwrap().warnings.is_empty());
    // A scan without the trace measures something else.
    let error = Scan::new(&channels(0.5, "")).with_sparsities([0.5]).resume(&model, &mut found, |_| 1.0).unwrap_err();
    assert!(matches!(error, SensitivityError::OtherLayers { .. }), "{error}");
}

#[test]
fn single_weights_beside_channels_are_chosen_from_what_is_left() {
    let (model, trace, _) = cnn();
    let more = "[[override]]\ntarget = \"head\"\nsparsity = 0.75\ngranularity = \"element\"";
    let mut pruned = model.clone();
    let report = channels(0.5, more).with_trace(&trace).prune(&mut pruned, None).unwrap();
    let head = report.layers.iter().find(|l| l.path == "head.weight").unwrap();
    // Half of its inputs are gone, and a quarter of its weights is left.
    assert_eq!((head.kept, head.kept_units, head.asked), (8, 8, 0.75), "{report}");
    assert_eq!(report.layers.iter().map(|l| l.kept_units).collect::<Vec<_>>(), [4, 4, 8]);
}

#[test]
fn a_trace_of_another_model_is_an_error_and_changes_nothing() {
    let (_, trace) = traced::<Residual>();
    let mut model = Cnn::new(&Device::flex(), 1);
    let before = base(&model);
    let error = channels(0.5, "").with_trace(&trace).prune(&mut model, None).unwrap_err();
    assert!(matches!(&error, PruneError::Channels(e) if matches!(**e, ShrinkError::OtherModel { .. })), "{error}");
    let error = channels(0.5, "").with_trace(&trace).start(&mut model).unwrap_err();
    assert!(matches!(&error, PruneError::Channels(_)), "{error}");
    assert!(same_bits(&base(&model), &before) && masks(&model).is_empty());
}

#[test]
fn absurd_floors_and_multiples_are_typed_errors() {
    let (model, trace) = traced::<Residual>();
    let shrinker = || Shrinker::new(&channels(0.5, ""));
    assert_eq!(shrinker().with_min_keep(0).plan(&model, &trace, None), Err(ShrinkError::MinKeep));
    assert_eq!(shrinker().with_round_to(RoundTo::Multiple(0)).plan(&model, &trace, None), Err(ShrinkError::Multiple));
    let kept = |plan: ShrinkPlan| plan.groups.iter().map(|g| g.kept).collect::<Vec<_>>();
    // A group that has no more than that keeps all of it.
    assert_eq!(kept(shrinker().with_min_keep(usize::MAX).plan(&model, &trace, None).unwrap()), [8, 6]);
    for shrinker in [
        shrinker().with_min_keep(7).with_round_to(RoundTo::Multiple(usize::MAX)),
        shrinker().with_round_to(RoundTo::Multiple(usize::MAX)),
        shrinker().with_min_keep(usize::MAX - 1).with_round_to(RoundTo::Multiple(5)),
    ] {
        match shrinker.plan(&model, &trace, None) {
            Ok(plan) => assert_eq!(kept(plan), [8, 6]),
            Err(error) => assert!(matches!(error, ShrinkError::RoundTo { .. }), "{error}"),
        }
    }
    // There is no recipe that would let a group be empty.
    let most = channels(0.99, "allocator = \"global\"");
    let error = Shrinker::new(&most).with_min_keep(4).plan(&model, &trace, None).unwrap_err().to_string();
    assert!(error.contains("limits of the layers") && !error.contains("allow_empty"), "{error}");
}

/// Sums of absolute values of a weight `[rows, cols]` along one of its axes, added one by one.
fn sums(values: &[f32], cols: usize, by_row: bool) -> Vec<f64> {
    let mut sums = vec![0.0; if by_row { values.len() / cols } else { cols }];
    values.iter().enumerate().for_each(|(i, v)| sums[if by_row { i / cols } else { i % cols }] += f64::from(v.abs()));
    sums
}

fn highest(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[test]
fn a_channel_is_scored_by_its_own_weights_or_by_all_of_its_group() {
    let device = Device::flex();
    let model = Mlp::new(&device, 3);
    let x = Mlp::input(6, &device);
    let forward = |m: &Mlp, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    };
    let trace = Trace::record(&model, forward).unwrap();
    // Burn keeps `[in, out]`: hidden channels are columns of the first weight and rows of the second.
    let own = sums(&weights(&model, "fc1.weight"), 16, false);
    let next = sums(&weights(&model, "fc2.weight"), 8, true);
    let group: Vec<f64> = own.iter().zip(&next).map(|(a, b)| a + b).collect();
    let mut kept = Vec::new();
    for (score, expected) in [("own", highest(&own, 8)), ("group", highest(&group, 8))] {
        let pruner = channels(0.5, &format!("channel_score = \"{score}\""));
        let plan = Shrinker::new(&pruner).plan(&model, &trace, None).unwrap();
        assert_eq!(plan.parameters["fc1.weight"].keep[&1], expected, "{score}");
        kept.push(expected);
    }
    assert_ne!(kept[0], kept[1], "the two scores differ");
    // Its own weights are what a pruning without a trace goes by.
    let mut alone = model.clone();
    channels(0.5, "").prune(&mut alone, None).unwrap();
    let columns = sums(&weights(&alone, "fc1.weight"), 16, false);
    assert_eq!((0..16).filter(|&c| columns[c] > 0.0).collect::<Vec<_>>(), kept[0]);
}

#[test]
fn costs_are_told_for_one_sample_too() {
    let device = Device::flex();
    let model = Mlp::new(&device, 3);
    let record = |batch: usize, other: usize| {
        let (x, y) = (Mlp::input(batch, &device), Mlp::input(other, &device));
        Trace::record(&model, |m: &Mlp, s: &mut Scope| {
            let (x, y) = (s.input(&x), s.input(&y));
            s.output(m.forward(x));
            s.output(m.forward(y));
        })
        .unwrap()
    };
    let one = 2 * (12 * 16 + 16 * 8);
    let trace = record(6, 6);
    let costs = trace.costs();
    assert_eq!((costs.batch, costs.macs(), costs.macs_of_one()), (Some(6), 6 * one, Some(one)));
    assert!(costs.to_string().contains("3840 MACs (640 of one of the 6 samples)"), "{costs}");
    let plan = Shrinker::new(&channels(0.5, "")).plan(&model, &trace, None).unwrap();
    assert!(plan.to_string().ends_with("; of one of the 6 samples 640 -> 320"), "{plan}");
    assert_eq!(ShrinkPlan::from_json(&plan.to_json()).unwrap().batch, Some(6));
    // CriterionInputs that do not agree say nothing, and one sample is all there is.
    assert_eq!((record(6, 2).batch(), record(6, 2).costs().macs_of_one()), (None, None));
    assert!(!record(1, 1).costs().to_string().contains("samples"));
}

#[test]
fn a_score_that_is_no_number_names_the_parameter_that_has_it() {
    let device = Device::flex();
    let (model, trace, _) = cnn();
    // `head` reads the channels of `conv2`, whose scores it counts for, target or not.
    let mut model = model;
    let mut values = weights(&model, "head.weight");
    values[9] = f32::INFINITY;
    model.head.weight = burn::module::Param::from_tensor(Tensor::from_data(TensorData::new(values, [8, 4]), &device));
    for more in ["", "[target]\nexclude = [\"head\"]"] {
        let error = Shrinker::new(&channels(0.5, more)).plan(&model, &trace, None).unwrap_err().to_string();
        assert!(error.starts_with("head.weight: criterion magnitude: score inf at index 9 is not finite"), "{error}");
        assert!(error.ends_with("repair the weights"), "{error}");
    }
    Shrinker::new(&channels(0.5, "channel_score = \"own\"")).plan(&model, &trace, None).unwrap();
}
