//! The published test kit for criteria: what every one of them must do, on every device.
//!
//! One line in the tests of a plugin crate runs it all, and a failure names the plugin, the check, device, shape and seed, and
//! what was expected and found:
//!
//! ```
//! # use burn::tensor::{Device, Tensor};
//! # use pruning_burn::{Criterion, CriterionError, LayerView, Plugin};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Default, Serialize, Deserialize)]
//! # #[serde(default, deny_unknown_fields)]
//! # struct Square {}
//! # impl Plugin for Square {
//! #     const NAME: &'static str = "acme.square";
//! #     const SUMMARY: &'static str = "The square of each weight.";
//! # }
//! # impl Criterion for Square {
//! #     fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
//! #         Ok(layer.weight().square())
//! #     }
//! # }
//! # pruning_burn::register_criterion!(Square);
//! pruning_burn::conformance::assert_criterion::<Square>(&[Device::flex()]);
//! ```
//!
//! Allocators and curves have theirs in [`pruning_core::conformance`], whose types this kit shares.

use crate::host::to_matrix;
use crate::layers::layout;
use crate::{Criterion, CriterionError, Inputs, LayerView, Needs, Register};
use burn::tensor::{Device, Tensor, TensorData};
pub use pruning_core::conformance::{
    Check, Failure, Subject, allocator_checks, assert_all, assert_allocator, assert_curve, curve_checks,
};
use pruning_core::{Configured, Plugins, conformance::plugin_checks};

/// Runs every check on a criterion, with its default configuration.
///
/// # Panics
/// A check fails.
pub fn assert_criterion<P: Register + Criterion>(devices: &[Device]) {
    let plugins = Plugins::empty().with::<P>();
    assert_all(&criterion_checks(devices), &Subject::new(&plugins, P::NAME));
}

type Subjected<'a> = (&'a Check<dyn Criterion>, &'a Subject<'a>);

/// Layer types and shapes of their parameters: odd ones, a single element, a single row or column, kernels, a norm.
const LAYERS: [(&str, &[usize]); 9] = [
    ("Linear", &[1, 1]),
    ("Linear", &[7, 3]),
    ("Linear", &[65, 33]),
    ("Linear", &[1, 129]),
    ("Linear", &[127, 1]),
    ("Conv2d", &[5, 3, 3, 3]),
    ("ConvTranspose2d", &[3, 5, 2, 2]),
    ("Conv1d", &[4, 1, 7]),
    ("BatchNorm", &[9]),
];
const SEEDS: [u64; 2] = [1, 0x5eed];

/// A layer with weights of a scale, and what to say of it.
struct Case {
    kind: &'static str,
    shape: Vec<usize>,
    weights: Vec<f32>,
    about: String,
}

/// Numbers in `(-1, 1)`, well apart from zero and from each other, the same everywhere.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let magnitude = (state >> 41) as f32 / (1u64 << 23) as f32;
            if state & 1 == 0 { 0.01 + 0.99 * magnitude } else { -0.01 - 0.99 * magnitude }
        })
        .collect()
}

fn case(kind: &'static str, shape: &[usize], scale: f32, seed: u64) -> Case {
    let weights = numbers(shape.iter().product(), seed).iter().map(|v| v * scale).collect();
    Case {
        kind,
        shape: shape.to_vec(),
        weights,
        about: format!("{kind} {shape:?}, weights to {scale:e}, seed {seed:#x}"),
    }
}

fn cases(scales: &[f32]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, shape) in LAYERS {
        for &scale in scales {
            cases.extend(SEEDS.map(|seed| case(kind, shape, scale, seed)));
        }
    }
    cases
}

/// The scores of a layer, in the order of its matrix; none if the layer is of a type that the criterion says it does not suit.
fn scores(
    (check, subject): Subjected<'_>,
    criterion: &Configured<dyn Criterion>,
    case: &Case,
    device: &Device,
) -> Result<Vec<f32>, Failure> {
    let fail = |expected: String, got: String| {
        Err(check.failure(subject, format!("{} on {device:?}", case.about), expected, got))
    };
    let path = if case.kind.contains("Norm") { "layer.gamma" } else { "layer.weight" };
    let layout = layout(case.kind, path.rsplit('.').next().unwrap_or_default(), &case.shape);
    let flat = Tensor::<1>::from_data(TensorData::new(case.weights.clone(), [layout.len()]), device);
    let weight = to_matrix(flat, &layout);
    let expected = weight.dims();
    // Every input is there; the view hands out those that the criterion declares.
    let mut inputs = Inputs::new();
    for (need, seed) in Needs::each().zip(11..) {
        // A number that goes with its weight, wherever that one is moved to.
        let other = |weight: &f32| numbers(1, u64::from(weight.to_bits()) << 8 | seed)[0];
        let values: Vec<f32> = case.weights.iter().map(other).collect();
        let values = if need == Needs::SQUARED_GRADIENT { values.iter().map(|v| v * v).collect() } else { values };
        let values = Tensor::from_data(TensorData::new(values, [layout.len()]), device);
        inputs.put_one(need, path, &case.shape, values);
    }
    let view = LayerView {
        path,
        kind: case.kind,
        shape: &case.shape,
        layout,
        weight,
        inputs: Some(&inputs),
        needs: criterion.needs(),
        update: 0,
    };
    let (scores, factor) = match criterion.score(&view).and_then(|s| Ok((s, criterion.factor(&view)?))) {
        Ok(scored) => scored,
        Err(CriterionError::Unsuited { .. }) => return Ok(Vec::new()),
        Err(error) => return fail("scores".to_string(), error.to_string()),
    };
    if scores.dims() != expected {
        return fail(format!("scores of shape {expected:?}"), format!("{:?}", scores.dims()));
    }
    if scores.device() != *device {
        return fail(format!("scores on {device:?}"), format!("{:?}", scores.device()));
    }
    // As they rank.
    Ok(scores.into_data().iter::<f32>().map(|score| score * factor as f32).collect())
}

/// The checks for criteria. The first device is the one that others are compared with.
#[must_use]
pub fn criterion_checks(devices: &[Device]) -> Vec<Check<dyn Criterion>> {
    let mut checks = plugin_checks::<dyn Criterion>();
    let mut add = |name: &'static str, run: fn(Subjected<'_>, &[Device]) -> Result<(), Failure>| {
        let devices = devices.to_vec();
        checks.push(Check::new(name, move |check: &Check<dyn Criterion>, subject: &Subject<'_>| {
            run((check, subject), &devices)
        }));
    };
    add("one_score_for_each_weight", |at, devices| {
        let criterion = at.1.build(at.0)?;
        devices.iter().try_for_each(|device| {
            let mut any = false;
            cases(&[1.0]).iter().try_for_each(|case| {
                any |= !scores(at, &criterion, case, device)?.is_empty();
                Ok(())
            })?;
            let failure =
                || at.0.failure(at.1, format!("{LAYERS:?} on {device:?}"), "scores for some of them", "none suits it");
            if any { Ok(()) } else { Err(failure()) }
        })
    });
    add("needs_are_honest", honest);
    add("finite_on_extreme_magnitudes", finite);
    add("same_weights_same_scores", deterministic);
    add("rows_and_columns_may_change_places", equivariant);
    add("devices_agree", agree);
    checks
}

/// What is declared is used: without it there are no scores. What is used and not declared fails every check.
fn honest(at: Subjected<'_>, devices: &[Device]) -> Result<(), Failure> {
    let criterion = at.1.build(at.0)?;
    for need in Needs::each().filter(|need| criterion.needs().contains(*need)) {
        for device in devices {
            let case = case("Linear", &[7, 3], 1.0, SEEDS[0]);
            let layout = layout(case.kind, "weight", &case.shape);
            let flat = Tensor::<1>::from_data(TensorData::new(case.weights.clone(), [layout.len()]), device);
            let mut inputs = Inputs::new();
            for other in Needs::each().filter(|other| *other != need) {
                inputs.put_one(other, "layer.weight", &case.shape, flat.clone());
            }
            let view = LayerView {
                path: "layer.weight",
                kind: case.kind,
                shape: &case.shape,
                layout,
                weight: to_matrix(flat, &layout),
                inputs: Some(&inputs),
                needs: criterion.needs(),
                update: 0,
            };
            if criterion.score(&view).is_ok() {
                let case = format!("{} on {device:?}, all inputs but {need}", case.about);
                return Err(at.0.failure(at.1, case, "an error, since it declares that input", "scores"));
            }
        }
    }
    Ok(())
}

fn finite(at: Subjected<'_>, devices: &[Device]) -> Result<(), Failure> {
    let criterion = at.1.build(at.0)?;
    for device in devices {
        // Squares of these are within the range of 32-bit floats, and so are their sums over a layer.
        for case in cases(&[1e-30, 1e-15, 1e15, 0.0]) {
            let scores = scores(at, &criterion, &case, device)?;
            if let Some((index, score)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
                let case = format!("{} on {device:?}", case.about);
                return Err(at.0.failure(at.1, case, "finite scores", format!("{score} at index {index}")));
            }
        }
    }
    Ok(())
}

/// Bit for bit on the first device. The others may tune their kernels while they run, and sum in another order from one
/// call to the next.
fn deterministic(at: Subjected<'_>, devices: &[Device]) -> Result<(), Failure> {
    let (one, two) = (at.1.build(at.0)?, at.1.build(at.0)?);
    for (place, device) in devices.iter().enumerate() {
        let all = cases(&[1.0]);
        // Another layer in between must not matter either.
        let first = all.iter().map(|case| scores(at, &one, case, device)).collect::<Result<Vec<_>, _>>()?;
        for (case, expected) in all.iter().zip(&first) {
            let largest = largest(expected);
            let same = |a: f32, b: f32| if place == 0 { a.to_bits() == b.to_bits() } else { near(a, b, largest) };
            for criterion in [&one, &two] {
                let got = scores(at, criterion, case, device)?;
                if let Some(index) = (0..got.len()).find(|&i| !same(got[i], expected[i])) {
                    let case = format!("{} on {device:?}, scored again", case.about);
                    let (expected, got) = (expected[index], got[index]);
                    return Err(at.0.failure(at.1, case, format!("{expected} at index {index}"), got.to_string()));
                }
            }
        }
    }
    Ok(())
}

/// Whether two scores are the same but for the order of a sum.
fn near(a: f32, b: f32, largest: f32) -> bool {
    (a - b).abs() <= 1e-5 * largest
}

fn largest(scores: &[f32]) -> f32 {
    scores.iter().fold(0.0, |max, s| s.abs().max(max))
}

fn equivariant(at: Subjected<'_>, devices: &[Device]) -> Result<(), Failure> {
    let criterion = at.1.build(at.0)?;
    for device in devices {
        for (rows, cols) in [(7, 3), (16, 31)] {
            for seed in SEEDS {
                // A Linear stores columns of its matrix one after the other.
                let plain = case("Linear", &[cols, rows], 1.0, seed);
                let expected = scores(at, &criterion, &plain, device)?;
                let other = case("Linear", &[cols, rows], 3.0, seed ^ 0xff);
                if scores(at, &criterion, &other, device)? == expected {
                    // Scores that do not look at the weights have nothing to move with them.
                    continue;
                }
                let (row, col) = (|r: usize| (r * 5 + 2) % rows, |c: usize| (c * 4 + 1) % cols);
                let mut moved = case("Linear", &[cols, rows], 1.0, seed);
                for r in 0..rows {
                    for c in 0..cols {
                        moved.weights[c * rows + r] = plain.weights[col(c) * rows + row(r)];
                    }
                }
                let got = scores(at, &criterion, &moved, device)?;
                for (r, c) in (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))) {
                    let (expected_score, got) = (expected[row(r) * cols + col(c)], got[r * cols + c]);
                    if !near(expected_score, got, largest(&expected)) {
                        let case = format!("{} on {device:?}, rows and columns permuted", plain.about);
                        let expected = format!("{expected_score} at row {r}, column {c}");
                        return Err(at.0.failure(at.1, case, expected, got.to_string()));
                    }
                }
            }
        }
    }
    Ok(())
}

fn agree(at: Subjected<'_>, devices: &[Device]) -> Result<(), Failure> {
    let criterion = at.1.build(at.0)?;
    let Some((reference, others)) = devices.split_first() else { return Ok(()) };
    for device in others {
        for case in cases(&[1.0, 1e-3]) {
            let expected = scores(at, &criterion, &case, reference)?;
            let got = scores(at, &criterion, &case, device)?;
            if let Some(i) = (0..got.len()).find(|&i| !near(expected[i], got[i], largest(&expected))) {
                let case = format!("{}, {device:?} beside {reference:?}", case.about);
                return Err(at.0.failure(at.1, case, format!("{} at index {i}", expected[i]), got[i].to_string()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "conformance_tests.rs"]
mod tests;
