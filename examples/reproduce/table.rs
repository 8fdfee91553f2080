//! Rows of several seeds as a table: [`table`].

use crate::log::Row;
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

pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), &v| (least.min(v), greatest.max(v)))
}

/// A table of test errors, a line for each sparsity and a column for each method: mean, least and greatest of all seeds.
///
/// For experiments whose variants are the name of a method and a number, or a name alone; `None` for others, and where no variant has a
/// number.
#[must_use]
pub fn grid(experiment: &str, rows: &[Row]) -> Option<String> {
    let rows: Vec<_> = rows.iter().filter(|r| r.experiment == experiment).collect();
    let method = |row: &Row| match row.variant.rsplit_once(' ') {
        Some((name, number)) => number.parse::<f64>().is_ok().then(|| name.to_string()),
        None => Some(row.variant.clone()),
    };
    rows.iter().find(|r| r.variant.contains(' '))?;
    let mut methods: Vec<String> = Vec::new();
    let mut sparsities: Vec<f64> = Vec::new();
    for row in &rows {
        let method = method(row)?;
        if !methods.contains(&method) {
            methods.push(method);
        }
        if !sparsities.iter().any(|s| (s - row.sparsity).abs() < 1e-6) {
            sparsities.push(row.sparsity);
        }
    }
    sparsities.sort_by(f64::total_cmp);
    let mut text =
        format!("| weights removed, % | {} | seeds |\n|{}", methods.join(" | "), "---|".repeat(methods.len() + 2));
    for sparsity in sparsities {
        let here: Vec<_> = rows.iter().filter(|r| (r.sparsity - sparsity).abs() < 1e-6).collect();
        text += &format!("\n| {:.1} |", 100.0 * sparsity);
        let mut seeds = Vec::new();
        for name in &methods {
            let errors: Vec<f64> =
                here.iter().filter(|r| method(r).as_ref() == Some(name)).map(|r| r.test_error).collect();
            text += &cell(&errors);
            seeds.extend((!errors.is_empty()).then_some(errors.len()));
        }
        let (least, most) = (seeds.iter().min().unwrap_or(&0), seeds.iter().max().unwrap_or(&0));
        text += &if least == most { format!(" {most} |") } else { format!(" {least} to {most} |") };
    }
    Some(text)
}

fn cell(errors: &[f64]) -> String {
    let (least, greatest) = range(errors);
    match errors {
        [] => " |".to_string(),
        [only] => format!(" {only:.2} |"),
        _ => format!(" {:.2} ({least:.2} to {greatest:.2}) |", mean(errors.iter().copied())),
    }
}

/// The text with every table between `<!-- rows: NAME -->` and `<!-- end of rows -->` made anew.
#[must_use]
pub fn fill(text: &str, rows: &[Row]) -> String {
    const END: &str = "<!-- end of rows -->";
    let mut parts = text.split("<!-- rows: ");
    let mut filled = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let name = part.split(" -->").next().unwrap_or_default();
        let rest = part.split_once(END).map_or("", |(_, rest)| rest);
        let made = match rows.iter().any(|r| r.experiment == name) {
            true => grid(name, rows).unwrap_or_else(|| table(name, rows)),
            false => "No rows yet.".to_string(),
        };
        filled += &format!("<!-- rows: {name} -->\n{made}\n{END}{rest}");
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: &str, seed: u64, sparsity: f64, test_error: f64) -> Row {
        let (experiment, variant) = ("e".to_string(), variant.to_string());
        Row {
            experiment,
            variant,
            seed,
            sparsity,
            test_error,
            validation_error: 0.0,
            seconds: 1.0,
            more: Default::default(),
        }
    }

    #[test]
    fn a_grid_has_a_line_for_each_sparsity_and_a_column_for_each_method() {
        let rows = [
            row("dense", 1, 0.0, 2.0),
            row("a 0.9", 1, 0.9, 3.0),
            row("a 0.9", 2, 0.9, 5.0),
            row("b 0.9", 1, 0.9, 4.0),
        ];
        let text = "x\n<!-- rows: e -->\nold\n<!-- end of rows -->\ny";
        let made = "x\n<!-- rows: e -->\n| weights removed, % | dense | a | b | seeds |\n|---|---|---|---|---|\n\
                    | 0.0 | 2.00 | | | 1 |\n| 90.0 | | 4.00 (3.00 to 5.00) | 4.00 | 1 to 2 |\n<!-- end of rows -->\ny";
        assert_eq!(fill(text, &rows), made);
        assert_eq!(fill(made, &rows), made);
        assert!(grid("e", &[row("b 0.9 l1", 1, 0.9, 4.0)]).is_none());
        assert!(grid("e", &[row("dense", 1, 0.0, 2.0), row("12x", 1, 0.9, 4.0)]).is_none());
        assert_eq!(
            fill("<!-- rows: f -->\n<!-- end of rows -->", &rows),
            "<!-- rows: f -->\nNo rows yet.\n<!-- end of rows -->"
        );
    }
}
