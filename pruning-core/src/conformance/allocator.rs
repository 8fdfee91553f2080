//! What every allocator must do.

use crate::budget::{AllocationError, Allocator, LayerUnits, allocate};
use crate::budget::{Amount, Rounding, Scores, Sparsity};
use crate::conformance::{Check, Failure, FirstAnswers, Subject, plugin_checks};
use crate::mask::Bits;
use crate::score::{MatrixLayout, Order};
use std::sync::Arc;

const SPARSITIES: [f64; 8] = [0.0, 0.1, 0.25, 0.5, 0.8, 0.9, 0.95, 0.99];

/// A layer of a model: path, matrix, scores, and which units are pruned already.
struct Made {
    path: String,
    kind: &'static str,
    shape: [usize; 2],
    layout: MatrixLayout,
    scores: Vec<f32>,
    alive: Option<Bits>,
}

/// A model, and what to say of it.
struct Model {
    about: String,
    layers: Vec<Made>,
    /// Whether no scores of two layers tie.
    distinct: bool,
}

/// Models with layers of odd sizes, a layer of one unit, scores of very different scale, zero, negative, ties, pruned units.
fn models() -> Vec<Model> {
    let shapes: [(&str, &[(usize, usize)]); 5] = [
        ("one layer", &[(7, 9)]),
        ("layers of very different size", &[(60, 98), (20, 60), (10, 20)]),
        ("a layer of one unit", &[(13, 5), (1, 1), (4, 3)]),
        ("nothing but layers of one unit", &[(1, 1), (1, 1), (1, 1)]),
        ("many layers", &[(3, 5), (8, 8), (1, 64), (64, 1), (17, 3), (5, 5), (9, 2)]),
    ];
    // Of the number of a layer, and of random bits.
    type Score = fn(usize, u64) -> f32;
    let scores: [(&str, bool, Score); 6] = [
        ("scores of one scale", true, |_, random| (random >> 40) as f32 + 0.5),
        ("scores of another scale in each layer", true, |layer, random| {
            ((random >> 40) as f32 + 0.5) * 10f32.powi(18 - 9 * (layer as i32 % 5))
        }),
        ("zeros in the first layer", true, |layer, random| if layer == 0 { 0.0 } else { (random >> 40) as f32 + 0.5 }),
        ("scores below zero", false, |_, random| -0.5 - (random >> 40) as f32),
        ("scores that all tie", false, |_, _| 1.0),
        ("scores that are all zero", false, |_, _| 0.0),
    ];
    let mut models = Vec::new();
    for (shape, layers) in shapes {
        for (kind, distinct, score) in scores {
            for pruned in [false, true] {
                let mut state = 0x9e37_79b9_7f4a_7c15_u64;
                let made = layers.iter().enumerate().map(|(l, &(rows, cols))| {
                    let mut random = || {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state
                    };
                    let scores = (0..rows * cols).map(|_| score(l, random())).collect::<Vec<_>>();
                    let mut alive = Bits::from_bools(&(0..rows * cols).map(|_| random() % 4 > 0).collect::<Vec<_>>());
                    alive.set(0, true);
                    Made {
                        path: format!("layer{l:02}.weight"),
                        kind: if l == 0 { "Conv1d" } else { "Linear" },
                        shape: [cols, rows],
                        layout: MatrixLayout::column_major(rows, cols),
                        scores,
                        alive: pruned.then_some(alive),
                    }
                });
                let about = format!("{shape}, {kind}{}", if pruned { ", some pruned already" } else { "" });
                models.push(Model { about, layers: made.collect(), distinct });
            }
        }
    }
    models
}

type Counts = Result<Vec<usize>, AllocationError>;

/// Counts for a model, or why there are none.
fn counts(allocator: &dyn Allocator, model: &[Made], amount: Amount, allow_empty: bool) -> Counts {
    counts_in(allocator, model, amount, allow_empty, &(0..model.len()).collect::<Vec<_>>())
}

/// Returns the counts of layers that the allocator sees in another order.
fn counts_in(allocator: &dyn Allocator, model: &[Made], amount: Amount, allow_empty: bool, order: &[usize]) -> Counts {
    let scores: Vec<_> = model
        .iter()
        .filter_map(|made| Scores::of_alive(&made.scores, Order::Value, made.alive.as_ref()).ok())
        .collect();
    let layers: Vec<_> = model
        .iter()
        .zip(&scores)
        .enumerate()
        .map(|(place, (made, scores))| {
            let least = usize::from(!allow_empty).min(scores.alive());
            let even = amount.keep(scores.len(), scores.alive(), Rounding::HalfEven).unwrap_or(0).max(least);
            LayerUnits {
                path: &made.path,
                kind: made.kind,
                shape: &made.shape,
                layout: made.layout,
                place,
                scores,
                least,
                even,
                // Units of different sizes, for budgets that look at them.
                weights: [1, 9, 4][place % 3],
                macs: Some([100, 9, 36][place % 3]),
            }
        })
        .collect();
    let seen: Vec<_> = order.iter().map(|&place| layers[place]).collect();
    let mut counts = vec![0; layers.len()];
    let found = allocate(allocator, &seen, amount, Rounding::HalfEven)?;
    order.iter().zip(found).for_each(|(&place, count)| counts[place] = count);
    Ok(counts)
}

fn amounts(model: &[Made]) -> Vec<Amount> {
    let alive: usize = model.iter().map(|m| m.alive.as_ref().map_or(m.scores.len(), Bits::count_ones)).sum();
    let sparsities = SPARSITIES.iter().filter_map(|&s| Sparsity::new(s).ok());
    sparsities
        .flat_map(|s| [Amount::OfTotal(s), Amount::OfRemaining(s)])
        .chain([0, 1, alive / 2, alive.saturating_sub(1)].map(Amount::Count))
        .collect()
}

/// A model, what is removed of it, and whether a layer may be emptied.
struct Case<'a> {
    about: String,
    model: &'a Model,
    amount: Amount,
    allow_empty: bool,
}

impl Case<'_> {
    fn counts(&self, allocator: &dyn Allocator) -> Counts {
        counts(allocator, &self.model.layers, self.amount, self.allow_empty)
    }
}

fn cases(models: &[Model]) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for model in models {
        for amount in amounts(&model.layers) {
            for allow_empty in [false, true] {
                let empty = if allow_empty { ", empty layers allowed" } else { "" };
                let about = format!("{}, remove {amount}{empty}", model.about);
                cases.push(Case { about, model, amount, allow_empty });
            }
        }
    }
    cases
}

/// Creates the checks for allocators.
#[must_use]
pub fn allocator_checks() -> Vec<Check<dyn Allocator>> {
    let mut checks = plugin_checks::<dyn Allocator>();
    let answers = Arc::new(FirstAnswers::<Counts>::default());
    let memory = answers.clone();
    checks.push(Check::new(
        "counts_meet_total_and_bounds",
        move |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
            let allocator = subject.build(check)?;
            cases(&models()).iter().try_for_each(|case| {
                let found = check.guard(subject, &case.about, || Ok(case.counts(&*allocator)))?;
                let _ = memory.first(subject, &case.about, &found);
                match found {
                    Ok(_) | Err(AllocationError::Unreachable { .. }) => Ok(()),
                    Err(error) => {
                        let expected = "counts within the bounds that add up to the total, or Unreachable";
                        Err(check.failure(subject, &*case.about, expected, error.to_string()))
                    }
                }
            })
        },
    ));
    checks.push(Check::new("reachable_without_limits", |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let allocator = subject.build(check)?;
        // One that finds every budget unreachable would pass all else.
        let models = models();
        let cases = cases(&models);
        let all = cases.len();
        let shared = cases.iter().filter(|case| case.counts(&*allocator).is_ok()).count();
        if shared * 8 > all {
            return Ok(());
        }
        let expected = format!("counts for one in eight of {all} cases");
        Err(check.failure(subject, "all models and amounts", expected, format!("counts for {shared}")))
    }));
    checks.push(Check::new("same_inputs_same_counts", move |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let (one, two) = (subject.build(check)?, subject.build(check)?);
        let models = models();
        let cases = cases(&models);
        // Twice in order, and once backwards by another one: what is kept from call to call shows in one of them.
        let twice = cases.iter().chain(&cases).map(|case| (case, &one));
        for (case, allocator) in twice.chain(cases.iter().rev().map(|case| (case, &two))) {
            let found = case.counts(&**allocator);
            let first = answers.first(subject, &case.about, &found);
            if found != first {
                return Err(check.failure(subject, &*case.about, format!("{first:?}"), format!("{found:?}")));
            }
        }
        Ok(())
    }));
    checks.push(Check::new("order_of_layers_does_not_matter", order_of_layers));
    checks.push(Check::new("more_sparsity_keeps_no_more", |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let allocator = subject.build(check)?;
        for Model { about, layers: model, .. } in models() {
            let mut last: Option<(f64, Vec<usize>)> = None;
            for value in SPARSITIES {
                let amount = Amount::OfTotal(Sparsity::new(value).unwrap_or(Sparsity::ZERO));
                let Ok(now) = counts(&*allocator, &model, amount, false) else { continue };
                if let Some((less, before)) = &last
                    // A unit more is rounding: totals are exact, so what one layer rounds down another gets.
                    && let Some(layer) = (0..now.len()).find(|&l| now[l] > before[l] + 1)
                {
                    let case = format!("{about}, {less} and then {value}, {}", model[layer].path);
                    let (expected, got) = (format!("at most {} units", before[layer]), now[layer].to_string());
                    return Err(check.failure(subject, case, expected, got));
                }
                last = Some((value, now));
            }
        }
        Ok(())
    }));
    checks
}

/// Layers come by path, and the count of a layer must not depend on its neighbors' names. A unit may move where remainders are equal.
fn order_of_layers(check: &Check<dyn Allocator>, subject: &Subject<'_>) -> Result<(), Failure> {
    let allocator = subject.build(check)?;
    let models = models();
    for case in cases(&models).iter().filter(|case| case.model.distinct && !case.allow_empty) {
        let layers = &case.model.layers;
        let expected = case.counts(&*allocator);
        let mut order: Vec<_> = (0..layers.len()).rev().collect();
        for about in ["in reverse order", "in reverse order from another one on"] {
            let found = counts_in(&*allocator, layers, case.amount, case.allow_empty, &order);
            let near = |a: &[usize], b: &[usize]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 1);
            let same = match (&expected, &found) {
                (Ok(expected), Ok(found)) => near(expected, found),
                (expected, found) => expected.is_err() && found.is_err(),
            };
            if !same {
                let case = format!(
                    "{}, layers {about}: the slice is sorted by path, `place` is the place in the model",
                    case.about
                );
                return Err(check.failure(subject, case, format!("{expected:?}"), format!("{found:?}")));
            }
            order.rotate_left(layers.len() / 2);
        }
    }
    Ok(())
}
