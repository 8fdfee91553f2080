//! Sparse layers compute what the dense ones they are made of do.

mod conv;
mod linear;

pub(crate) use conv::*;
pub(crate) use linear::*;

use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::nn::Execution;
use pruning_tests::models::numbers;

/// Numbers of which a fraction stays, the others being zero.
fn sparse(len: usize, density: f64, seed: u64) -> Vec<f32> {
    // Another stream decides: the numbers themselves say nothing about it.
    let coins = numbers(len, seed + 7_000_000);
    let keep = |coin: f32| f64::from(coin.abs()) < 0.01 + 0.99 * density && density > 0.0;
    numbers(len, seed).into_iter().zip(coins).map(|(v, coin)| if keep(coin) { v } else { 0.0 }).collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// That two results differ by rounding alone.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0_f32, |largest, v| largest.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 2e-5 * largest, "{what}, element {i}: {a} for {b}");
    }
}

/// Where sparse layers have products of their own, which is so on every device of the matrix.
#[track_caller]
fn assert_own(device: &Device) {
    assert_ne!(Execution::on(device), Execution::Dense);
}
