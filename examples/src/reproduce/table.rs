//! Rows of several seeds as a table: [`table`].

use super::log::Row;
use std::collections::BTreeSet;

/// A table in Markdown: mean of each variant over the seeds, the least and the greatest, in the order of the rows.
#[must_use]
pub fn table(experiment: &str, rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().filter(|r| r.experiment == experiment).collect();
    let mut variants: Vec<&str> = Vec::new();
    for row in &rows {
        if !variants.contains(&row.variant.as_str()) {
            variants.push(&row.variant);
        }
    }
    let extra: BTreeSet<&String> = rows.iter().flat_map(|r| r.more.keys()).collect();
    let mut text = "| variant | seeds | sparsity, % | test error, % | least to greatest |".to_string();
    text.extend(extra.iter().map(|name| format!(" {} |", name.replace('_', " "))));
    text += " seconds |\n|";
    text += &"---|".repeat(6 + extra.len());
    for variant in variants {
        let of: Vec<_> = rows.iter().filter(|r| r.variant == variant).copied().collect();
        let errors: Vec<f64> = of.iter().map(|r| r.test_error).collect();
        let (least, greatest) = range(&errors);
        let sparsity = 100.0 * mean(of.iter().map(|r| r.sparsity));
        text += &format!(
            "\n| {variant} | {} | {sparsity:.1} | {:.2} | {least:.2} to {greatest:.2} |",
            of.len(),
            mean(errors.iter().copied())
        );
        for name in &extra {
            let values: Vec<f64> = of.iter().filter_map(|r| r.more.get(*name)?.as_f64()).collect();
            text += &match values.as_slice() {
                [] => " |".to_string(),
                values if values[0].abs() >= 1000.0 => format!(" {:.0} |", mean(values.iter().copied())),
                values => format!(" {:.2} |", mean(values.iter().copied())),
            };
        }
        text += &format!(" {:.0} |", mean(of.iter().map(|r| r.seconds)));
    }
    text
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

pub(super) fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), &v| (least.min(v), greatest.max(v)))
}
