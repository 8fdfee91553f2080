//! What layers see: sums against the operands themselves, forms of weights, padding, merging, and bad inputs.

mod forms;
mod processes;
mod refused;
mod trust;

use burn::module::Module;
use burn::nn::conv::{Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d};
use burn::tensor::module::{conv1d, conv2d, conv3d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use pruning_burn::calibrate::{Calibration, CalibrationError};
use pruning_burn::score::{Need, Needs};
use pruning_burn::trace::Scope;

/// All that is computed from inputs.
fn inputs() -> Needs {
    Need::INPUT_NORM | Need::INPUT_MEAN | Need::INPUT_GRAM | Need::INPUT_ACTIVATION
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 2e-6 * largest, "{what} {i}: {a} and {b}");
    }
}

/// Compares a calibration with rows, grouped by example: `[examples][rows][cols]`.
fn check(calibration: &Calibration, path: &str, examples: &[Vec<Vec<f64>>]) {
    let rows: Vec<&Vec<f64>> = examples.iter().flatten().collect();
    let (n, cols) = (rows.len() as f64, rows[0].len());
    assert_eq!(calibration.rows(path), Some(n), "{path}");
    let mean = |of: &dyn Fn(&Vec<f64>) -> f64| rows.iter().map(|r| of(r)).sum::<f64>() / n;
    let each = |of: &dyn Fn(usize) -> f64| (0..cols).map(of).collect::<Vec<_>>();
    let values = |need| calibration.values(need, path).unwrap();
    close(&values(Need::INPUT_NORM), &each(&|c| mean(&|r| r[c] * r[c]).sqrt()), "norm");
    close(&values(Need::INPUT_MEAN), &each(&|c| mean(&|r| r[c])), "mean");
    let size = |c: usize| {
        let one = |rows: &Vec<Vec<f64>>| rows.iter().map(|r| r[c].abs()).sum::<f64>() / rows.len() as f64;
        examples.iter().filter(|rows| !rows.is_empty()).map(|rows| one(rows).powi(2)).sum::<f64>().sqrt()
    };
    close(&values(Need::INPUT_ACTIVATION), &each(&size), "activation");
    let gram: Vec<f64> = (0..cols * cols).map(|at| mean(&|r| r[at / cols] * r[at % cols])).collect();
    close(&values(Need::INPUT_GRAM), &gram, "gram");
}

fn table<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// The rows of `[batch, sequence, cols]`.
fn sequences(x: Tensor<3>) -> Vec<Vec<Vec<f64>>> {
    let [_, s, c] = x.dims();
    table(x).chunks(s * c).map(|e| e.chunks(c).map(<[f64]>::to_vec).collect()).collect()
}

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    pruning_tests::models::random(shape, seed, device).mul_scalar(1.5).add_scalar(0.3)
}

fn linear(model: &Linear, batch: &Tensor<3>, scope: &mut Scope) {
    let x = scope.input(batch);
    scope.output(model.forward(x));
}

#[test]
fn a_linear_layer_sees_the_rows_of_all_batches() {
    let device = Device::flex();
    let model = LinearConfig::new(7, 3).init(&device);
    // Batches of different sizes, and a Gram matrix of several blocks elsewhere.
    let batches = [random([2, 5, 7], 1, &device), random([3, 4, 7], 2, &device)];
    let calibration = Calibration::collect(&model, inputs(), &batches, linear).unwrap();
    let examples: Vec<_> = batches.iter().flat_map(|b| sequences(b.clone())).collect();
    check(&calibration, "weight", &examples);
    assert_eq!((calibration.batches(), calibration.paths()), (2, vec!["weight"]));
}

#[test]
fn a_gram_matrix_of_several_blocks_is_whole() {
    let device = Device::flex();
    let model = LinearConfig::new(900, 2).init(&device);
    let batches = [random([1, 6, 900], 3, &device)];
    let calibration = Calibration::collect(&model, inputs(), &batches, linear).unwrap();
    check(&calibration, "weight", &sequences(batches[0].clone()));
}

#[test]
fn a_large_mean_does_not_drown_what_varies() {
    let device = Device::flex();
    let model = LinearConfig::new(6, 2).init(&device);
    let batches: Vec<_> = (1..4).map(|seed| random([2, 50, 6], seed, &device).add_scalar(3000.0)).collect();
    let calibration = Calibration::collect(&model, inputs(), &batches, linear).unwrap();
    let values = |need| calibration.values(need, "weight").unwrap();
    let (means, gram) = (values(Need::INPUT_MEAN), values(Need::INPUT_GRAM));
    let rows: Vec<_> = batches.iter().flat_map(|b| sequences(b.clone())).flatten().collect();
    for (at, gram) in gram.iter().enumerate() {
        let (i, j) = (at / 6, at % 6);
        let expected = rows.iter().map(|r| (r[i] - means[i]) * (r[j] - means[j])).sum::<f64>() / rows.len() as f64;
        let found = gram - means[i] * means[j];
        assert!((found - expected).abs() < 1e-5, "{at}: {found} {expected}");
    }
}

/// Windows as columns, by convolutions with kernels of a single one.
fn windows<const D: usize>(
    x: Tensor<D>,
    groups: usize,
    kernel: &[usize],
    conv: impl Fn(Tensor<D>, Tensor<D>) -> Tensor<D>,
) -> Vec<Vec<Vec<Vec<f64>>>> {
    let (images, channels) = (x.dims()[0], x.dims()[1]);
    let (own, places) = (channels / groups, kernel.iter().product::<usize>());
    let group = |g: usize| {
        let x = x.clone().narrow(1, g * own, own);
        let columns: Vec<Vec<f64>> = (0..own * places)
            .map(|col| {
                let mut one = vec![0.0_f32; own * places];
                one[col] = 1.0;
                let shape: [usize; D] = [&[1, own], kernel].concat().try_into().unwrap();
                let one = Tensor::<1>::from_floats(one.as_slice(), &x.device()).reshape(shape);
                table(conv(x.clone(), one))
            })
            .collect();
        let positions = columns[0].len() / images;
        let row = |at: usize| columns.iter().map(|column| column[at]).collect::<Vec<_>>();
        (0..images).map(|i| (0..positions).map(|p| row(i * positions + p)).collect()).collect()
    };
    (0..groups).map(group).collect()
}

/// Compares each group of a convolution.
fn check_groups(calibration: &Calibration, groups: &[Vec<Vec<Vec<f64>>>]) {
    let values = |need| calibration.values(need, "weight").unwrap();
    let (norms, grams) = (values(Need::INPUT_NORM), values(Need::INPUT_GRAM));
    let (means, sizes) = (values(Need::INPUT_MEAN), values(Need::INPUT_ACTIVATION));
    for (g, examples) in groups.iter().enumerate() {
        let rows: Vec<_> = examples.iter().flatten().collect();
        let (n, c) = (rows.len() as f64, rows[0].len());
        assert_eq!(calibration.rows("weight"), Some(n));
        let mean = |of: &dyn Fn(&Vec<f64>) -> f64| rows.iter().map(|r| of(r)).sum::<f64>() / n;
        let each = |of: &dyn Fn(usize) -> f64| (0..c).map(of).collect::<Vec<_>>();
        close(&norms[g * c..(g + 1) * c], &each(&|k| mean(&|r| r[k] * r[k]).sqrt()), "norm");
        close(&means[g * c..(g + 1) * c], &each(&|k| mean(&|r| r[k])), "mean");
        let size = |k: usize| {
            let one = |rows: &Vec<Vec<f64>>| rows.iter().map(|r| r[k].abs()).sum::<f64>() / rows.len() as f64;
            examples.iter().map(|rows| one(rows).powi(2)).sum::<f64>().sqrt()
        };
        close(&sizes[g * c..(g + 1) * c], &each(&size), "activation");
        let gram: Vec<f64> = (0..c * c).map(|at| mean(&|r| r[at / c] * r[at % c])).collect();
        close(&grams[g * c * c..(g + 1) * c * c], &gram, "gram");
    }
}

#[test]
fn convolutions_of_one_to_three_axes_see_windows_in_groups() {
    let device = Device::flex();
    let x = random([2, 4, 9], 4, &device);
    let model = Conv1dConfig::new(4, 6, 3)
        .with_groups(2)
        .with_stride(2)
        .with_dilation(2)
        .with_padding(PaddingConfig1d::Explicit(2, 2))
        .init(&device);
    let collected = Calibration::collect(&model, inputs(), [&x], |model, x, scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    });
    let one = |x, w| conv1d(x, w, None, ConvOptions::new([2], [2], [2], 1));
    check_groups(&collected.unwrap(), &windows(x, 2, &[3], one));

    let x = random([3, 6, 7, 5], 5, &device);
    let model = Conv2dConfig::new([6, 3], [3, 2])
        .with_groups(3)
        .with_stride([2, 1])
        .with_padding(PaddingConfig2d::Explicit(1, 0, 1, 0))
        .init(&device);
    let collected = Calibration::collect(&model, inputs(), [&x], |model, x, scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    });
    let one = |x, w| conv2d(x, w, None, ConvOptions::new([2, 1], [1, 0], [1, 1], 1));
    check_groups(&collected.unwrap(), &windows(x, 3, &[3, 2], one));

    let x = random([1, 2, 4, 5, 3], 6, &device);
    let model = Conv3dConfig::new([2, 3], [2, 3, 1]).with_padding(PaddingConfig3d::Explicit(1, 1, 0)).init(&device);
    let collected = Calibration::collect(&model, inputs(), [&x], |model, x, scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    });
    let one = |x, w| conv3d(x, w, None, ConvOptions::new([1, 1, 1], [1, 1, 0], [1, 1, 1], 1));
    check_groups(&collected.unwrap(), &windows(x, 1, &[2, 3, 1], one));
}

#[test]
fn a_transposed_convolution_has_the_norm_of_each_channel_for_its_kernel() {
    let device = Device::flex();
    let x = Tensor::<4>::from_floats([[[[3.0, 4.0]], [[0.0, 1.0]]]], &device);
    let model = ConvTranspose2dConfig::new([2, 3], [2, 2]).init(&device);
    let forward = |model: &burn::nn::conv::ConvTranspose2d, x: &Tensor<4>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    };
    let calibration = Calibration::collect(&model, Need::INPUT_NORM | Need::INPUT_GRAM, [&x], forward).unwrap();
    let (first, second) = (12.5_f64.sqrt(), 0.5_f64.sqrt());
    let expected = [first, first, first, first, second, second, second, second];
    close(&calibration.values(Need::INPUT_NORM, "weight").unwrap(), &expected, "norm");
    assert_eq!(calibration.values(Need::INPUT_GRAM, "weight"), None);
    assert!(calibration.skipped()["weight"].contains("transposed"), "{:?}", calibration.skipped());
}

#[test]
fn progress_is_told_after_each_batch() {
    let device = Device::flex();
    let model = LinearConfig::new(2, 3).init(&device);
    let batches = [random([1, 2, 2], 7, &device), random([1, 2, 2], 8, &device)];
    let mut told = Vec::new();
    let note = |p: pruning_burn::calibrate::Progress| told.push((p.done, p.total));
    Calibration::collect_with(&model, Need::INPUT_NORM, &batches, linear, note).unwrap();
    assert_eq!(told, [(1, Some(2)), (2, Some(2))]);
}

#[test]
fn parts_merge_to_the_whole() {
    let device = Device::flex();
    let model = LinearConfig::new(5, 3).init(&device);
    let batches: Vec<_> = (1..5).map(|n| random([n, 3, 5], n as u64, &device)).collect();
    let whole = Calibration::collect(&model, inputs(), &batches, linear).unwrap();
    let part = |from, to| Calibration::collect(&model, inputs(), &batches[from..to], linear).unwrap();
    let merged = part(0, 1).merge(&part(1, 4)).unwrap();
    assert_eq!((merged.batches(), merged.rows("weight")), (whole.batches(), whole.rows("weight")));
    for need in inputs().iter() {
        close(&merged.values(need, "weight").unwrap(), &whole.values(need, "weight").unwrap(), need.name());
    }
}

/// A model whose layers share what they see, and one that sees something else.
#[derive(Module, Debug)]
struct Block {
    q: Linear,
    k: Linear,
    out: Linear,
}

#[test]
fn masks_of_the_model_apply_to_what_later_layers_see() -> Result<(), CalibrationError> {
    let device = Device::flex();
    let layer = || LinearConfig::new(4, 4).with_bias(false).init(&device);
    let mut model = Block { q: layer(), k: layer(), out: layer() };
    let x = random([1, 3, 4], 9, &device);
    let forward = |model: &Block, x: &Tensor<3>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.out.forward(model.q.forward(x.clone()) + model.k.forward(x)));
    };
    let keep = pruning_burn::mask::Bits::from_bools(&[false; 16]);
    let mask = pruning_burn::mask::Mask::new([4, 4], keep).unwrap();
    let masks = ["q.weight", "k.weight"].map(|path| (path.to_string(), mask.clone()));
    pruning_burn::mask::attach(&mut model, &pruning_burn::mask::MaskSet::new(masks).unwrap()).unwrap();
    let calibration = Calibration::collect(&model, Need::INPUT_NORM, [&x], forward)?;
    assert_eq!(calibration.values(Need::INPUT_NORM, "out.weight").unwrap(), [0.0; 4]);
    calibration.check(&model)?;
    Ok(())
}
