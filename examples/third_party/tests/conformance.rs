//! Whether the plugins do what plugins must: one line each.

use acme_pruning::{Centered, Cosine, SquareRoot};
use burn::tensor::Device;
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
