//! `burn-prune inspect`.

use crate::args::InspectArgs;
use crate::checkpoint::{Checkpoint, TensorEntry, floats};
use crate::error::CommandError;
use crate::output::{Output, percent, shown_path, shown_shape, table};
use crate::recipe;
use serde::Serialize;
use std::collections::HashMap;

/// Bins of a histogram.
const BINS: usize = 16;

/// What is told of a tensor.
#[derive(Serialize)]
struct Row {
    name: String,
    r#type: String,
    shape: Vec<usize>,
    layer: String,
    elements: usize,
    bytes: u64,
    rule: String,
    #[serde(flatten)]
    values: Option<Values>,
}

/// What is told of the values of a float tensor; the numbers leave out what is not finite.
#[derive(Serialize)]
struct Values {
    zeros: usize,
    not_finite: usize,
    l2: f64,
    min: f64,
    max: f64,
    /// Counts between `min` and `max`, in bins of one width.
    histogram: [usize; BINS],
}

pub(crate) fn inspect(args: &InspectArgs) -> Result<Output, CommandError> {
    let checkpoint = Checkpoint::open_with(&args.file.file, &args.file.options())?;
    let rules = match &args.recipe {
        Some(recipe) => Some(of_recipe(&checkpoint, recipe)?),
        None => None,
    };
    checkpoint.progress().begin("reading", checkpoint.tensors().iter().map(TensorEntry::bytes).sum());
    let mut rows = Vec::new();
    for (index, tensor) in checkpoint.tensors().iter().enumerate() {
        let values = floats(&checkpoint.read(index)?, tensor.element()).map(|values| Values::of(&values));
        let rule = rules.as_ref().map_or_else(
            || by_default(tensor),
            |rules| rules.get(tensor.name()).cloned().unwrap_or_else(|| by_default(tensor)),
        );
        rows.push(Row {
            name: tensor.name().to_string(),
            r#type: tensor.element().name().to_string(),
            shape: tensor.shape().to_vec(),
            layer: tensor.kind().to_string(),
            elements: tensor.elements(),
            bytes: tensor.bytes(),
            rule,
            values,
        });
    }
    checkpoint.progress().end();
    let lines = rows.iter().map(|row| {
        let of = |value: fn(&Values) -> String| row.values.as_ref().map_or(String::new(), value);
        let zeros = row.values.as_ref().map_or(String::new(), |values| percent(values.zeros, row.elements));
        [
            row.name.clone(),
            row.r#type.clone(),
            shown_shape(&row.shape),
            row.layer.clone(),
            row.rule.clone(),
            of(Values::bars),
            zeros,
            of(|values| shown(values.l2)),
            of(|values| shown(values.min.abs().max(values.max.abs()))),
        ]
    });
    let header = ["tensor", "type", "shape", "layer", "pruned", "values", "zeros", "norm", "largest"];
    let mut text = table(header, 6, lines);
    let elements: usize = rows.iter().map(|row| row.elements).sum();
    let zeros: usize = rows.iter().filter_map(|row| Some(row.values.as_ref()?.zeros)).sum();
    let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
    let (container, layout) = (checkpoint.container(), checkpoint.layout());
    text += &format!(
        "\n{} tensors, {elements} elements, {zeros} zeros ({}), {bytes} bytes; {container}, linear weights as in {layout}\n",
        rows.len(),
        percent(zeros, elements)
    );
    text += &checkpoint.note().map(|note| format!("{note}\n")).unwrap_or_default();
    let json = serde_json::json!({
        "file": shown_path(checkpoint.file()), "container": container, "layout": layout, "note": checkpoint.note(),
        "total": { "tensors": rows.len(), "elements": elements, "zeros": zeros, "bytes": bytes },
        "tensors": rows,
    });
    Ok(Output::new(text, json))
}

/// A number in a few digits.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size.is_nan() => "-".to_string(),
        size if size >= 1e6 || (size < 1e-3 && size > 0.0) => format!("{value:.4e}"),
        _ => format!("{value:.4}"),
    }
}

/// What the default targets of a recipe make of a tensor.
fn by_default(tensor: &TensorEntry) -> String {
    let default = tensor.name().rsplit('.').next() == Some("weight")
        && (tensor.kind() == "Linear" || tensor.kind().starts_with("Conv"));
    match (tensor.is_parameter(), default) {
        (false, _) => "never: its type".to_string(),
        _ if tensor.elements() == 0 => "never: empty".to_string(),
        (true, true) => "by default".to_string(),
        _ if tensor.name().ends_with("running_mean") || tensor.name().ends_with("running_var") => {
            "never: a statistic".to_string()
        }
        _ => "if named".to_string(),
    }
}

/// What a recipe makes of each parameter.
fn of_recipe(checkpoint: &Checkpoint, recipe: &std::path::Path) -> Result<HashMap<String, String>, CommandError> {
    let pruner = recipe::of_file(recipe)?;
    let report = recipe::outcome(&pruner, checkpoint)?;
    let pruned = report.layers.iter().map(|layer| (layer.path.clone(), format!("as {}", layer.granularity)));
    let skipped = report.skipped.iter().map(|skipped| (skipped.path.clone(), format!("no: {}", skipped.reason)));
    Ok(pruned.chain(skipped).collect())
}

impl Values {
    fn of(values: &[f64]) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (mut zeros, mut count, mut squares, mut largest) = (0, 0, 0.0, 0.0f64);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in finite() {
            count += 1;
            zeros += usize::from(value == 0.0);
            squares += value * value;
            largest = value.abs().max(largest);
            (min, max) = (min.min(value), max.max(value));
        }
        if count == 0 {
            (min, max) = (f64::NAN, f64::NAN);
        }
        // The squares of what is huge or tiny leave the range of doubles; those of shares of the largest do not.
        let l2 = if largest == 0.0 || (1e-100..1e100).contains(&largest) {
            squares.sqrt()
        } else {
            largest * finite().map(|value| (value / largest).powi(2)).sum::<f64>().sqrt()
        };
        let mut histogram = [0; BINS];
        // The width may leave it too.
        let part = if (max - min).is_infinite() { 0.5 } else { 1.0 };
        let scale = BINS as f64 / (max * part - min * part);
        for value in finite() {
            let bin = if scale.is_finite() { ((value * part - min * part) * scale) as usize } else { 0 };
            histogram[bin.min(BINS - 1)] += 1;
        }
        Self { zeros, not_finite: values.len() - count, l2, min, max, histogram }
    }

    /// The histogram as one line.
    fn bars(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let highest = self.histogram.iter().copied().max().unwrap_or(0).max(1);
        let bar = |&count: &usize| if count == 0 { ' ' } else { BARS[(count * BARS.len()).div_ceil(highest) - 1] };
        self.histogram.iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_by_their_finite_part() {
        let values = Values::of(&[-1.0, 0.0, 0.0, 3.0, f64::NAN, f64::INFINITY]);
        assert_eq!((values.zeros, values.not_finite, values.min, values.max), (2, 2, -1.0, 3.0));
        assert_eq!(values.l2, 10f64.sqrt());
        assert_eq!(values.histogram.iter().sum::<usize>(), 4);
        assert_eq!((values.histogram[0], values.histogram[4], values.histogram[15]), (1, 2, 1));
        assert_eq!(values.bars(), "▄   █          ▄");
        assert_eq!(Values::of(&[2.0, 2.0]).histogram[0], 2);
        assert_eq!(Values::of(&[]).bars(), " ".repeat(16));
        assert!(Values::of(&[f64::NAN]).min.is_nan());
    }

    #[test]
    fn values_at_the_ends_of_the_range_are_told() {
        assert_eq!(Values::of(&[1e200, -1e200]).l2, 2f64.sqrt() * 1e200);
        assert_eq!(Values::of(&[1e-200, 0.0]).l2, 1e-200);
        let wide = Values::of(&[-1e308, 0.0, 1e308]).histogram;
        assert_eq!((wide[0], wide[8], wide[15]), (1, 1, 1));
        let texts = [1e300, 12.5, 1e-7, 0.0, f64::NAN].map(shown);
        assert_eq!(texts, ["1.0000e300", "12.5000", "1.0000e-7", "0.0000", "-"]);
    }
}
