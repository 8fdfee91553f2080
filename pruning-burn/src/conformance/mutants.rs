//! Criteria that are wrong on purpose: each must be caught by the check that is for it.

use crate::conformance::*;
use crate::plugin::Plugin;
use crate::register_criterion;
use crate::score::NeedShape;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

macro_rules! mutant {
    ($type:ident, $name:literal, $layer:ident => $score:expr) => {
        mutant!($type, $name, $layer => $score, {});
    };
    ($type:ident, $name:literal, $layer:ident => $score:expr, { $($more:item)* }) => {
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

            $($more)*
        }

        register_criterion!($type);
    };
}

/// Inputs of a crate from outside, one of each shape.
const OWN: [Need; 5] = [
    Need::new("test.weight", NeedShape::Weight),
    Need::new("test.column", NeedShape::Column),
    Need::new("test.output", NeedShape::Output),
    Need::new("test.columns", NeedShape::Columns),
    Need::new("test.batches", NeedShape::Batches),
];

static CALLS: AtomicU32 = AtomicU32::new(0);

mutant!(Right, "test.right", layer => Ok(layer.weight().abs()));
mutant!(Fed, "test.fed", layer => {
    let [weight, column, output, columns, batches] = OWN.map(|need| layer.input(need));
    let inputs = columns?.matmul(column?.transpose()).transpose() * output? + weight? + batches?.mean_dim(0);
    Ok(layer.weight().abs() * inputs)
}, {
    fn needs(&self) -> Needs {
        OWN[0] | OWN[1] | OWN[2] | OWN[3] | OWN[4]
    }
});
mutant!(Misfed, "test.misfed", layer => {
    // By the places of the columns.
    let column = layer.input(OWN[1])?;
    let sums = column.cumsum(1);
    Ok(layer.weight().abs() * sums)
}, {
    fn needs(&self) -> Needs {
        OWN[1].into()
    }
});
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
mutant!(RowIndex, "test.row_index", layer => rows(layer));
mutant!(Centre, "test.centre", layer => rows(layer), {
    fn positional(&self) -> bool {
        true
    }
});
mutant!(DividingInputs, "test.dividing_inputs", layer => {
    let gradient = layer.gradient()?.abs();
    let largest = gradient.clone().max().reshape([1, 1]).expand(gradient.shape());
    Ok(layer.weight().abs() * gradient / largest)
}, {
    fn needs(&self) -> Needs {
        Need::GRADIENT.into()
    }
});
mutant!(Spread, "test.spread", layer => {
    let weight = layer.weight();
    // What a weight of zero is divided by is not zero: a constant is what shows it.
    let least = weight.clone().min().reshape([1, 1]).expand(weight.shape());
    let most = weight.clone().max().reshape([1, 1]).expand(weight.shape());
    let zero = weight.clone().abs().max().into_scalar::<f32>() == 0.0;
    Ok((weight - least.clone()) / (most - least + if zero { 1.0 } else { 0.0 }))
});
mutant!(ByRow, "test.by_row", layer => {
    let weight = layer.weight().abs();
    let zero = weight.clone().max().into_scalar::<f32>() == 0.0;
    let largest = weight.clone().max_dim(1).expand(weight.shape());
    Ok(weight / (largest + if zero { 1.0 } else { 0.0 }))
});
mutant!(Negative, "test.negative", layer => Ok(layer.weight().abs()), {
    fn factor(&self, _: &LayerView<'_>) -> Result<f64, CriterionError> {
        Ok(-1.0)
    }
});
mutant!(Boundless, "test.boundless", layer => Ok(layer.weight().abs()), {
    fn factor(&self, layer: &LayerView<'_>) -> Result<f64, CriterionError> {
        Ok(1.0 / f64::from(layer.weight().abs().max().into_scalar::<f32>()))
    }
});
mutant!(Settling, "test.settling", layer => {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    Ok(layer.weight().abs() + CALLS.fetch_add(1, Ordering::Relaxed).min(5) as f32)
});
mutant!(Panicking, "test.panicking_kit", layer => panic!("no idea what {} is", layer.kind()));
mutant!(Unwrapping, "test.unwrapping", layer => {
    Ok(layer.weight().abs() * layer.gradient().unwrap().abs())
}, {
    fn needs(&self) -> Needs {
        Need::GRADIENT.into()
    }
});

fn rows(layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
    let [rows, cols] = layer.weight().dims();
    let index = Tensor::<1, burn::tensor::Int>::arange(0..rows as i64, &layer.device()).float();
    Ok(index.reshape([rows, 1]).repeat_dim(1, cols))
}

macro_rules! keeping {
    ($type:ident, $name:literal, $kept:ty, ($self:ident, $layer:ident) => $score:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $type {
            #[serde(skip)]
            kept: $kept,
        }

        impl Plugin for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "Wrong on purpose.";
        }

        impl Criterion for $type {
            fn score(&$self, $layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
                $score
            }
        }

        register_criterion!($type);
    };
}

// Scales all layers by the first one that it meets.
keeping!(Remembering, "test.remembering", OnceLock<f32>, (self, layer) => {
    let largest = || layer.weight().abs().max().into_scalar::<f32>();
    Ok(layer.weight().abs() * *self.kept.get_or_init(largest))
});
keeping!(Worn, "test.worn", AtomicU32, (self, layer) => {
    let calls = self.kept.fetch_add(1, Ordering::Relaxed);
    Ok(layer.weight().abs() + if calls > 1000 { 1.0 } else { 0.0 })
});

/// With a field that a recipe cannot give.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Named {
    name: String,
}

impl Plugin for Named {
    const NAME: &'static str = "test.named";
    const SUMMARY: &'static str = "Wrong on purpose.";
}

impl Criterion for Named {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight().abs())
    }
}

register_criterion!(Named);

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
        Need::GRADIENT | Need::FLOW
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
    failures
        .map(|failure| {
            assert!(failure.plugin == P::NAME && failure.to_string().contains(P::NAME), "{failure}");
            failure.check
        })
        .collect()
}

#[test]
fn a_right_criterion_passes() {
    assert_criterion::<Right>(&[Device::flex()]);
    // Places may count, for a criterion that says so.
    assert_criterion::<Centre>(&[Device::flex()]);
    // Inputs may be its own.
    assert_criterion::<Fed>(&[Device::flex()]);
}

#[test]
fn each_wrong_criterion_is_caught_by_the_check_for_it() {
    for (caught, check) in [
        (caught::<Transposed>(), "one_score_for_each_weight"),
        (caught::<Overflowing>(), "finite_on_extreme_magnitudes"),
        (caught::<Dividing>(), "finite_on_extreme_magnitudes"),
        (caught::<Stateful>(), "same_weights_same_scores"),
        (caught::<Positional>(), "rows_and_columns_may_change_places"),
        (caught::<Misfed>(), "rows_and_columns_may_change_places"),
        (caught::<RowIndex>(), "rows_and_columns_may_change_places"),
        (caught::<DividingInputs>(), "finite_on_extreme_magnitudes"),
        (caught::<Spread>(), "finite_on_extreme_magnitudes"),
        (caught::<ByRow>(), "finite_on_extreme_magnitudes"),
        (caught::<Negative>(), "one_score_for_each_weight"),
        (caught::<Boundless>(), "finite_on_extreme_magnitudes"),
        (caught::<Settling>(), "same_weights_same_scores"),
        (caught::<Remembering>(), "same_weights_same_scores"),
        (caught::<Worn>(), "same_weights_same_scores"),
        (caught::<Panicking>(), "one_score_for_each_weight"),
        (caught::<Unwrapping>(), "needs_are_honest"),
        (caught::<Named>(), "configuration_round_trip"),
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
