//! A test kit for criteria, which checks that a criterion keeps its contract on every device.
//!
//! One line in the tests of a plugin crate runs all checks. A failure names the plugin, the check, the device, the shape and the seed, and
//! what was expected and found:
//!
//! ```
//! # use burn::tensor::{Device, Tensor};
//! # use pruning_burn::score::{Criterion, CriterionError, LayerView};
//! # use pruning_burn::plugin::Plugin;
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
//! A criterion gets every input that it declares, also those of its own crate: for each weight, and for each column of each of three batches, a number of either sign; for each column or
//! output a positive number, as norms are; for each pair of columns an entry of a symmetric, positive definite matrix, as products of inputs
//! form it.
//!
//! The test kits for allocators, curves and reconstructions are in [`pruning_core::conformance`], and share its types.

mod cases;
mod checks;

pub use pruning_core::conformance::{
    Check, Failure, FirstAnswers, Subject, allocator_checks, assert_all, assert_allocator, assert_curve,
    assert_reconstruction, curve_checks, reconstruction_checks,
};

use crate::host::to_matrix;
use crate::layer_types;
use crate::plugin::Register;
use crate::score::criterion::scored;
use crate::score::{Criterion, CriterionError, CriterionInputs, LayerView, Need, Needs};
use burn::tensor::{Device, Tensor, TensorData};
use cases::Case;
use pruning_core::conformance::plugin_checks;
use pruning_core::plugin::{Configured, Plugins};
use pruning_core::score::Order;
use std::sync::Arc;

/// Runs every check on a criterion with its default configuration.
///
/// The [module](self) has an example.
///
/// # Panics
/// A check fails.
pub fn assert_criterion<P: Register + Criterion>(devices: &[Device]) {
    let plugins = Plugins::empty().with::<P>();
    assert_all(&criterion_checks(devices), &Subject::new(&plugins, P::NAME));
}

/// Returns the checks for criteria, which compare all devices with the first one.
///
/// Use it to list the checks, or to run each one as a separate test; [`assert_criterion`] runs them all.
///
/// ```
/// # use burn::tensor::Device;
/// # use pruning_magnitude as _;
/// use pruning_burn::conformance::{Subject, criterion_checks};
/// use pruning_burn::plugin::Plugins;
/// let plugins = Plugins::linked();
/// let checks = criterion_checks(&[Device::flex()]);
/// assert!(checks.iter().all(|check| check.run(&Subject::new(&plugins, "magnitude")).is_ok()));
/// ```
#[must_use]
pub fn criterion_checks(devices: &[Device]) -> Vec<Check<dyn Criterion>> {
    let kit = Arc::new(Kit { devices: devices.to_vec(), answers: FirstAnswers::default() });
    let mut all = plugin_checks::<dyn Criterion>();
    for (name, run) in checks::ALL {
        let kit = kit.clone();
        all.push(Check::new(name, move |check: &Check<dyn Criterion>, subject: &Subject<'_>| {
            run(&At { check, subject, kit: &kit })
        }));
    }
    all
}

/// What the checks share.
struct Kit {
    devices: Vec<Device>,
    /// Scores on the first device, as bits.
    answers: FirstAnswers<Vec<u32>>,
}

/// A check at work on a criterion.
struct At<'a> {
    check: &'a Check<dyn Criterion>,
    subject: &'a Subject<'a>,
    kit: &'a Kit,
}

impl At<'_> {
    fn build(&self) -> Result<Configured<dyn Criterion>, Failure> {
        self.subject.build(self.check)
    }

    fn failure(&self, case: String, expected: impl Into<Box<str>>, got: impl Into<Box<str>>) -> Failure {
        self.check.failure(self.subject, case, expected, got)
    }

    /// Scores as they rank, in the order of the matrix; none if the layer is of a type that the criterion says it does not suit.
    fn scores(&self, criterion: &Configured<dyn Criterion>, case: &Case, device: &Device) -> Result<Vec<f32>, Failure> {
        let fail = |expected: String, got: String| Err(self.failure(case.on(device), expected, got));
        let needs = criterion.needs();
        let inputs = case.inputs(needs.iter(), device);
        let scored = scored(&**criterion, &case.view(needs, &inputs, device));
        let (scores, factor) = match scored {
            Ok(scored) => scored,
            Err(CriterionError::Unsuited { .. }) => return Ok(Vec::new()),
            Err(error) => return fail("scores".to_string(), error.to_string()),
        };
        if scores.device() != *device {
            return fail(format!("scores on {device:?}"), format!("{:?}", scores.device()));
        }
        let absolute = criterion.order() == Order::Absolute;
        let rank = |score: f32| factor * if absolute { score.abs() } else { score };
        let scores: Vec<f32> = scores.into_data().iter::<f32>().map(rank).collect();
        if self.kit.devices.first() == Some(device) {
            let bits = scores.iter().map(|score| score.to_bits()).collect();
            let first = self.kit.answers.first(self.subject, &case.about, &bits);
            if self.check.name == checks::DETERMINISTIC
                && let Some(index) = (0..bits.len()).find(|&i| bits[i] != first[i])
            {
                let expected = format!("{} at index {index}, as it was first", f32::from_bits(first[index]));
                return fail(expected, scores[index].to_string());
            }
        }
        Ok(scores)
    }
}

fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

impl Case {
    /// What a criterion declares, whatever crate it comes from.
    fn inputs(&self, needs: impl Iterator<Item = Need>, device: &Device) -> CriterionInputs {
        let mut inputs = CriterionInputs::new();
        for need in needs {
            inputs.put_one(need, self.path(), &self.shape, tensor(self.input(need), device));
        }
        inputs
    }

    fn view<'a>(&'a self, needs: Needs, inputs: &'a CriterionInputs, device: &Device) -> LayerView<'a> {
        let weight = to_matrix(tensor(self.weights.clone(), device), &self.layout());
        let (path, kind, shape) = (self.path(), self.kind, &self.shape[..]);
        LayerView { path, kind, shape, layout: self.layout(), weight, inputs: Some(inputs), needs, update: 0 }
    }

    fn layout(&self) -> pruning_core::score::MatrixLayout {
        layer_types::of(self.kind).layout(self.path().rsplit('.').next().unwrap_or_default(), &self.shape)
    }
}

#[cfg(test)]
mod mutants;
