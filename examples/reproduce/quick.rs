//! What must hold even in a quick run: [`check`].

use crate::log::Row;
use pruning_examples::Failed;

/// Orderings that one seed and a few thousand images are enough for.
///
/// # Errors
/// One of them does not hold.
pub fn check(rows: &[Row]) -> Result<(), Failed> {
    let error = |experiment: &str, variant: &str| {
        rows.iter()
            .find(|r| r.experiment == experiment && r.variant == variant)
            .map(|r| r.test_error)
            .ok_or_else(|| format!("no row {experiment:?}, {variant:?}"))
    };
    for (experiment, better, worse, slack) in [
        ("criteria", "element 0.95 l1", "element 0.95 random", 0.0),
        // Retraining this short leaves little between the two.
        ("oneshot", "iterative 0.98", "one-shot 0.98", 1.0),
        ("allocation", "lamp 0.99", "uniform 0.99", 0.0),
        ("snip", "snip 0.95", "random 0.95", 0.0),
        ("rewinding", "rate rewinding 0.98", "fine-tuning 0.98", 0.0),
    ] {
        let (a, b) = (error(experiment, better)?, error(experiment, worse)?);
        if a > b + slack {
            return Err(format!("{experiment}: {better} has {a} % errors, {worse} only {b} %").into());
        }
    }
    Ok(())
}
