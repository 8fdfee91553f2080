//! Channels: masked with all that depends on them, or removed.

use super::{Net, correlated, pass, pruner};
use burn::backend::Flex;
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use pruning_burn::calibrate::Calibration;
use pruning_burn::mask::{masks, undo};
use pruning_burn::score::{CriterionInputs, Need};
use pruning_burn::shrink::{self, Fields, Shrinker};
use pruning_burn::trace::{Trace, Values};

const CHANNELS: &str = "sparsity = 0.5\ncriterion = \"magnitude\"\ngranularity = \"channel\"\ntarget = { include = [\"fc1.weight\"] }\nreconstruct = { name = \"least_squares\", damp = 1e-9 }";

fn traced(model: &Net, x: &Tensor<2>) -> Trace {
    Trace::record(model, |model, scope| pass(model, x, scope)).unwrap()
}

fn distance(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    (a.clone() - b.clone()).square().mean().into_scalar::<f64>()
}

#[test]
fn readers_of_masked_channels_are_reconstructed() {
    let device = Device::flex();
    let dense = Net::new(1, &device);
    let x = correlated(400, 12, &device);
    let y = dense.forward(x.clone());
    let pruner = pruner(CHANNELS).with_trace(&traced(&dense, &x));
    let calibration = Calibration::collect(&dense, pruner.needs(), [&x], pass).unwrap();
    let mut model = dense.clone();
    pruner.prune(&mut model, &CriterionInputs::from(&calibration)).unwrap();
    let plain = {
        let mut model = dense.clone();
        let recipe = CHANNELS.split("\nreconstruct").next().unwrap();
        super::pruner(recipe).with_trace(&traced(&dense, &x)).prune(&mut model, None).unwrap();
        model
    };
    assert_eq!(masks(&model).get("fc2.weight"), masks(&plain).get("fc2.weight"));
    assert!(distance(&model.forward(x.clone()), &y) < 0.6 * distance(&plain.forward(x.clone()), &y));
    // The layer that makes the channels stays as it is.
    let zeroed = |net: &Net| net.fc1.weight.val().into_data();
    assert_eq!(zeroed(&model), zeroed(&plain));
    undo(&mut model).unwrap();
    assert_eq!(model.forward(x).into_data(), y.into_data());
}

#[test]
fn removed_channels_are_made_up_for_by_their_readers() {
    let device = Device::flex();
    let dense = Net::new(2, &device);
    let x = correlated(400, 12, &device);
    let y = dense.forward(x.clone());
    let pruner = pruner(CHANNELS);
    let trace = traced(&dense, &x);
    let plan = Shrinker::new(&pruner).plan(&dense, &trace, None).unwrap();
    let cut = |mut model: Net| {
        shrink::apply(&plan, &mut model, |_: &mut Net, _: &mut Fields| {}, |model, scope| pass(model, &x, scope))
            .unwrap();
        model.forward(x.clone())
    };
    let calibration = Calibration::collect(&dense, pruner.needs(), [&x], pass).unwrap();
    let mut rebuilt = dense.clone();
    let told = shrink::reconstruct(&plan, &mut rebuilt, &pruner, &CriterionInputs::from(&calibration)).unwrap();
    assert_eq!(told.parameters, ["fc2.weight", "fc2.bias"]);
    assert!(distance(&cut(rebuilt), &y) < 0.6 * distance(&cut(dense.clone()), &y));
}

#[test]
fn constant_units_are_moved_into_the_bias_as_fold_does() {
    let device = Device::flex();
    let mut dense = Net::new(3, &device);
    let x = correlated(400, 12, &device);
    let pruner = pruner(CHANNELS);
    let plan = Shrinker::new(&pruner).plan(&dense, &traced(&dense, &x), None).unwrap();
    // What is removed is constant.
    let keep = &plan.parameters["fc1.weight"].keep[&1];
    let mut weight = dense.fc1.weight.val().into_data().iter::<f32>().collect::<Vec<_>>();
    weight.iter_mut().enumerate().filter(|(i, _)| !keep.contains(&(i % 16))).for_each(|(_, w)| *w = 0.0);
    dense.fc1.weight = Param::from_tensor(Tensor::<1>::from_floats(weight.as_slice(), &device).reshape([12, 16]));
    dense.fc1.bias = Some(Param::from_tensor(Tensor::ones([16], &device)));
    let trace = traced(&dense, &x);
    let calibration = Calibration::collect(&dense, pruner.needs(), [&x], pass).unwrap();
    let (mut folded, mut rebuilt) = (dense.clone(), dense.clone());
    shrink::fold::<Flex, _>(&plan, &trace, &mut folded, Values::new().with(x.clone())).unwrap();
    shrink::reconstruct(&plan, &mut rebuilt, &pruner, &CriterionInputs::from(&calibration)).unwrap();
    let bias = |net: &Net| net.fc2.bias.as_ref().unwrap().val();
    let worst = (bias(&folded) - bias(&rebuilt)).abs().max().into_scalar::<f32>();
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn inputs_far_from_zero_are_reconstructed_like_others() {
    let device = Device::flex();
    let mut dense = Net::new(4, &device);
    // Half of what the second layer sees is always the same, and the other half varies by a hundredth of its mean.
    let bias = Tensor::<1>::from_floats([500.0; 16], &device);
    dense.fc1.bias = Some(Param::from_tensor(bias));
    let weight = dense.fc1.weight.val();
    dense.fc1.weight = Param::from_tensor(weight.slice_fill([0..12, 8..16], 0.0));
    let x = correlated(400, 12, &device);
    let y = dense.forward(x.clone());
    let target = "sparsity = 0.5\ncriterion = \"magnitude\"\ntarget = { include = [\"fc2.weight\"] }";
    let lost = |more: &str| {
        let pruner = super::pruner(&format!("{target}{more}"));
        let calibration = Calibration::collect(&dense, pruner.needs() | Need::INPUT_NORM, [&x], pass).unwrap();
        let mut model = dense.clone();
        pruner.prune(&mut model, &CriterionInputs::from(&calibration)).unwrap();
        distance(&model.forward(x.clone()), &y)
    };
    let mask = lost("");
    let solved = lost("\nreconstruct = { name = \"least_squares\", damp = 1e-6 }");
    // The bias takes what is constant, so only what varies is lost.
    assert!(solved < 1e-4 * mask, "{solved} of {mask}");
}
