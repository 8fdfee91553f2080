//! What every criterion must do.

use crate::conformance::cases;
use crate::conformance::cases::{Case, LAYERS, SEEDS};
use crate::conformance::{At, Failure};
use crate::score::CriterionError;
use crate::score::criterion::scored;

type Run = fn(&At<'_>) -> Result<(), Failure>;

pub(super) const DETERMINISTIC: &str = "same_weights_same_scores";

pub(super) const ALL: [(&str, Run); 6] = [
    ("one_score_for_each_weight", one_each),
    ("needs_are_honest", honest),
    ("finite_on_extreme_magnitudes", finite),
    (DETERMINISTIC, deterministic),
    ("rows_and_columns_may_change_places", equivariant),
    ("devices_agree", agree),
];

fn one_each(at: &At<'_>) -> Result<(), Failure> {
    let criterion = at.build()?;
    at.kit.devices.iter().try_for_each(|device| {
        let mut any = false;
        cases::scaled(&[1.0]).iter().try_for_each(|case| {
            any |= !at.scores(&criterion, case, device)?.is_empty();
            Ok(())
        })?;
        let failure = || at.failure(format!("{LAYERS:?} on {device:?}"), "scores for some of them", "none suits it");
        if any { Ok(()) } else { Err(failure()) }
    })
}

/// What is declared is used: without it there are no scores. What is used and not declared fails every check.
fn honest(at: &At<'_>) -> Result<(), Failure> {
    let criterion = at.build()?;
    let needs = criterion.needs();
    for need in needs.iter() {
        for device in &at.kit.devices {
            let case = Case::new("Linear", &[7, 3], 1.0, SEEDS[0]);
            let inputs = case.inputs(needs.iter().filter(|other| *other != need), device);
            let got = match scored(&*criterion, &case.view(needs.clone(), &inputs, device)) {
                Ok(_) => "scores".to_string(),
                Err(error @ CriterionError::Panicked { .. }) => error.to_string(),
                Err(_) => continue,
            };
            let case = format!("{}, all inputs but {need}", case.on(device));
            return Err(at.failure(case, "an error, since it declares that input", got));
        }
    }
    Ok(())
}

fn finite(at: &At<'_>) -> Result<(), Failure> {
    let criterion = at.build()?;
    // Squares of these are within the range of 32-bit floats, and so are their sums over a layer.
    let mut cases = cases::scaled(&[1e-30, 1e-15, 1e15, 0.0]);
    cases.extend(cases::flat());
    for device in &at.kit.devices {
        for case in &cases {
            let scores = at.scores(&criterion, case, device)?;
            if let Some((index, score)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
                return Err(at.failure(case.on(device), "finite scores", format!("{score} at index {index}")));
            }
        }
    }
    Ok(())
}

/// Bit for bit on the first device. The others may tune their kernels while they run, and sum in another order from one
/// call to the next.
fn deterministic(at: &At<'_>) -> Result<(), Failure> {
    let (one, two) = (at.build()?, at.build()?);
    let Some((first, others)) = at.kit.devices.split_first() else { return Ok(()) };
    let all = cases::all();
    let small = vec![Case::new("Linear", &[7, 3], 1.0, SEEDS[0]); 1000];
    // What is kept from call to call shows: other layers in between, many calls, and the same ones backwards by another one. What they
    // are compared with are the first answers, which other checks may have had.
    all.iter().chain(&small).chain(&all).try_for_each(|case| at.scores(&one, case, first).map(drop))?;
    all.iter().rev().try_for_each(|case| at.scores(&two, case, first).map(drop))?;
    for device in others {
        let all = cases::scaled(&[1.0]);
        let before = all.iter().map(|case| at.scores(&one, case, device)).collect::<Result<Vec<_>, _>>()?;
        for (case, expected) in all.iter().zip(&before).rev() {
            for criterion in [&one, &two] {
                let got = at.scores(criterion, case, device)?;
                if let Some(index) = apart(expected, &got) {
                    let expected = format!("{} at index {index}", expected[index]);
                    return Err(at.failure(
                        format!("{}, scored again", case.on(device)),
                        expected,
                        got[index].to_string(),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The first of scores that differ by more than the order of a sum.
fn apart(expected: &[f32], got: &[f32]) -> Option<usize> {
    let largest = expected.iter().fold(0.0f32, |max, s| s.abs().max(max));
    (0..got.len()).find(|&i| (expected[i] - got[i]).abs() > 1e-5 * largest)
}

/// Scores follow their weights when output units, or inputs with all their taps, change places. Two of those moves make all others.
fn equivariant(at: &At<'_>) -> Result<(), Failure> {
    let criterion = at.build()?;
    if criterion.positional() {
        return Ok(());
    }
    let layers: [(&str, &[usize]); 5] = [
        ("Linear", &[3, 7]),
        ("Linear", &[31, 16]),
        ("Conv2d", &[5, 3, 3, 3]),
        ("ConvTranspose2d", &[3, 5, 2, 2]),
        ("BatchNorm", &[9]),
    ];
    let turned = |i: usize, n: usize| (i + 1) % n;
    let swapped = |i: usize, n: usize| if i < 2 && n > 1 { 1 - i } else { i };
    type Move = fn(usize, usize) -> usize;
    let moves: [(Move, Move); 2] = [(turned, swapped), (swapped, turned)];
    for device in &at.kit.devices {
        for ((kind, shape), seed) in layers.iter().flat_map(|layer| SEEDS.map(|seed| (*layer, seed))) {
            let plain = Case::new(kind, shape, 1.0, seed);
            let scores = at.scores(&criterion, &plain, device)?;
            let layout = plain.layout();
            let (rows, cols, taps) = (layout.rows(), layout.cols(), layout.kernel());
            for (number, (row, channel)) in moves.iter().enumerate() {
                let from = |r: usize, c: usize| (row(r, rows), channel(c / taps, cols / taps) * taps + c % taps);
                let mut moved = plain.clone();
                moved.about = format!("{}, rows and columns permuted ({number})", plain.about);
                let places: Vec<_> = (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))).collect();
                for &(r, c) in &places {
                    let (row, col) = from(r, c);
                    moved.weights[layout.flat(r, c)] = plain.weights[layout.flat(row, col)];
                }
                let got = at.scores(&criterion, &moved, device)?;
                let expected: Vec<f32> =
                    places.iter().zip(&got).map(|(&(r, c), _)| from(r, c)).map(|(r, c)| scores[r * cols + c]).collect();
                if let Some(index) = apart(&expected, &got) {
                    let (r, c) = places[index];
                    let expected = format!(
                        "{} at row {r}, column {c} (a criterion that goes by places says so: `Criterion::positional`)",
                        expected[index]
                    );
                    return Err(at.failure(moved.on(device), expected, got[index].to_string()));
                }
            }
        }
    }
    Ok(())
}

fn agree(at: &At<'_>) -> Result<(), Failure> {
    let criterion = at.build()?;
    let Some((reference, others)) = at.kit.devices.split_first() else { return Ok(()) };
    for device in others {
        for case in cases::scaled(&[1.0, 1e-3]) {
            let expected = at.scores(&criterion, &case, reference)?;
            let got = at.scores(&criterion, &case, device)?;
            if let Some(i) = apart(&expected, &got) {
                let case = format!("{}, {device:?} beside {reference:?}", case.about);
                return Err(at.failure(case, format!("{} at index {i}", expected[i]), got[i].to_string()));
            }
        }
    }
    Ok(())
}
