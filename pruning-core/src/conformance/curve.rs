//! What every curve must do.

use crate::budget::Sparsity;
use crate::conformance::{Check, Failure, FirstAnswers, Subject, plugin_checks};
use crate::schedule::Curve;
use std::sync::Arc;

const STEPS: u32 = 100;

fn sparsity(value: f64) -> Sparsity {
    Sparsity::new(value).unwrap_or(Sparsity::ZERO)
}

/// Ends of schedules: every hundredth, thirds, and what lies next to 0 and to 1. A formula may meet some of them by luck.
fn ends() -> impl Iterator<Item = (f64, f64)> {
    let odd = [f64::MIN_POSITIVE, f64::EPSILON, 1.0 / 3.0, 2.0 / 3.0, 0.999_999, 1.0 - f64::EPSILON / 2.0];
    let values: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).chain(odd).collect();
    let pairs: Vec<_> = values.iter().flat_map(|&from| values.iter().map(move |&to| (from, to))).collect();
    pairs.into_iter().filter(|(from, to)| from <= to)
}

/// A few of them.
fn some_ends() -> impl Iterator<Item = (f64, f64)> {
    ends().step_by(97)
}

/// What a curve says, never by a panic.
fn asked(
    (check, subject): (&Check<dyn Curve>, &Subject<'_>),
    curve: &dyn Curve,
    (from, to): (f64, f64),
    progress: f64,
) -> Result<(f64, String), Failure> {
    let about = format!("from {from} to {to} at progress {progress}");
    let value = check.guard(subject, &about, || Ok(curve.sparsity(sparsity(from), sparsity(to), progress)))?;
    Ok((value, about))
}

/// Creates the checks for curves.
#[must_use]
pub fn curve_checks() -> Vec<Check<dyn Curve>> {
    let mut checks = plugin_checks::<dyn Curve>();
    let answers = Arc::new(FirstAnswers::<u64>::default());
    let memory = answers.clone();
    checks.push(Check::new("ends_are_exact", |check: &Check<dyn Curve>, subject: &Subject<'_>| {
        let curve = subject.build(check)?;
        for (from, to) in ends() {
            for (progress, expected) in [(0.0, from), (1.0, to)] {
                let (got, case) = asked((check, subject), &*curve, (from, to), progress)?;
                if got != expected {
                    return Err(check.failure(subject, case, expected.to_string(), got.to_string()));
                }
            }
        }
        Ok(())
    }));
    checks.push(Check::new(
        "never_leaves_the_range_or_falls",
        move |check: &Check<dyn Curve>, subject: &Subject<'_>| {
            let curve = subject.build(check)?;
            for (from, to) in some_ends() {
                let mut last = from;
                for step in 0..=STEPS {
                    let progress = f64::from(step) / f64::from(STEPS);
                    let (got, case) = asked((check, subject), &*curve, (from, to), progress)?;
                    memory.first(subject, &case, &got.to_bits());
                    // A last bit either way is rounding, not a fall.
                    if !(got >= last - 1e-12 && got <= to + 1e-12) {
                        return Err(check.failure(subject, case, format!("{last} to {to}"), got.to_string()));
                    }
                    last = got;
                }
            }
            Ok(())
        },
    ));
    checks.push(Check::new("same_inputs_same_sparsity", move |check: &Check<dyn Curve>, subject: &Subject<'_>| {
        let (one, two) = (subject.build(check)?, subject.build(check)?);
        let cases: Vec<_> = some_ends().flat_map(|ends| [0.3, 0.5, 0.7].map(|progress| (ends, progress))).collect();
        // Twice in order, and once backwards by another one: what is kept from call to call shows in one of them.
        let twice = cases.iter().chain(&cases).map(|case| (case, &one));
        for (&(ends, progress), curve) in twice.chain(cases.iter().rev().map(|case| (case, &two))) {
            let (got, case) = asked((check, subject), &**curve, ends, progress)?;
            let expected = f64::from_bits(answers.first(subject, &case, &got.to_bits()));
            if expected.to_bits() != got.to_bits() {
                let case = format!("{case}, asked again");
                return Err(check.failure(subject, case, expected.to_string(), got.to_string()));
            }
        }
        Ok(())
    }));
    checks
}
