//! Before and after a pruning: sensitivities, statistics of batch norms, distillation.

use crate::pruner;
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_burn::analyze::distillation::Distillation;
use pruning_burn::analyze::recalibrate_batch_norm;
use pruning_burn::analyze::sensitivity::Scan;
use pruning_burn::mask::finish;
use pruning_tests::models::{Mlp, filled, numbers};
use pruning_tests::values::{base, same_bits, weights};
use serde::Deserialize;

pub(crate) fn sensitivities_are_those_of_one_layer_pruned_alone(device: &Device) {
    let model = Mlp::new(device, 3);
    let before = base(&model);
    let x = Mlp::input(8, device);
    let wanted = model.forward(x.clone()).into_data().iter::<f64>().collect::<Vec<_>>();
    let loss = |model: &Mlp| {
        let got = model.forward(x.clone()).into_data();
        got.iter::<f64>().zip(&wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
    };
    for granularity in ["element", "channel", "2:4"] {
        let recipe = |more: &str| format!("criterion = \"magnitude\"\ngranularity = \"{granularity}\"\n{more}");
        let pruner_of_all = pruner(&recipe(if granularity == "2:4" { "" } else { "sparsity = 0.5" }));
        let found = Scan::new(&pruner_of_all).with_sparsities([0.75, 0.25, 0.5, 0.25]).run(&model, loss).unwrap();
        assert_eq!(found.dense, 0.0);
        let paths: Vec<_> = found.layers.iter().map(|l| l.path.as_str()).collect();
        assert_eq!(paths, ["fc1.weight", "fc2.weight"]);
        for layer in &found.layers {
            assert_eq!(layer.points.len(), 3);
            for point in &layer.points {
                let sparsity = point.sparsity.value();
                // A pattern of 2:4 goes no further than half, and passes through 3:4 before it.
                let by_hand = match granularity {
                    "2:4" => {
                        let n = if sparsity < 0.5 { 3 } else { 2 };
                        pruner(&format!(
                            "criterion = \"magnitude\"\ngranularity = \"{n}:4\"\ntarget = {{ include = [\"{}\"] }}",
                            layer.path
                        ))
                    }
                    _ => pruner(&recipe(&format!(
                        "sparsity = {sparsity}\ntarget = {{ include = [\"{}\"] }}",
                        layer.path
                    ))),
                };
                let mut alone = model.clone();
                by_hand.prune(&mut alone, None).unwrap();
                finish(&mut alone).unwrap();
                let expected = loss(&alone);
                let error = (point.value - expected).abs() / expected;
                assert!(expected > 0.0 && error < 1e-5, "{} {sparsity}: {} {expected}", layer.path, point.value);
            }
        }
        let threads = Scan::new(&pruner_of_all).with_sparsities([0.25, 0.5, 0.75]).with_threads(3);
        assert_eq!(threads.run(&model, loss).unwrap(), found);
    }
    assert!(same_bits(&base(&model), &before));
}

/// Two batch norms, and something between them that is random in training.
#[derive(Module, Debug)]
struct Normed {
    fc: Linear,
    first: BatchNorm,
    dropout: Dropout,
    second: BatchNorm,
}

impl Normed {
    fn new(device: &Device, momentum: f64) -> Self {
        let norm = || BatchNormConfig::new(5).with_momentum(momentum).init(device);
        let fc = LinearConfig::new(4, 5).init(device);
        filled(Self { fc, first: norm(), dropout: DropoutConfig::new(0.5).init(), second: norm() }, 9)
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.dropout.forward(self.first.forward(self.fc.forward(x))))
    }
}

fn close(got: &[f32], expected: &[f64], bound: f64) {
    let largest = expected.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    let far = got.iter().zip(expected).any(|(a, b)| (f64::from(*a) - b).abs() > bound * largest);
    assert!(got.len() == expected.len() && !far, "{got:?} {expected:?}");
}

pub(crate) fn recalibrated_statistics_are_averages_over_batches(device: &Device) {
    let device = device.clone().autodiff();
    for momentum in [0.1, 1.0, 0.02] {
        let mut model = Normed::new(&device, momentum);
        pruner("criterion = \"magnitude\"\nsparsity = 0.5").prune(&mut model, None).unwrap();
        // Statistics that Burn has not merged yet are no matter either.
        let batch = |rows: usize, seed| Tensor::from_data(TensorData::new(numbers(4 * rows, seed), [rows, 4]), &device);
        model.forward(batch(6, 50));
        let clone = model.valid().train();
        let shared = model.clone();
        let (before, kept) = (base(&clone), base(&shared));
        let batches: Vec<Tensor<2>> = vec![batch(8, 1), batch(8, 2), batch(3, 3)];
        recalibrate_batch_norm(&mut model, &batches, |model: &Normed, x: &Tensor<2>| model.forward(x.clone())).unwrap();

        // By hand: means and variances of each batch, then their mean; the second norm sees what the first normalized.
        let (gamma, beta) = (weights(&model, "first.gamma"), weights(&model, "first.beta"));
        let mut sums = [[0.0; 5]; 4];
        for x in &batches {
            let y: Vec<f64> = model.fc.forward(x.clone()).into_data().iter::<f64>().collect();
            for channel in 0..5 {
                let column: Vec<f64> = y.iter().skip(channel).step_by(5).copied().collect();
                let mean = column.iter().sum::<f64>() / column.len() as f64;
                let variance = column.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / column.len() as f64;
                let gamma = f64::from(gamma[channel]);
                let second = gamma * gamma * variance / (variance + 1e-5);
                let each = [mean, variance, f64::from(beta[channel]), second];
                sums.iter_mut().zip(each).for_each(|(sum, v)| sum[channel] += v / batches.len() as f64);
            }
        }
        let bound = 1e-6 / momentum + 1e-5;
        for (path, expected) in
            ["first.running_mean", "first.running_var", "second.running_mean", "second.running_var"].iter().zip(sums)
        {
            close(&weights(&model, path), &expected, bound);
        }

        // Everything else is what it was, in the copies too, and training goes on.
        let mut after = base(&model);
        for (path, value) in &before {
            if path.contains("running") {
                assert_ne!(after.insert(path.clone(), value.clone()).as_ref(), Some(value), "{path}");
            }
        }
        assert!(same_bits(&after, &before));
        assert!(same_bits(&base(&shared), &kept) && same_bits(&base(&clone), &before));
        let loss = model.forward(batch(6, 51)).square().mean();
        assert!(model.fc.weight.base().grad(&loss.backward()).is_some());
        let moved = weights(&model.valid(), "first.running_mean");
        assert_ne!(moved, weights(&shared.valid(), "first.running_mean"));

        // A model for inference stays one.
        let mut plain = shared.valid();
        recalibrate_batch_norm(&mut plain, &batches, |model: &Normed, x: &Tensor<2>| model.forward(x.clone())).unwrap();
        close(&weights(&plain, "first.running_var"), &sums[1], bound);
        assert!(!plain.fc.weight.val().is_autodiff() && !plain.first.running_mean.value().is_autodiff());
    }
}

#[derive(Deserialize)]
struct Case {
    batch: usize,
    classes: usize,
    temperature: f64,
    alpha: f64,
    student: Vec<f32>,
    teacher: Vec<f32>,
    labels: Vec<i32>,
    soft: f64,
    loss: f64,
    gradient: Vec<f64>,
}

pub(crate) fn distillation_is_that_of_torch(device: &Device) {
    let text = include_str!("../vectors/distillation.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 4);
    let training = device.clone().autodiff();
    for case in cases {
        let shape = [case.batch, case.classes];
        let logits =
            |values: &[f32], device: &Device| Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), device);
        let student = logits(&case.student, &training).require_grad();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(case.labels, [case.batch]), &training);
        let distillation = Distillation::default().with_temperature(case.temperature).with_alpha(case.alpha);
        // The teacher in training or for inference: it takes no gradient.
        for on in [device, &training] {
            let teacher = logits(&case.teacher, on);
            let teacher = if teacher.is_autodiff() { teacher.require_grad() } else { teacher };
            let soft = distillation.soft_loss(student.clone(), teacher.clone()).unwrap();
            close(&[soft.into_scalar::<f32>()], &[case.soft], 1e-5);
            let loss = distillation.loss(student.clone(), teacher.clone(), labels.clone()).unwrap();
            close(&[loss.clone().into_scalar::<f32>()], &[case.loss], 1e-5);
            let gradients = loss.backward();
            let gradient: Vec<f32> = student.grad(&gradients).unwrap().into_data().iter::<f32>().collect();
            close(&gradient, &case.gradient, 1e-5);
            assert!(!teacher.is_autodiff() || teacher.grad(&gradients).is_none());
        }
    }
}
