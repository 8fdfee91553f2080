//! What every allocator must do.

use super::{Check, Failure, Subject, plugin_checks};
use crate::allocate::{AllocationError, Allocator, LayerUnits, allocate};
use crate::{
    Amount, Bits, Candidate, Granularity, MatrixLayout, Order, Reduction, Rounding, Rules, Scores, Sparsity, choose,
};

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

/// Models with layers of odd sizes, a layer of one unit, scores of very different scale, ties, pruned units.
fn models() -> Vec<(String, Vec<Made>)> {
    let shapes: [(&str, &[(usize, usize)]); 5] = [
        ("one layer", &[(7, 9)]),
        ("layers of very different size", &[(60, 98), (20, 60), (10, 20)]),
        ("a layer of one unit", &[(13, 5), (1, 1), (4, 3)]),
        ("nothing but layers of one unit", &[(1, 1), (1, 1), (1, 1)]),
        ("many layers", &[(3, 5), (8, 8), (1, 64), (64, 1), (17, 3), (5, 5), (9, 2)]),
    ];
    // Of the number of a layer, and of random bits.
    type Score = fn(usize, u64) -> f32;
    let scores: [(&str, Score); 3] = [
        ("scores of one scale", |_, random| (random >> 40) as f32 + 0.5),
        ("scores of another scale in each layer", |layer, random| {
            ((random >> 40) as f32 + 0.5) * 10f32.powi(18 - 9 * (layer as i32 % 5))
        }),
        ("scores that all tie", |_, _| 1.0),
    ];
    let mut models = Vec::new();
    for (shape, layers) in shapes {
        for (kind, score) in scores {
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
                let name = format!("{shape}, {kind}{}", if pruned { ", some pruned already" } else { "" });
                models.push((name, made.collect()));
            }
        }
    }
    models
}

/// Counts for a model, or why there are none.
fn counts(
    allocator: &dyn Allocator,
    model: &[Made],
    amount: Amount,
    allow_empty: bool,
) -> Result<Vec<usize>, AllocationError> {
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
    allocate(allocator, &layers, amount, Rounding::HalfEven)
}

fn amounts(model: &[Made]) -> Vec<Amount> {
    let alive: usize = model.iter().map(|m| m.alive.as_ref().map_or(m.scores.len(), Bits::count_ones)).sum();
    let sparsities = SPARSITIES.iter().filter_map(|&s| Sparsity::new(s).ok());
    sparsities
        .flat_map(|s| [Amount::OfTotal(s), Amount::OfRemaining(s)])
        .chain([0, 1, alive / 2, alive.saturating_sub(1)].map(Amount::Count))
        .collect()
}

/// Calls `f` on every model, amount and rule about empty layers.
fn each_case(mut f: impl FnMut(&str, &[Made], Amount, bool) -> Result<(), Failure>) -> Result<(), Failure> {
    for (name, model) in models() {
        for amount in amounts(&model) {
            for allow_empty in [false, true] {
                let empty = if allow_empty { ", empty layers allowed" } else { "" };
                f(&format!("{name}, remove {amount}{empty}"), &model, amount, allow_empty)?;
            }
        }
    }
    Ok(())
}

/// The checks for allocators.
#[must_use]
pub fn allocator_checks() -> Vec<Check<dyn Allocator>> {
    let mut checks = plugin_checks::<dyn Allocator>();
    checks.push(Check::new("counts_meet_total_and_bounds", |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let allocator = subject.build(check)?;
        each_case(|case, model, amount, allow_empty| match counts(&*allocator, model, amount, allow_empty) {
            Ok(_) | Err(AllocationError::Unreachable { .. }) => Ok(()),
            Err(error) => {
                let expected = "counts within the bounds that add up to the total, or Unreachable";
                Err(check.failure(subject, case, expected, error.to_string()))
            }
        })
    }));
    checks.push(Check::new("reachable_without_limits", |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let allocator = subject.build(check)?;
        // One that finds every budget unreachable would pass all else.
        let (mut shared, mut all) = (0, 0);
        each_case(|_, model, amount, allow_empty| {
            all += 1;
            shared += usize::from(counts(&*allocator, model, amount, allow_empty).is_ok());
            Ok(())
        })?;
        if shared * 8 > all {
            return Ok(());
        }
        let expected = format!("counts for one in eight of {all} cases");
        Err(check.failure(subject, "all models and amounts", expected, format!("counts for {shared}")))
    }));
    checks.push(Check::new("same_inputs_same_counts", |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let (one, two) = (subject.build(check)?, subject.build(check)?);
        each_case(|case, model, amount, allow_empty| {
            let first = counts(&*one, model, amount, allow_empty);
            for again in [counts(&*one, model, amount, allow_empty), counts(&*two, model, amount, allow_empty)] {
                if again != first {
                    return Err(check.failure(subject, case, format!("{first:?}"), format!("{again:?}")));
                }
            }
            Ok(())
        })
    }));
    checks.push(Check::new("order_of_layers_does_not_matter", order_of_layers));
    checks.push(Check::new("more_sparsity_keeps_no_more", |check: &Check<dyn Allocator>, subject: &Subject<'_>| {
        let allocator = subject.build(check)?;
        for (name, model) in models() {
            let mut last: Option<(f64, Vec<usize>)> = None;
            for value in SPARSITIES {
                let amount = Amount::OfTotal(Sparsity::new(value).unwrap_or(Sparsity::ZERO));
                let Ok(now) = counts(&*allocator, &model, amount, false) else { continue };
                if let Some((less, before)) = &last
                    // A unit more is rounding: totals are exact, so what one layer rounds down another gets.
                    && let Some(layer) = (0..now.len()).find(|&l| now[l] > before[l] + 1)
                {
                    let case = format!("{name}, {less} and then {value}, {}", model[layer].path);
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

fn order_of_layers(check: &Check<dyn Allocator>, subject: &Subject<'_>) -> Result<(), Failure> {
    let allocator = subject.build(check)?;
    for (name, model) in models() {
        for value in SPARSITIES {
            let rules = Rules {
                amount: Amount::OfTotal(Sparsity::new(value).unwrap_or(Sparsity::ZERO)),
                rounding: Rounding::HalfEven,
                allow_empty: false,
                allocator: Some(&*allocator),
            };
            let candidates: Vec<_> = model
                .iter()
                .enumerate()
                .map(|(place, made)| Candidate {
                    path: &made.path,
                    kind: made.kind,
                    shape: &made.shape,
                    layout: made.layout,
                    place,
                    scores: &made.scores,
                    order: Order::Value,
                    factor: 1.0,
                    alive: made.alive.as_ref(),
                    granularity: Granularity::Element,
                    reduction: Reduction::Sum,
                    own: None,
                    uses: Some(made.shape[0]),
                })
                .collect();
            let reversed: Vec<_> = candidates.iter().rev().copied().collect();
            let kept = |candidates: &[Candidate<'_>]| {
                choose(candidates, &rules).map(|c| c.iter().map(|c| c.kept_units).collect::<Vec<_>>())
            };
            let forward = kept(&candidates);
            let backward = kept(&reversed).map(|counts| counts.into_iter().rev().collect::<Vec<_>>());
            if forward.is_ok() != backward.is_ok() || forward.is_ok() && forward != backward {
                let case = format!("{name}, sparsity {value}, layers in reverse order");
                return Err(check.failure(subject, case, format!("{forward:?}"), format!("{backward:?}")));
            }
        }
    }
    Ok(())
}
