//! Where sums could be mixed, padding could count, or nothing is seen: told, and never a wrong number.

use super::{Block, check, close, inputs, linear, random, sequences};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Lstm, LstmConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Bool, DType, Device, Int, Tensor};
use pruning_burn::calibrate::{Calibration, CalibrationError};
use pruning_burn::mask::{Bits, Mask, MaskSet, attach, undo};
use pruning_burn::score::Need;
use pruning_burn::trace::Scope;

fn skipped<M: Module, B>(
    model: &M,
    batch: B,
    forward: impl Fn(&M, B, &mut Scope),
    need: Need,
) -> (Vec<String>, Calibration) {
    let calibration = Calibration::collect(model, need, [batch], forward).unwrap();
    let why = calibration.skipped().iter().map(|(path, why)| format!("{path}: {why}")).collect();
    (why, calibration)
}

#[test]
fn a_tied_embedding_is_read_along_both_axes_and_says_so() {
    let device = Device::flex();
    let model: Embedding = EmbeddingConfig::new(7, 4).init(&device);
    let tokens = Tensor::<2, Int>::from_data([[1, 2, 3], [4, 5, 6]], &device);
    let forward = |model: &Embedding, tokens: &Tensor<2, Int>, scope: &mut Scope| {
        let x = scope.input(tokens);
        let h = model.forward(x);
        scope.output(h.matmul(model.weight.val().transpose().unsqueeze()));
    };
    let (why, calibration) = skipped(&model, &tokens, forward, Need::INPUT_NORM);
    assert!(why[0].contains("both of its axes"), "{why:?}");
    assert_eq!(calibration.values(Need::INPUT_NORM, "weight"), None);
    // A square weight and its transpose.
    let square = LinearConfig::new(4, 4).with_bias(false).init(&device);
    let x = random([2, 3, 4], 1, &device);
    let (why, calibration) = skipped(
        &square,
        &x,
        |model: &Linear, x, scope: &mut Scope| {
            let x = scope.input(x);
            scope.output(model.forward(x).matmul(model.weight.val().transpose().unsqueeze()));
        },
        Need::INPUT_GRAM,
    );
    assert!(why[0].contains("both of its axes"), "{why:?}");
    assert_eq!(calibration.values(Need::INPUT_GRAM, "weight"), None);
}

#[test]
fn parts_that_see_different_inputs_and_permuted_weights_are_skipped() {
    let device = Device::flex();
    let model = LinearConfig::new(4, 4).with_bias(false).init(&device);
    let x = random([2, 3, 4], 2, &device);
    let (why, _) = skipped(
        &model,
        &x,
        |model: &Linear, x, scope: &mut Scope| {
            let x = scope.input(x);
            let part = |start| model.weight.val().narrow(1, start, 2).unsqueeze::<3>();
            scope.output(x.clone().matmul(part(0)));
            scope.output((x * 2.0).matmul(part(2)));
        },
        Need::INPUT_NORM,
    );
    assert!(why[0].contains("parts of its output units"), "{why:?}");
    let permuted = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        let x = scope.input(x);
        let order = Tensor::<1, Int>::from_data([1, 0, 3, 2], scope.device());
        scope.output(x.matmul(model.weight.val().select(0, order).unsqueeze()));
    };
    let error = Calibration::collect(&model, Need::INPUT_NORM, [&x], permuted).unwrap_err();
    assert_eq!(error, CalibrationError::NoProduct);
}

/// Two sentences of three, the second of which has one word.
fn real(device: &Device) -> Tensor<2, Bool> {
    Tensor::from_data([[true, true, true], [true, false, false], [true, true, false]], device)
}

#[test]
fn padding_is_followed_to_where_batch_and_sequence_lie() {
    let device = Device::flex();
    let model = LinearConfig::new(4, 4).with_bias(false).init(&device);
    // As many sentences as words: the shapes alone tell nothing.
    let x = random([3, 3, 4], 3, &device);
    let rows = sequences(x.clone());
    let counted = [rows[0].clone(), rows[1][..1].to_vec(), rows[2][..2].to_vec()];
    let flat = [counted.concat()];
    type Way = fn(&Linear, Tensor<3>) -> Tensor<3>;
    let ways: [Way; 4] = [
        |model, x| model.forward(x),
        |model, x| model.forward(x.swap_dims(0, 1)),
        |model, x| model.forward(relu(x.clone().reshape([9, 4])) - relu(-x.reshape([9, 4]))).reshape([3, 3, 4]),
        |model, x| model.forward(x.permute([1, 0, 2]).swap_dims(0, 1)),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let forward = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
            scope.count_positions(&real(&x.device()));
            let x = scope.input(x);
            scope.output(way(model, x));
        };
        let needs = Need::INPUT_NORM | Need::INPUT_MEAN | Need::INPUT_GRAM;
        let calibration = Calibration::collect(&model, needs, [&x], forward).unwrap();
        assert_eq!(calibration.rows("weight"), Some(6.0), "{number}");
        let mean: Vec<f64> = (0..4).map(|c| flat[0].iter().map(|row| row[c]).sum::<f64>() / 6.0).collect();
        close(&calibration.values(Need::INPUT_MEAN, "weight").unwrap(), &mean, &number.to_string());
    }
    // A head of attention: rows are batch, head, position.
    let heads = LinearConfig::new(2, 2).with_bias(false).init(&device);
    let forward = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        scope.count_positions(&real(&x.device()));
        let x = scope.input(x);
        scope.output(model.forward(x.reshape([3, 3, 2, 2]).swap_dims(1, 2)));
    };
    let calibration = Calibration::collect(&heads, Need::INPUT_MEAN, [&x], forward).unwrap();
    assert_eq!(calibration.rows("weight"), Some(12.0));
    let mean = |c: usize| flat[0].iter().map(|row| row[c] + row[c + 2]).sum::<f64>() / 12.0;
    close(&calibration.values(Need::INPUT_MEAN, "weight").unwrap(), &[mean(0), mean(1)], "heads");
    let whole = Calibration::collect(&model, inputs(), [&x], linear).unwrap();
    check(&whole, "weight", &rows);
}

#[test]
fn steps_and_turned_sequences_are_errors_where_there_is_padding() {
    let device = Device::flex();
    let x = random([3, 3, 4], 4, &device);
    let lstm: Lstm = LstmConfig::new(4, 5, true).init(&device);
    let forward = |model: &Lstm, x: &Tensor<3>, scope: &mut Scope| {
        scope.count_positions(&real(&x.device()));
        let x = scope.input(x);
        scope.output(model.forward(x, None).0);
    };
    let error = Calibration::collect(&lstm, Need::INPUT_NORM, [&x], forward).unwrap_err();
    assert!(matches!(error, CalibrationError::Positions { .. }), "{error}");
    let model = LinearConfig::new(4, 4).init(&device);
    let forward = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        scope.count_positions(&real(&x.device()));
        let x = scope.input(x);
        scope.output(model.forward(x.flip([1])));
    };
    let error = Calibration::collect(&model, Need::INPUT_NORM, [&x], forward).unwrap_err();
    assert!(matches!(error, CalibrationError::Positions { .. }), "{error}");
}

#[test]
fn masks_count_to_what_a_calibration_knows_its_model_by() {
    let device = Device::flex();
    let layer = || LinearConfig::new(4, 4).with_bias(false).init(&device);
    let mut model = Block { q: layer(), k: layer(), out: layer() };
    let x = random([1, 3, 4], 5, &device);
    let forward = |model: &Block, x: &Tensor<3>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.out.forward(model.q.forward(x.clone()) + model.k.forward(x)));
    };
    let dense = Calibration::collect(&model, Need::INPUT_NORM, [&x], forward).unwrap();
    let keep = Bits::from_bools(&std::array::from_fn::<bool, 16, _>(|i| i % 2 == 0));
    let mask = Mask::new([4, 4], keep).unwrap();
    attach(&mut model, &MaskSet::new([("q.weight".to_string(), mask)]).unwrap()).unwrap();
    let masked = Calibration::collect(&model, Need::INPUT_NORM, [&x], forward).unwrap();
    let changed = CalibrationError::Changed { path: "q.weight".to_string() };
    assert_eq!(dense.check(&model).unwrap_err(), changed);
    assert_eq!(dense.clone().merge(&masked).unwrap_err(), changed);
    undo(&mut model).unwrap();
    dense.check(&model).unwrap();
    assert_eq!(masked.check(&model).unwrap_err(), changed);
}

#[test]
fn panics_of_devices_and_of_progress_are_errors() {
    let device = Device::flex();
    let mut model = vec![LinearConfig::new(4, 4).init(&device)];
    let doubles = model[0].weight.val().cast(DType::F64);
    model[0].weight = Param::initialized(model[0].weight.id, doubles);
    let x = random([1, 2, 4], 6, &device);
    let error = Calibration::collect(&model, Need::INPUT_GRAM, [&x], |model: &Vec<Linear>, x, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model[0].forward(model[0].forward(x)));
    });
    assert!(error.is_err());
    let linear_model = LinearConfig::new(4, 3).init(&device);
    let error = Calibration::collect_with(&linear_model, Need::INPUT_NORM, [&x], linear, |_| panic!("no bar"));
    assert_eq!(error.unwrap_err(), CalibrationError::Panicked { batch: 0, message: "no bar".to_string() });
}

#[test]
fn outputs_without_an_activation_and_calibrations_without_rows_have_no_numbers() {
    let device = Device::flex();
    let conv: Conv2d = Conv2dConfig::new([1, 2], [2, 2]).init(&device);
    let x = Tensor::<4>::ones([1, 1, 3, 3], &device);
    let (why, calibration) = skipped(
        &conv,
        &x,
        |model: &Conv2d, x, scope: &mut Scope| {
            let x = scope.input(x);
            scope.output(relu(model.forward(x).flatten::<2>(1, 3)));
        },
        Need::OUTPUT_ZEROS,
    );
    assert!(why[0].contains("no activation"), "{why:?}");
    assert_eq!(calibration.values(Need::OUTPUT_ZEROS, "weight"), None);
    let model = LinearConfig::new(4, 3).init(&device);
    let none = Tensor::<3>::zeros([1, 2, 4], &device);
    let calibration =
        Calibration::collect(&model, Need::INPUT_NORM, [&none], |model: &Linear, x, scope: &mut Scope| {
            scope.count_positions(&Tensor::<2, Int>::zeros([1, 2], &x.device()));
            let x = scope.input(x);
            scope.output(model.forward(x));
        });
    assert_eq!(calibration.unwrap().values(Need::INPUT_NORM, "weight"), None);
}
