//! Whether the plugins do what plugins must: one line each. And whether the criterion is its formula, on numbers by hand.

use acme_pruning::{COLUMN_NORM, Centered, ColumnScaled, Cosine, Rescaled, SquareRoot};
use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use pruning_burn::Pruner;
use pruning_burn::conformance::{assert_allocator, assert_criterion, assert_curve, assert_reconstruction};
use pruning_burn::score::CriterionInputs;

#[test]
fn the_criteria_conform() {
    assert_criterion::<Centered>(&[Device::flex()]);
    assert_criterion::<ColumnScaled>(&[Device::flex()]);
}

#[test]
fn the_allocator_conforms() {
    assert_allocator::<SquareRoot>();
}

#[test]
fn the_curve_conforms() {
    assert_curve::<Cosine>();
}

#[test]
fn the_reconstruction_conforms() {
    assert_reconstruction::<Rescaled>();
}

#[test]
fn the_criterion_is_its_formula() {
    let device = Device::flex();
    let mut layer = LinearConfig::new(3, 2).with_bias(false).init(&device);
    // A column of this tensor is an output unit: 3, -1, 1 with mean 1, and 2, 4, 0 with mean 2.
    layer.weight = Param::from_tensor(Tensor::from_data([[3.0, 2.0], [-1.0, 4.0], [1.0, 0.0]], &device));
    let pruner = Pruner::builder()
        .with_criterion(Centered::default())
        .with_allocator(SquareRoot {})
        .with_sparsity(0.5)
        .build()
        .unwrap();
    let scores = pruner.scores(&layer, None).unwrap();
    assert_eq!(scores[0].path, "weight");
    assert_eq!(scores[0].scores, [2.0, 0.0, 2.0, 2.0, 0.0, 2.0]);
}

#[test]
fn a_criterion_brings_its_own_input() {
    let device = Device::flex();
    let mut layer = LinearConfig::new(3, 2).with_bias(false).init(&device);
    layer.weight = Param::from_tensor(Tensor::from_data([[3.0, 2.0], [-1.0, 4.0], [1.0, 0.0]], &device));
    let x = Tensor::<2>::from_data([[3.0, 0.0, 0.5], [4.0, 2.0, 0.0]], &device);
    let norms = x.square().sum_dim(0).sqrt().reshape([3]);
    let inputs = CriterionInputs::new().with_input(COLUMN_NORM, &layer, [("weight", norms)]).unwrap();
    let pruner = Pruner::builder()
        .with_criterion(ColumnScaled {})
        .with_allocator(SquareRoot {})
        .with_sparsity(0.5)
        .build()
        .unwrap();
    assert_eq!(pruner.scores(&layer, &inputs).unwrap()[0].scores, [15.0, 10.0, 2.0, 8.0, 0.5, 0.0]);
    assert_eq!(pruner.prune(&mut layer, &inputs).unwrap().kept(), 3);
    let error = pruner.prune(&mut layer, None).unwrap_err().to_string();
    assert!(error.starts_with("criterion acme.column_scaled needs: acme.column_norm"), "{error}");
}
