//! Weights that reach their product in another form, several times, or beside others; padding.

use super::{Block, check, close, inputs, random, sequences, table};
use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, LstmConfig};
use burn::tensor::{Device, Int, Tensor, activation::relu};
use pruning_burn::calibrate::Calibration;
use pruning_burn::score::Need;
use pruning_burn::trace::Scope;

#[test]
fn what_several_weights_see_is_summed_once() {
    let device = Device::flex();
    let layer = || LinearConfig::new(4, 4).with_bias(false).init(&device);
    let model = Block { q: layer(), k: layer(), out: layer() };
    let x = random([2, 3, 4], 1, &device);
    let calibration = Calibration::collect(&model, inputs(), [&x], |model: &Block, x, scope: &mut Scope| {
        let x = scope.input(x);
        // One of them folds the batch into the rows.
        let (q, k) = (model.q.forward(x.clone()), model.k.forward(x.reshape([6, 4])).reshape([2, 3, 4]));
        scope.output(model.out.forward(q + k));
    })
    .unwrap();
    check(&calibration, "q.weight", &sequences(x.clone()));
    check(&calibration, "k.weight", &sequences(x.clone()));
    check(&calibration, "out.weight", &sequences(model.q.forward(x.clone()) + model.k.forward(x)));
}

#[test]
fn a_weight_that_is_used_twice_has_the_sums_of_both() {
    let device = Device::flex();
    let model = LinearConfig::new(4, 4).init(&device);
    let x = random([2, 3, 4], 2, &device);
    let calibration = Calibration::collect(&model, inputs(), [&x], |model: &Linear, x, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.forward(model.forward(x)));
    })
    .unwrap();
    let examples = [sequences(x.clone()), sequences(model.forward(x))].concat();
    check(&calibration, "weight", &examples);
}

/// Weights of a user's own.
#[derive(Module, Debug)]
struct Own {
    /// `[in, heads, size]`
    heads: Param<Tensor<3>>,
    /// `[3 out, in]`, as torch has it
    fused: Param<Tensor<2>>,
    parts: Vec<Linear>,
}

#[test]
fn reshaped_sliced_transposed_and_concatenated_weights_are_found() {
    let device = Device::flex();
    let model = Own {
        heads: Param::from_tensor(random([4, 2, 3], 3, &device)),
        fused: Param::from_tensor(random([12, 6], 4, &device)),
        parts: (0..2).map(|_| LinearConfig::new(4, 5).with_bias(false).init(&device)).collect(),
    };
    let x = random([2, 3, 4], 5, &device);
    let calibration = Calibration::collect(&model, inputs(), [&x], |model: &Own, x, scope: &mut Scope| {
        let x = scope.input(x);
        let heads = model.heads.val().reshape([4, 6]).unsqueeze::<3>();
        let h = x.clone().matmul(heads);
        let fused = model.fused.val().transpose();
        let [q, k, v] = [0, 4, 8].map(|start| h.clone().matmul(fused.clone().narrow(1, start, 4).unsqueeze()));
        let weights = Tensor::cat(model.parts.iter().map(|part| part.weight.val()).collect(), 1);
        scope.output(q + k + v);
        scope.output(x.matmul(weights.unsqueeze()));
    })
    .unwrap();
    assert!(calibration.skipped().is_empty(), "{:?}", calibration.skipped());
    check(&calibration, "heads", &sequences(x.clone()));
    let heads = model.heads.val().reshape([4, 6]).unsqueeze::<3>();
    check(&calibration, "fused", &sequences(x.clone().matmul(heads)));
    check(&calibration, "parts.0.weight", &sequences(x.clone()));
    check(&calibration, "parts.1.weight", &sequences(x));
}

#[test]
fn a_weight_on_the_left_sees_columns() {
    let device = Device::flex();
    let model = vec![LinearConfig::new(4, 3).with_bias(false).init(&device)];
    let x = random([2, 4, 5], 6, &device);
    let calibration = Calibration::collect(&model, inputs(), [&x], |model: &Vec<Linear>, x, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model[0].weight.val().transpose().unsqueeze::<3>().matmul(x));
    })
    .unwrap();
    check(&calibration, "0.weight", &sequences(x.swap_dims(1, 2)));
}

#[test]
fn a_weight_that_is_computed_is_skipped_and_named() {
    let device = Device::flex();
    let model = LinearConfig::new(4, 4).with_bias(false).init(&device);
    let x = random([1, 3, 4], 7, &device);
    let forward = |model: &Linear, x: &Tensor<3>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(x.clone().matmul((model.weight.val() * 2.0).unsqueeze()));
        // Its entries in another order than its matrix has them.
        scope.output(x.matmul(model.weight.val().reshape([2, 2, 4]).swap_dims(0, 1).reshape([4, 4]).unsqueeze()));
    };
    let error = Calibration::collect(&model, inputs(), [&x], forward).unwrap_err();
    assert!(error.to_string().contains("no float parameter"), "{error}");
}

#[test]
fn a_recurrent_layer_sees_every_step() {
    let device = Device::flex();
    let model = LstmConfig::new(3, 4, true).init(&device);
    let x = random([2, 5, 3], 8, &device);
    let calibration = Calibration::collect(&model, inputs(), [&x], |model: &burn::nn::Lstm, x, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.forward(x, None).0);
    })
    .unwrap();
    let (hidden, _) = model.forward(x.clone(), None);
    for gate in ["input_gate", "forget_gate", "output_gate", "cell_gate"] {
        let path = format!("{gate}.input_transform.weight");
        let mean = calibration.values(Need::INPUT_MEAN, &path).unwrap();
        let expected = table(x.clone().reshape([10, 3]).mean_dim(0));
        close(&mean, &expected, &path);
        // The state before each step: zeros, then the outputs of all steps but the last.
        let path = format!("{gate}.hidden_transform.weight");
        let before = Tensor::cat(vec![Tensor::zeros([2, 1, 4], &device), hidden.clone().narrow(1, 0, 4)], 1);
        let seen = calibration.rows(&path).unwrap();
        assert_eq!(seen, 10.0, "{path}");
        let expected = table(before.reshape([10, 4]).mean_dim(0));
        close(&calibration.values(Need::INPUT_MEAN, &path).unwrap(), &expected, &path);
    }
}

#[derive(Module, Debug)]
struct Tagger {
    words: Embedding,
    hidden: Linear,
    tags: Linear,
}

#[test]
fn padding_does_not_count() {
    let device = Device::flex();
    let model = Tagger {
        words: EmbeddingConfig::new(6, 4).init(&device),
        hidden: LinearConfig::new(4, 4).init(&device),
        tags: LinearConfig::new(4, 2).init(&device),
    };
    let tokens = Tensor::<2, Int>::from_data([[1, 2, 3], [4, 0, 0], [5, 5, 0]], &device);
    let real = Tensor::<2, Int>::from_data([[1, 1, 1], [1, 0, 0], [1, 1, 0]], &device);
    let forward = |model: &Tagger, (tokens, real): &(Tensor<2, Int>, Tensor<2, Int>), scope: &mut Scope| {
        let x = scope.input(tokens);
        scope.count_positions(real);
        let h = relu(model.hidden.forward(model.words.forward(x)));
        // A head sees each example once, whatever its padding.
        scope.output(model.tags.forward(h.mean_dim(1).squeeze_dim::<2>(1)));
    };
    let batch = (tokens.clone(), real);
    let calibration = Calibration::collect(&model, inputs() | Need::OUTPUT_ZEROS, [&batch], forward).unwrap();
    let rows = sequences(model.words.forward(tokens.clone()));
    let examples = [rows[0].clone(), rows[1][..1].to_vec(), rows[2][..2].to_vec()];
    check(&calibration, "hidden.weight", &examples);
    assert_eq!(calibration.rows("tags.weight"), Some(3.0));
    // Each token as often as it is there: six real ones, of which two are the fifth.
    let norms = calibration.values(Need::INPUT_NORM, "words.weight").unwrap();
    close(&norms, &[0.0, 1.0, 1.0, 1.0, 1.0, 2.0].map(|n: f64| (n / 6.0).sqrt()), "counts");
    // Zeros of the ReLU, of tokens alone.
    let h = sequences(relu(model.hidden.forward(model.words.forward(tokens))));
    let seen = [&h[0][..], &h[1][..1], &h[2][..2]].concat();
    let zeros: Vec<f64> = (0..4).map(|c| seen.iter().filter(|r| r[c] == 0.0).count() as f64 / 6.0).collect();
    close(&calibration.values(Need::OUTPUT_ZEROS, "hidden.weight").unwrap(), &zeros, "zeros");
}

#[test]
fn the_rank_of_feature_maps_is_that_of_their_matrices() {
    let device = Device::flex();
    let model = burn::nn::conv::Conv2dConfig::new([1, 2], [1, 1]).with_bias(false).init(&device);
    // Of rank two, whatever the factor.
    let x = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 0.0]]]], &device);
    let calibration = Calibration::collect(&model, Need::OUTPUT_RANK, [&x], |model, x, scope| {
        let x = scope.input(x);
        let model: &burn::nn::conv::Conv2d = model;
        scope.output(model.forward(x));
    })
    .unwrap();
    assert_eq!(calibration.values(Need::OUTPUT_RANK, "weight").unwrap(), [2.0, 2.0]);
}
