//! Bad inputs: each is an error that names what is wrong.

use super::{Block, inputs, linear, random};
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor};
use pruning_burn::calibrate::{Calibration, CalibrationError};
use pruning_burn::score::Need;
use pruning_burn::trace::{Scope, TraceError};

fn model(device: &Device) -> Linear {
    LinearConfig::new(4, 3).init(device)
}

#[test]
fn no_batches_no_inputs_no_needs_of_its_own() {
    let device = Device::flex();
    let model = model(&device);
    let x = random([1, 2, 4], 1, &device);
    let none: [Tensor<3>; 0] = [];
    assert_eq!(Calibration::collect(&model, inputs(), &none, linear).unwrap_err(), CalibrationError::NoBatch);
    let forgot = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        let x = Tensor::<3>::from_data(x.clone().into_data(), scope.device());
        scope.output(model.forward(x));
    };
    let error = Calibration::collect(&model, inputs(), [&x], forgot).unwrap_err();
    assert_eq!(error, CalibrationError::NoInput { batch: 0 });
    let error = Calibration::collect(&model, Need::GRADIENT, [&x], linear).unwrap_err();
    assert!(error.to_string().contains("collects: input_activation, input_gram"), "{error}");
}

#[test]
fn a_forward_that_reads_values_is_named_with_its_batch() {
    let device = Device::flex();
    let batches = [random([1, 2, 4], 2, &device), random([1, 3, 4], 3, &device)];
    let reads = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        let x = scope.input(x);
        if x.dims()[1] == 3 {
            let _ = (x.clone() + 1.0).into_data();
        }
        scope.output(model.forward(x));
    };
    let error = Calibration::collect(&model(&device), inputs(), &batches, reads).unwrap_err();
    assert!(matches!(error, CalibrationError::Trace { batch: 1, source: TraceError::Panicked { .. } }), "{error}");
}

#[test]
fn values_that_are_not_finite_are_named_by_their_layer() {
    let device = Device::flex();
    let layer = || LinearConfig::new(4, 4).init(&device);
    let mut model = Block { q: layer(), k: layer(), out: layer() };
    model.k.weight = Param::from_tensor(Tensor::full([4, 4], f32::NAN, &device));
    let x = random([1, 2, 4], 4, &device);
    let forward = |model: &Block, x: &Tensor<3>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.out.forward(model.q.forward(x.clone()) + model.k.forward(x)));
    };
    for need in inputs().iter() {
        let error = Calibration::collect(&model, need, [&x], forward).unwrap_err();
        let expected = CalibrationError::NonFinite { path: "out.weight".to_string(), batch: 0 };
        assert_eq!(error, expected, "{need}");
    }
}

#[test]
fn positions_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let x = random([2, 3, 4], 5, &device);
    let forward = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        scope.count_positions(&Tensor::<2, Bool>::from_data([[true, false], [true, true]], &x.device()));
        let x = scope.input(x);
        scope.output(model.forward(x));
    };
    let error = Calibration::collect(&model(&device), inputs(), [&x], forward).unwrap_err();
    let expected = CalibrationError::Positions { path: "weight".into(), batch: 0, expected: [2, 2], found: vec![2, 3] };
    assert_eq!(error, expected);
}

#[test]
fn calibrations_of_other_models_and_needs_do_not_merge() {
    let device = Device::flex();
    let (one, other, wide) = (model(&device), model(&device), LinearConfig::new(4, 5).init(&device));
    let x = random([1, 2, 4], 6, &device);
    let of = |model: &Linear, need: Need| Calibration::collect(model, need, [&x], linear).unwrap();
    let own = of(&one, Need::INPUT_NORM);
    let error = own.clone().merge(&of(&other, Need::INPUT_NORM)).unwrap_err();
    assert_eq!(error, CalibrationError::Changed { path: "bias".to_string() });
    let error = own.clone().merge(&of(&wide, Need::INPUT_NORM)).unwrap_err();
    assert!(matches!(error, CalibrationError::OtherModel { .. }), "{error}");
    let error = own.clone().merge(&of(&one, Need::INPUT_MEAN)).unwrap_err();
    assert!(error.to_string().contains("one holds input_norm, the other input_mean"), "{error}");
    assert_eq!(own.check(&other).unwrap_err(), CalibrationError::Changed { path: "bias".to_string() });
}

#[test]
fn inputs_of_integers_are_fine_and_a_model_without_products_is_not() {
    let device = Device::flex();
    let model = burn::nn::LayerNormConfig::new(4).init(&device);
    let x = Tensor::<2, Int>::ones([2, 4], &device);
    let error = Calibration::collect(&model, inputs(), [&x], |model, x, scope| {
        let x = scope.input(x);
        let model: &burn::nn::LayerNorm = model;
        scope.output(model.forward(x.float()));
    });
    assert_eq!(error.unwrap_err(), CalibrationError::NoProduct);
}
