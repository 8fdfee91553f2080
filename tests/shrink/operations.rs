//! Every kind of operation between two layers: what is planned computes what the masked model computes, and what stays is known.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::*;
use burn::tensor::module::{attention, avg_pool1d, layer_norm, max_pool1d_with_indices};
use burn::tensor::ops::{
    AttentionModuleOptions, AvgPoolOptions, GridSampleOptions, InterpolateMode, MaxPoolOptions, PadMode,
};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, ShrinkError, Shrinker, verify};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::{filled, numbers};

#[derive(Module, Debug)]
struct Two {
    first: Linear,
    last: Linear,
}

/// Works on the last axis, where it works on one axis alone.
type Operation = fn(Tensor<3>) -> Tensor<3>;

/// Where the channels of the first layer lie when the operation comes: on the axis that it works on, or beside it.
const PLACES: [&str; 2] = ["along", "beside"];

fn input(device: &Device) -> Tensor<3> {
    Tensor::<1>::from_floats(numbers(2 * 4 * 3, 9).as_slice(), device).reshape([2, 4, 3])
}

fn middle(first: &Linear, operation: Operation, place: usize, x: Tensor<3>) -> Tensor<3> {
    let x = first.forward(x);
    if place == 0 { operation(x) } else { operation(x.swap_dims(1, 2)).swap_dims(1, 2) }
}

/// Whether channels of the first layer go; with the last layer after the operation, or a sum, for which zeros must have
/// stayed zeros.
fn removes(operation: Operation, place: usize, sum: bool) -> Result<bool, ShrinkError> {
    let device = Device::flex();
    let first = LinearConfig::new(3, 6).init(&device);
    let width = middle(&first, operation, place, input(&device)).dims()[2];
    let model = filled(Two { first, last: LinearConfig::new(width, 3).init(&device) }, 31);
    let forward = |m: &Two, s: &mut Scope| {
        let x = s.input(&input(&device));
        let x = middle(&m.first, operation, place, x);
        s.output(if sum { x.sum_dim(2) } else { m.last.forward(x) });
    };
    let trace = Trace::record(&model, forward)?;
    let recipe = crate::channels(0.5, "[target]\ninclude = [\"first\"]");
    let plan = match Shrinker::new(&recipe).plan(&model, &trace, None) {
        Err(ShrinkError::NothingToRemove { .. }) => return Ok(false),
        other => other?,
    };
    let (mut masked, mut smaller) = (model.clone(), model.clone());
    shrink::mask(&plan, &mut masked)?;
    shrink::apply(&plan, &mut smaller, |_: &mut Two, _: &mut Fields| {}, forward)?;
    let difference = verify(&masked, &smaller, forward)?;
    assert!(difference.max_rel < 1e-5, "{difference:?}\n{plan}");
    Ok(!plan.is_empty())
}

fn check(name: &str, operation: Operation, expected: [bool; 2]) -> Result<(), String> {
    for (place, &expected) in expected.iter().enumerate() {
        let at = format!("{name}, {} the channels", PLACES[place]);
        let found = removes(operation, place, false).map_err(|e| format!("{at}: {e}"))?;
        if found != expected {
            return Err(format!("{at}: channels go: {found} instead of {expected}"));
        }
        removes(operation, place, true).map_err(|e| format!("{at}, summed: {e}"))?;
    }
    Ok(())
}

fn ints(numbers: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_ints(numbers, device)
}

/// Numbers 0, 1, 2 for each entry beside the last axis.
fn three(x: &Tensor<3>) -> Tensor<3, Int> {
    let [a, b, _] = x.dims();
    ints(&[2, 0, 1], &x.device()).reshape([1, 1, 3]).expand([a, b, 3])
}

fn heads(x: Tensor<3>) -> Tensor<4> {
    x.unsqueeze_dim(1)
}

macro_rules! operations {
    ($($test:ident { $($name:literal: $operation:expr => $expected:expr;)+ })+) => {$(
        #[test]
        fn $test() {
            let table: &[(&str, Operation, [bool; 2])] = &[$(($name, $operation, $expected)),+];
            let wrong: Vec<_> = table.iter().filter_map(|&(name, op, expected)| check(name, op, expected).err()).collect();
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    )+};
}

/// Channels go whether the operation works along them or beside them.
const FREE: [bool; 2] = [true, true];
/// They go if they are not what the operation works along.
const BESIDE: [bool; 2] = [false, true];
const STAY: [bool; 2] = [false, false];

operations! {
    entry_by_entry {
        "abs": |x| x.abs() => FREE;
        "neg": |x| x.neg() => FREE;
        "sign": |x| x.sign() => FREE;
        "exp": |x| x.exp() => FREE;
        "log": |x| (x.abs() + 1.0).log() => FREE;
        "log of zeros": |x| x.abs().log() => STAY;
        "log1p": |x| x.abs().log1p() => FREE;
        "erf": |x| x.erf() => FREE;
        "sqrt": |x| x.abs().sqrt() => FREE;
        "cos": |x| x.cos() => FREE;
        "cosh": |x| x.cosh() => FREE;
        "sin": |x| x.sin() => FREE;
        "sinh": |x| x.sinh() => FREE;
        "tan": |x| x.tan() => FREE;
        "tanh": |x| x.tanh() => FREE;
        "acos": |x| x.tanh().acos() => FREE;
        "acosh of zeros": |x| x.acosh() => STAY;
        "asin": |x| x.tanh().asin() => FREE;
        "asinh": |x| x.asinh() => FREE;
        "atan": |x| x.atan() => FREE;
        "atanh": |x| (x.tanh() * 0.5).atanh() => FREE;
        "round": |x| (x * 4.0).round() => FREE;
        "floor": |x| (x * 4.0).floor() => FREE;
        "ceil": |x| (x * 4.0).ceil() => FREE;
        "trunc": |x| (x * 4.0).trunc() => FREE;
        "recip": |x| (x.abs() + 1.0).recip() => FREE;
        "recip of zeros": |x| x.recip() => STAY;
        "is_nan": |x| x.is_nan().float() => FREE;
        "is_inf": |x| x.is_inf().float() => FREE;
        "powf_scalar": |x| x.abs().powf_scalar(1.5) => FREE;
        "powf_scalar of zeros, below 0": |x| x.abs().powf_scalar(-0.5) => STAY;
        "powi_scalar": |x| x.powi_scalar(3) => FREE;
        "add_scalar": |x| x + 1.5 => FREE;
        "sub_scalar": |x| x - 0.5 => FREE;
        "div_scalar": |x| x / 3.0 => FREE;
        "remainder_scalar": |x| x.remainder_scalar(0.3) => FREE;
        "clamp": |x| x.clamp(-0.3, 0.4) => FREE;
        "clamp above zero": |x| x.clamp(0.1, 0.4) => FREE;
        "clamp_min": |x| x.clamp_min(0.2) => FREE;
        "clamp_max": |x| x.clamp_max(-0.2) => FREE;
        "greater_elem": |x| x.greater_elem(-0.1).float() => FREE;
        "lower_equal_elem": |x| x.lower_equal_elem(0.1).int().float() => FREE;
        "equal_elem": |x| x.equal_elem(0.0).float() => FREE;
        "not_equal_elem": |x| x.not_equal_elem(0.0).float() => FREE;
        "bool_not": |x| x.greater_elem(0.0).bool_not().float() => FREE;
        "int": |x| (x * 5.0).int().float() => FREE;
        "bitwise_and_scalar": |x| (x.abs() * 9.0).int().bitwise_and_scalar(3).float() => FREE;
        "relu": relu => FREE;
        "gelu": gelu => FREE;
        "gelu_approximate": gelu_approximate => FREE;
        "sigmoid": sigmoid => FREE;
        "hard_sigmoid": |x| hard_sigmoid(x, 0.2, 0.5) => FREE;
        "log_sigmoid": log_sigmoid => FREE;
        "leaky_relu": |x| leaky_relu(x, 0.1) => FREE;
        "elu": |x| elu(x, 1.0) => FREE;
        "softplus": |x| softplus(x, 1.0) => FREE;
        "mish": mish => FREE;
        "hard_swish": hard_swish => FREE;
        "softsign": softsign => FREE;
        "soft_shrink": |x| soft_shrink(x, 0.1) => FREE;
    }

    two_operands {
        "add": |x| x.clone() + x.exp() => FREE;
        "sub": |x| x.clone().exp() - x => FREE;
        "mul": |x| x.clone() * x.exp() => FREE;
        "div": |x| x.clone() / x.exp() => FREE;
        "div by zeros": |x| x.clone().exp() / x => STAY;
        "zeros div by zeros": |x| x.clone() / x => STAY;
        "remainder": |x| x.clone().remainder(x.exp()) => FREE;
        "remainder of zeros by zeros": |x| x.clone().remainder(x) => STAY;
        "powf": |x| x.clone().exp().powf(x) => FREE;
        "powf of zeros": |x| x.clone().abs().powf(x - 0.5) => STAY;
        "powi": |x| x.clone().exp().powi((x * 3.0).round()) => FREE;
        "atan2": |x| x.clone().atan2(x.exp()) => FREE;
        "hypot": |x| x.clone().hypot(x * 2.0) => FREE;
        "max_pair": |x| x.clone().max_pair(x.exp() - 1.0) => FREE;
        "greater": |x| x.clone().greater(x.exp() - 1.2).float() => FREE;
        "equal": |x| x.clone().equal(x.abs()).float() => FREE;
        "not_equal": |x| x.clone().not_equal(x.abs()).float() => FREE;
        "bool_and": |x| x.clone().greater_elem(0.0).bool_and(x.lower_elem(0.5)).float() => FREE;
        "bool_or": |x| x.clone().greater_elem(0.4).bool_or(x.lower_elem(0.1)).float() => FREE;
        "mask_fill": |x| x.clone().mask_fill(x.lower_elem(0.1), 0.7) => FREE;
        "mask_fill with zero": |x| x.clone().mask_fill(x.lower_elem(0.1), 0.0) => FREE;
        "mask_where": |x| x.clone().mask_where(x.clone().lower_elem(0.1), x.exp()) => FREE;
        "with a mean beside": |x| { let mean = x.clone().mean_dim(2); x - mean } => BESIDE;
        "with a sum beside": |x| { let sum = x.clone().sum_dim(2); x + sum } => FREE;
        // Beside them, both axes of the product are channels, and one of the two ends in the output.
        "matmul": |x| x.clone().matmul(x.transpose()) => [true, false];
        "attention": |x| {
            let options = AttentionModuleOptions { scale: Some(0.5), ..Default::default() };
            let q = heads(x.clone());
            attention(q.clone(), q, heads(x), None, None, options).squeeze_dim(1)
        } => [true, false];
        "attention scaled by its length": |x| {
            let q = heads(x.clone());
            attention(q.clone(), q, heads(x), None, None, AttentionModuleOptions::default()).squeeze_dim(1)
        } => STAY;
        "layer_norm": |x| {
            let (width, device) = (x.dims()[2], x.device());
            let ones = Tensor::ones([width], &device);
            layer_norm(x, ones.clone() * 1.5, Some(ones * 0.3), 1e-5)
        } => BESIDE;
    }

    reduced {
        "sum_dim": |x| x.sum_dim(2) => FREE;
        "sum of what is not zero": |x| x.exp().sum_dim(2) => BESIDE;
        "sum_dims": |x| x.sum_dims(&[0, 2]) => FREE;
        "sum": |x| x.sum().reshape([1, 1, 1]) => FREE;
        "mean_dim": |x| x.mean_dim(2) => BESIDE;
        "mean": |x| x.mean().reshape([1, 1, 1]) => STAY;
        "var": |x| x.var(2) => BESIDE;
        "prod_dim": |x| x.prod_dim(2) => BESIDE;
        "prod": |x| x.prod().reshape([1, 1, 1]) => STAY;
        "max_dim": |x| x.max_dim(2) => BESIDE;
        "max": |x| x.max().reshape([1, 1, 1]) => STAY;
        "min_dim": |x| x.min_dim(2) => BESIDE;
        "min": |x| x.min().reshape([1, 1, 1]) => STAY;
        "max_abs_dim": |x| x.max_abs_dim(2) => BESIDE;
        "max_abs": |x| x.max_abs().reshape([1, 1, 1]) => STAY;
        "max_dim_with_indices": |x| { let (x, at) = x.max_dim_with_indices(2); x + at.float() } => BESIDE;
        "min_dim_with_indices": |x| { let (x, at) = x.min_dim_with_indices(2); x + at.float() } => BESIDE;
        "argmax": |x| x.argmax(2).float() => BESIDE;
        "argmin": |x| x.argmin(2).float() => BESIDE;
        "argtopk": |x| x.argtopk(2, 2).float() => BESIDE;
        "topk": |x| x.topk(2, 2) => BESIDE;
        "topk_with_indices": |x| { let (x, at) = x.topk_with_indices(2, 2); x + at.float() } => BESIDE;
        "any_dim": |x| x.greater_elem(0.1).any_dim(2).float() => BESIDE;
        "all_dim": |x| x.greater_elem(0.1).all_dim(2).float() => BESIDE;
        "any": |x| x.greater_elem(9.0).any().float().reshape([1, 1, 1]) => STAY;
        "softmax": |x| softmax(x, 2) => BESIDE;
        "quiet_softmax": |x| quiet_softmax(x, 2) => BESIDE;
        "softmin": |x| softmin(x, 2) => BESIDE;
        "log_softmax": |x| log_softmax(x, 2) => BESIDE;
    }

    in_order {
        "cumsum": |x| x.cumsum(2) => BESIDE;
        "cumprod": |x| x.cumprod(2) => BESIDE;
        "cummin": |x| x.cummin(2) => BESIDE;
        "cummax": |x| x.cummax(2) => BESIDE;
        "sort": |x| x.sort(2) => BESIDE;
        "sort_descending": |x| x.sort_descending(2) => BESIDE;
        "sort_with_indices": |x| { let (x, at) = x.sort_with_indices(2); x + at.float() } => BESIDE;
        "argsort": |x| x.argsort(2).float() => BESIDE;
    }

    moved {
        "reshape": |x| { let [a, b, c] = x.dims(); x.reshape([a * b, c]).reshape([a, b, c]) } => FREE;
        "permute": |x| x.permute([2, 0, 1]).permute([1, 2, 0]) => FREE;
        "flip": |x| x.flip([2]) => FREE;
        "roll": |x| x.roll(&[1], &[2]) => BESIDE;
        "repeat_dim": |x| x.repeat_dim(2, 2) => FREE;
        "expand": |x| { let [a, b, c] = x.dims(); x.mean_dim(2).expand([a, b, c]) } => BESIDE;
        "unfold": |x| x.unfold::<4, _>(2, 3, 1).flatten(2, 3) => BESIDE;
        "chunk": |x| { let p = x.chunk(2, 2); p[0].clone() * sigmoid(p[1].clone()) } => FREE;
        "a lone piece": |x| { let half = x.dims()[2] / 2; x.narrow(2, 0, half) } => BESIDE;
        "a lone piece of written size": |x| x.narrow(2, 0, 2) => BESIDE;
        "uneven pieces": |x| { let rest = x.dims()[2] - 1; x.split_with_sizes(vec![1, rest], 2).swap_remove(1) } => BESIDE;
        "slice_assign": |x| {
            let [a, b, _] = x.dims();
            let value = x.clone().narrow(2, 1, 2).exp();
            x.slice_assign([0..a, 0..b, 0..2], value)
        } => BESIDE;
        "select": |x| { let at = ints(&[1, 0, 1], &x.device()); x.select(2, at) } => BESIDE;
        "select_assign": |x| {
            let (at, value) = (ints(&[1, 0, 1], &x.device()), x.clone().narrow(2, 0, 3).exp());
            x.select_assign(2, at, value, IndexingUpdateOp::Add)
        } => BESIDE;
        "gather": |x| { let at = three(&x); x.gather(2, at) } => BESIDE;
        "gather of what is sorted": |x| { let at = x.clone().argsort(2); x.gather(2, at) } => BESIDE;
        "scatter": |x| {
            let (at, value) = (three(&x), x.clone().narrow(2, 0, 3));
            x.scatter(2, at, value, IndexingUpdateOp::Add)
        } => STAY;
        "cat": |x| Tensor::cat(vec![x.clone(), x.exp()], 2) => FREE;
        "cat with zeros": |x| Tensor::cat(vec![x.clone(), x.zeros_like()], 2) => BESIDE;
        "pad": |x| x.pad([(1, 2)], PadMode::Constant(0.0)) => BESIDE;
        "pad with numbers": |x| x.pad([(1, 2)], PadMode::Constant(0.5)) => BESIDE;
        "pad by reflection": |x| x.pad([(1, 2)], PadMode::Reflect) => BESIDE;
        "pad by the edge": |x| x.pad([(1, 2)], PadMode::Edge) => BESIDE;
        "tril": |x| x.tril(0) => STAY;
    }

    of_signals_and_pictures {
        "avg_pool1d": |x| avg_pool1d(x, AvgPoolOptions::new([2])) => BESIDE;
        "max_pool1d_with_indices": |x| {
            let (x, at) = max_pool1d_with_indices(x, MaxPoolOptions::new([2]));
            x + at.float()
        } => BESIDE;
        "grid_sample_2d": |x| {
            let (picture, device) = (x.clone().unsqueeze_dim::<4>(3), x.device());
            let grid = Tensor::<1>::from_floats([0.1, -0.4, 0.0, 0.5, -0.7, 0.2], &device).reshape([1, 3, 1, 2]);
            let grid = grid.repeat_dim(0, x.dims()[0]);
            picture.grid_sample_2d(grid, GridSampleOptions::new(InterpolateMode::Bilinear)).squeeze_dim(3)
        } => BESIDE;
    }
}
