//! Whether the plugins do what plugins must: one line each. And whether the criterion is its formula, on numbers by hand.

use acme_pruning::{Centered, Cosine, SquareRoot};
use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use pruning_burn::Pruner;
use pruning_burn::conformance::{assert_allocator, assert_criterion, assert_curve};

#[test]
fn the_criterion_conforms() {
    assert_criterion::<Centered>(&[Device::flex()]);
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
fn the_criterion_is_its_formula() {
    let device = Device::flex();
    let mut layer = LinearConfig::new(3, 2).with_bias(false).init(&device);
    // A column of this tensor is an output unit: 3, -1, 1 with mean 1, and 2, 4, 0 with mean 2.
    layer.weight = Param::from_tensor(Tensor::from_data([[3.0, 2.0], [-1.0, 4.0], [1.0, 0.0]], &device));
    let pruner =
        Pruner::builder().with_criterion(Centered::default()).with_allocator(SquareRoot {}).with_sparsity(0.5).build().unwrap();
    let scores = pruner.scores(&layer, None).unwrap();
    assert_eq!(scores[0].path, "weight");
    assert_eq!(scores[0].scores, [2.0, 0.0, 2.0, 2.0, 0.0, 2.0]);
}
