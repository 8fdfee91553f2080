//! Criteria that are wrong on purpose: each must be caught by the check that is for it.

use super::*;
use crate::{Plugin, register_criterion};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

macro_rules! mutant {
    ($type:ident, $name:literal, $layer:ident => $score:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $type {}

        impl Plugin for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "Wrong on purpose.";
        }

        impl Criterion for $type {
            fn score(&self, $layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
                $score
            }
        }

        register_criterion!($type);
    };
}

static CALLS: AtomicU32 = AtomicU32::new(0);

mutant!(Right, "test.right", layer => Ok(layer.weight().abs()));
mutant!(Transposed, "test.transposed", layer => Ok(layer.weight().abs().transpose()));
mutant!(Overflowing, "test.overflowing", layer => Ok(layer.weight().powi_scalar(4)));
mutant!(Dividing, "test.dividing", layer => {
    let largest = layer.weight().abs().max().reshape([1, 1]);
    Ok(layer.weight().abs() / largest.expand(layer.weight().shape()))
});
mutant!(Stateful, "test.stateful", layer =>
    Ok(layer.weight().abs() + CALLS.fetch_add(1, Ordering::Relaxed) as f32));
mutant!(Positional, "test.positional", layer => {
    let [rows, cols] = layer.weight().dims();
    let index = Tensor::<1, burn::tensor::Int>::arange(0..cols as i64, &layer.device()).float();
    Ok(layer.weight().abs() + index.reshape([1, cols]).repeat_dim(0, rows))
});
mutant!(Refusing, "test.refusing", layer =>
    Err(CriterionError::Unsuited { reason: format!("no scores for {}", layer.path()) }));

/// Declares an input that it does not look at.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Greedy {}

impl Plugin for Greedy {
    const NAME: &'static str = "test.greedy";
    const SUMMARY: &'static str = "Wrong on purpose.";
}

impl Criterion for Greedy {
    fn needs(&self) -> Needs {
        Needs::GRADIENT | Needs::FLOW
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight().abs() * layer.gradient()?)
    }
}

register_criterion!(Greedy);

mutant!(Sneaky, "test.sneaky", layer => Ok(layer.weight().abs() * layer.gradient()?.abs()));

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Lenient {}

impl Plugin for Lenient {
    const NAME: &'static str = "test.lenient";
    const SUMMARY: &'static str = "Takes any field.";
}

impl Criterion for Lenient {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight().abs())
    }
}

register_criterion!(Lenient);

fn caught<P: Register + Criterion>() -> Vec<&'static str> {
    let plugins = Plugins::empty().with::<P>();
    let subject = Subject::new(&plugins, P::NAME);
    let failures = criterion_checks(&[Device::flex()]).into_iter().filter_map(|check| check.run(&subject).err());
    failures.map(|failure| failure.check).collect()
}

#[test]
fn a_right_criterion_passes() {
    assert_criterion::<Right>(&[Device::flex()]);
}

#[test]
fn each_wrong_criterion_is_caught_by_the_check_for_it() {
    for (caught, check) in [
        (caught::<Transposed>(), "one_score_for_each_weight"),
        (caught::<Overflowing>(), "finite_on_extreme_magnitudes"),
        (caught::<Dividing>(), "finite_on_extreme_magnitudes"),
        (caught::<Stateful>(), "same_weights_same_scores"),
        (caught::<Positional>(), "rows_and_columns_may_change_places"),
        (caught::<Refusing>(), "one_score_for_each_weight"),
        (caught::<Greedy>(), "needs_are_honest"),
        (caught::<Sneaky>(), "one_score_for_each_weight"),
        (caught::<Lenient>(), "unknown_field_is_refused_by_name"),
    ] {
        assert!(caught.contains(&check), "{check} in {caught:?}");
    }
}

#[test]
fn a_failure_says_where_and_what() {
    let plugins = Plugins::empty().with::<Overflowing>();
    let subject = Subject::new(&plugins, "test.overflowing");
    let checks = criterion_checks(&[Device::flex()]);
    let failures: Vec<_> = checks.iter().filter_map(|c| c.run(&subject).err()).map(|f| f.to_string()).collect();
    for part in
        ["criterion \"test.overflowing\" fails finite", "Linear [1, 1]", "seed", "finite scores", "inf at index 0"]
    {
        assert!(failures.iter().any(|f| f.contains(part)), "{part} in {failures:?}");
    }
}
