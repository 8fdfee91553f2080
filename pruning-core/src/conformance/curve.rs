//! What every curve must do.

use super::{Check, Subject, plugin_checks};
use crate::{Curve, Sparsity};

const ENDS: [(f64, f64); 6] = [(0.0, 0.9), (0.0, 0.5), (0.3, 0.95), (0.5, 0.5), (0.0, 0.0), (0.1, 0.999_999)];
const STEPS: u32 = 100;

fn sparsity(value: f64) -> Sparsity {
    Sparsity::new(value).unwrap_or(Sparsity::ZERO)
}

/// The checks for curves.
#[must_use]
pub fn curve_checks() -> Vec<Check<dyn Curve>> {
    let mut checks = plugin_checks::<dyn Curve>();
    checks.push(Check::new("ends_are_exact", |check: &Check<dyn Curve>, subject: &Subject<'_>| {
        let curve = subject.build(check)?;
        for (from, to) in ENDS {
            for (progress, expected) in [(0.0, from), (1.0, to)] {
                let got = curve.sparsity(sparsity(from), sparsity(to), progress);
                if got != expected {
                    let case = format!("from {from} to {to} at progress {progress}");
                    return Err(check.failure(subject, case, expected.to_string(), got.to_string()));
                }
            }
        }
        Ok(())
    }));
    checks.push(Check::new("never_leaves_the_range_or_falls", |check: &Check<dyn Curve>, subject: &Subject<'_>| {
        let curve = subject.build(check)?;
        for (from, to) in ENDS {
            let mut last = from;
            for step in 0..=STEPS {
                let progress = f64::from(step) / f64::from(STEPS);
                let got = curve.sparsity(sparsity(from), sparsity(to), progress);
                // A last bit either way is rounding, not a fall.
                if !(got >= last - 1e-12 && got <= to + 1e-12) {
                    let case = format!("from {from} to {to} at progress {progress}");
                    return Err(check.failure(subject, case, format!("{last} to {to}"), got.to_string()));
                }
                last = got;
            }
        }
        Ok(())
    }));
    checks.push(Check::new("same_inputs_same_sparsity", |check: &Check<dyn Curve>, subject: &Subject<'_>| {
        let (one, two) = (subject.build(check)?, subject.build(check)?);
        for (from, to) in ENDS {
            for progress in [0.3, 0.7, 0.3] {
                let at = |curve: &dyn Curve| curve.sparsity(sparsity(from), sparsity(to), progress);
                let (expected, got) = (at(&*one), at(&*two));
                if expected.to_bits() != got.to_bits() {
                    let case = format!("from {from} to {to} at progress {progress}, asked twice");
                    return Err(check.failure(subject, case, expected.to_string(), got.to_string()));
                }
            }
        }
        Ok(())
    }));
    checks
}
