//! What recalibration and distillation refuse, and evaluations that change statistics.

use burn::module::Module;
use burn::nn::BatchNormConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_burn::Pruner;
use pruning_burn::analyze::distillation::{Distillation, DistillationError};
use pruning_burn::analyze::sensitivity::Scan;
use pruning_burn::analyze::{RecalibrationError, recalibrate_batch_norm};
use pruning_tests::models::{Cnn, Mlp, numbers};
use pruning_tests::values::{base, same_bits};

fn images(seed: u64, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(numbers(4 * 3 * 64, seed), [4, 3, 8, 8]), device)
}

#[test]
fn an_evaluation_in_training_mode_changes_no_statistics() {
    let device = Device::flex().autodiff();
    let model = Cnn::new(&device, 1);
    let before = base(&model.valid());
    let pruner = Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.5", &pruning_plugins::all()).unwrap();
    // What it gives depends on the statistics that the training step before it left.
    let evaluate = |model: &Cnn| {
        drop(model.forward(images(1, &device)));
        let plain = device.clone().without_autodiff();
        model.valid().forward(images(2, &plain)).abs().sum().into_scalar::<f64>()
    };
    let scan =
        |threads| Scan::new(&pruner).with_sparsities([0.3, 0.6, 0.9]).with_threads(threads).run(&model, evaluate);
    let found = scan(1).unwrap();
    assert_eq!(scan(3).unwrap(), found);
    assert!(same_bits(&base(&model.valid()), &before));
}

#[test]
fn recalibration_that_cannot_be_is_an_error_and_changes_nothing() {
    let device = Device::flex().autodiff();
    let mut model = Cnn::new(&device, 1);
    let before = base(&model);
    let forward = |model: &Cnn, x: &Tensor<4>| model.forward(x.clone());
    let error = recalibrate_batch_norm(&mut model, &[], forward).unwrap_err();
    assert_eq!(error, RecalibrationError::NoBatch);
    let batch = [images(1, &device)];
    let error = recalibrate_batch_norm(&mut model, &batch, |_, _| ()).unwrap_err();
    assert!(matches!(&error, RecalibrationError::Untouched { path } if path == "norm.running_mean"), "{error}");
    let bad = [images(1, &device), images(2, &device) * f32::NAN];
    let error = recalibrate_batch_norm(&mut model, &bad, forward).unwrap_err();
    assert!(
        matches!(&error, RecalibrationError::NotFinite { path, batch: 1 } if path == "norm.running_mean"),
        "{error}"
    );
    let error = recalibrate_batch_norm(&mut model, &bad[1..], forward).unwrap_err();
    assert!(matches!(&error, RecalibrationError::NotFinite { batch: 0, .. }), "{error}");
    assert!(same_bits(&base(&model), &before));

    let mut still = BatchNormConfig::new(3).with_momentum(0.0).init(&device);
    let error = recalibrate_batch_norm(&mut still, &batch, |norm, x| norm.forward(x.clone())).unwrap_err();
    assert!(
        matches!(&error, RecalibrationError::Untouched { .. }) && error.to_string().contains("momentum"),
        "{error}"
    );
    let mut none = Mlp::new(&device, 1);
    let error = recalibrate_batch_norm(&mut none, &[()], |_, ()| ()).unwrap_err();
    assert_eq!(error, RecalibrationError::NoBatchNorm);
}

#[test]
fn a_batch_norm_that_is_called_twice_averages_both() {
    let device = Device::flex().autodiff();
    let mut norm = BatchNormConfig::new(3).with_momentum(0.5).init(&device);
    let x = images(1, &device);
    recalibrate_batch_norm(&mut norm, &[()], |norm, ()| (norm.forward(x.clone()), norm.forward(x.clone() + 3.0)))
        .unwrap();
    let got: Vec<f64> = norm.running_mean.value().into_data().iter().collect();
    let mean = x.mean_dim(0).mean_dim(2).mean_dim(3).into_data();
    // The later call counts twice as much by this momentum.
    for (got, mean) in got.iter().zip(mean.iter::<f64>()) {
        assert!((got - (mean + 2.0)).abs() < 1e-5, "{got} {mean}");
    }
}

#[test]
fn distillation_of_what_does_not_fit_is_an_error() {
    let device = Device::flex();
    let logits = |rows, classes| Tensor::<2>::ones([rows, classes], &device);
    let labels = |count| Tensor::<1, Int>::zeros([count], &device);
    let by = |temperature, alpha| Distillation::default().with_temperature(temperature).with_alpha(alpha);
    let fails = |d: Distillation, student, teacher, labels| d.loss(student, teacher, labels).unwrap_err();
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = fails(by(bad, 0.5), logits(2, 3), logits(2, 3), labels(2));
        assert!(matches!(error, DistillationError::Temperature { .. }), "{error}");
    }
    for bad in [-0.1, 1.1, f64::NAN] {
        let error = fails(by(1.0, bad), logits(2, 3), logits(2, 3), labels(2));
        assert!(matches!(error, DistillationError::Alpha { .. }), "{error}");
    }
    let error = fails(by(1.0, 0.5), logits(2, 3), logits(2, 4), labels(2));
    assert_eq!(error, DistillationError::Shape { student: [2, 3], teacher: [2, 4] });
    let error = fails(by(1.0, 0.5), logits(2, 3), logits(2, 3), labels(3));
    assert_eq!(error, DistillationError::Labels { batch: 2, labels: 3 });
    let error = fails(by(1.0, 0.5), logits(0, 3), logits(0, 3), labels(0));
    assert!(matches!(error, DistillationError::Empty { .. }), "{error}");
    assert!(serde_json::from_str::<Distillation>("{\"temperatur\": 2}").is_err());
}
