//! What a pruning did, asked and achieved: [`Report`].
//!
//! # Contract
//!
//! The layers of a report are all targets, also those with an override of 0 (which carry no mask), so asked and achieved have one
//! denominator. `asked` and `unit_sparsity` are fractions of units, `sparsity` is a fraction of weights. Followers lose entries with
//! channels and are not targets.

use crate::budget::Chosen;
use crate::score::Granularity;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The result of a pruning: asked and achieved sparsity, in total and for each layer, and the parameters that were left out.
///
/// ```
/// use pruning_core::report::{LayerReport, Report};
/// let mut report = Report::default();
/// report.parameters = 110;
/// report.layers.push(LayerReport::new("fc1.weight", "Linear", vec![10, 10], 25));
/// assert_eq!((report.weights(), report.kept(), report.sparsity()), (100, 25, 0.75));
/// assert_eq!(report.compression(), 110.0 / 35.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The step of the schedule at which the pruning was due, if there is a schedule.
    pub step: Option<usize>,
    /// The round of the schedule, from 1, and the number of rounds.
    pub round: Option<(usize, usize)>,
    /// The number of weights that an update of dynamic sparse training dropped and grew; `None` for a pruning.
    #[serde(default)]
    pub grown: Option<usize>,
    /// The float parameters of the whole model, targets or not; buffers such as running statistics do not count.
    pub parameters: usize,
    /// The targets in the order of the model, including those that an override leaves dense.
    pub layers: Vec<LayerReport>,
    /// Parameters that are not targets and lose entries with the channels of targets: biases, scales and shifts of norms, weights that
    /// read the channels.
    #[serde(default)]
    pub followers: Vec<LayerReport>,
    /// Parameters that are not targets, each with the reason.
    pub skipped: Vec<Skipped>,
    /// Warnings about results that the author of the recipe may not expect.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// A pruned parameter, with what was asked and achieved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// The path of the parameter.
    pub path: String,
    /// Other paths of the same parameter, which is counted once.
    pub aliases: Vec<String>,
    /// The type of the layer.
    pub kind: String,
    /// The shape of the parameter.
    pub shape: Vec<usize>,
    /// The granularity, as text.
    pub granularity: String,
    /// The number of elements.
    pub weights: usize,
    /// The number of kept elements.
    pub kept: usize,
    /// The number of units. Channels that several layers share are counted at the first of them.
    pub units: usize,
    /// The number of kept units.
    pub kept_units: usize,
    /// The fraction of the units that was asked to be removed.
    pub asked: f64,
}

impl LayerReport {
    /// Creates the report of a parameter that keeps `kept` of its elements, each of which is a unit.
    pub fn new(path: impl Into<String>, kind: impl Into<String>, shape: Vec<usize>, kept: usize) -> Self {
        let weights: usize = shape.iter().product();
        let asked = 1.0 - kept as f64 / weights.max(1) as f64;
        let (path, kind, granularity) = (path.into(), kind.into(), Granularity::Element.to_string());
        let (aliases, units, kept_units) = (Vec::new(), weights, kept);
        Self { path, aliases, kind, shape, granularity, weights, kept, units, kept_units, asked }
    }

    /// Sets what is removed together; the units are counted by [`with_units`](Self::with_units).
    #[must_use]
    pub fn with_granularity(self, granularity: Granularity) -> Self {
        Self { granularity: granularity.to_string(), ..self }
    }

    /// Sets other paths of the same parameter.
    #[must_use]
    pub fn with_aliases(self, aliases: Vec<String>) -> Self {
        Self { aliases, ..self }
    }

    /// Sets the units of what is chosen at this layer. If nothing is counted here, the layer was asked for what `shared` was asked, which
    /// counts its units.
    #[must_use]
    pub fn with_units(self, here: &[&Chosen], shared: Option<&Chosen>) -> Self {
        let units = here.iter().map(|chosen| chosen.units).sum();
        let asked = match here {
            [] => shared.map_or(0.0, |chosen| chosen.asked),
            [one] => one.asked,
            all => all.iter().map(|chosen| chosen.asked * chosen.units as f64).sum::<f64>() / units as f64,
        };
        Self { units, kept_units: here.iter().map(|chosen| chosen.kept_units).sum(), asked, ..self }
    }

    /// Returns the fraction of the elements that is removed.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        1.0 - self.kept as f64 / self.weights.max(1) as f64
    }
}

/// A parameter that was skipped, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Skipped {
    /// The path of the parameter.
    pub path: String,
    /// The reason for skipping it.
    pub reason: SkipReason,
}

impl Skipped {
    /// Creates an entry for the parameter at `path`.
    pub fn new(path: impl Into<String>, reason: SkipReason) -> Self {
        Self { path: path.into(), reason }
    }
}

/// The reason why a parameter was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// A pattern of `target.exclude` matches it.
    Excluded {
        /// The pattern.
        pattern: String,
    },
    /// No pattern of `target.include` matches it.
    NotIncluded,
    /// The parameter is not a weight of a linear or convolution layer, and no pattern names it.
    NotDefault,
    /// The parameter is a running statistic.
    RunningStatistic,
    /// The values of the parameter are packed integers.
    Quantized,
    /// The parameter has no elements.
    Empty,
    /// The granularity does not fit the parameter, and the recipe skips such layers.
    Unfit {
        /// What does not fit.
        why: String,
    },
    /// The parameter is a target, but its channels cannot be removed.
    ChannelsStay {
        /// What keeps the channels in place.
        why: String,
    },
}

impl SkipReason {
    /// Returns whether a pattern of `target.exclude` is the reason.
    #[must_use]
    pub fn is_exclusion(&self) -> bool {
        matches!(self, Self::Excluded { .. })
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded { pattern } => write!(f, "excluded by {pattern:?}"),
            Self::NotIncluded => write!(f, "not in target.include"),
            Self::NotDefault => write!(f, "not a weight of a linear or convolution layer, and not named"),
            Self::RunningStatistic => write!(f, "a running statistic"),
            Self::Quantized => write!(f, "its values are quantized: prune first, then quantize"),
            Self::Empty => write!(f, "has no elements"),
            Self::Unfit { why } => write!(f, "left dense: {why}"),
            Self::ChannelsStay { why } => write!(f, "its channels stay: {why}"),
        }
    }
}

/// A warning about a result that the author of the recipe may not expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// Output channels were masked only in the weights that make them, because no trace shows what follows: their biases, and the scales
    /// and shifts of norms behind them, still produce output.
    Untraced {
        /// The paths of the layers.
        paths: Vec<String>,
    },
    /// A reconstruction had less than ten rows of a calibration for each input column, so it may fit their noise.
    FewRows {
        /// The paths of the layers.
        paths: Vec<String>,
    },
    /// Some input columns of reconstructed layers were zero in all rows of the calibration, so nothing is known of their weights.
    DeadColumns {
        /// The paths of the layers, each with the number of such columns.
        columns: Vec<(String, usize)>,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untraced { paths } => write!(
                f,
                "{}: masked channels are not silent: their biases and the norms behind them stay. Give the pruner a trace \
                 (`Pruner::with_trace`), and all that belongs to a channel is masked",
                few(paths)
            ),
            Self::FewRows { paths } => write!(
                f,
                "{}: the calibration has less than ten rows for each input column; calibrate with more data, or raise `damp`",
                few(paths)
            ),
            Self::DeadColumns { columns } => {
                let paths: Vec<_> = columns.iter().map(|(path, number)| format!("{path} ({number})")).collect();
                write!(f, "{}: input columns that are zero in all rows of the calibration", few(&paths))
            }
        }
    }
}

impl Report {
    /// Adds a warning, to one of its kind if there is one.
    pub fn add_warning(&mut self, warning: Warning) {
        for known in &mut self.warnings {
            match (known, &warning) {
                (Warning::Untraced { paths }, Warning::Untraced { paths: more })
                | (Warning::FewRows { paths }, Warning::FewRows { paths: more }) => {
                    return paths.extend(more.iter().cloned());
                }
                (Warning::DeadColumns { columns }, Warning::DeadColumns { columns: more }) => {
                    return columns.extend(more.iter().cloned());
                }
                _ => {}
            }
        }
        self.warnings.push(warning);
    }

    /// Returns the number of elements of the targets.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.layers.iter().map(|l| l.weights).sum()
    }

    /// Returns the number of kept elements of the targets.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.layers.iter().map(|l| l.kept).sum()
    }

    /// Returns the fraction of the elements of the targets that is removed.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        1.0 - self.kept() as f64 / self.weights().max(1) as f64
    }

    /// Returns the number of units of the targets: their elements, blocks or channels.
    #[must_use]
    pub fn units(&self) -> usize {
        self.layers.iter().map(|l| l.units).sum()
    }

    /// Returns the number of kept units of the targets.
    #[must_use]
    pub fn kept_units(&self) -> usize {
        self.layers.iter().map(|l| l.kept_units).sum()
    }

    /// Returns the fraction of the units of the targets that is removed, to compare with [`asked`](Self::asked).
    #[must_use]
    pub fn unit_sparsity(&self) -> f64 {
        1.0 - self.kept_units() as f64 / self.units().max(1) as f64
    }

    /// Returns the fraction of the units of the targets that was asked to be removed.
    #[must_use]
    pub fn asked(&self) -> f64 {
        let asked: f64 = self.layers.iter().map(|l| l.asked * l.units as f64).sum();
        asked / self.units().max(1) as f64
    }

    /// Returns the compression of the whole model: parameters before over parameters after, `parameters / (parameters - removed)`.
    #[must_use]
    pub fn compression(&self) -> f64 {
        let removed: usize = self.layers.iter().chain(&self.followers).map(|l| l.weights - l.kept).sum();
        self.parameters as f64 / self.parameters.saturating_sub(removed).max(1) as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["layer", "type", "shape", "unit", "weights", "kept", "kept %"]);
        for l in &self.layers {
            let shape = l.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
            table.add_row(
                [l.path.clone(), l.kind.clone(), shape, l.granularity.clone()]
                    .into_iter()
                    .chain(numbers(l.weights, l.kept)),
            );
        }
        table.add_row(["total", "", "", ""].map(String::from).into_iter().chain(numbers(self.weights(), self.kept())));
        for column in 4..7 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if let (Some(step), Some((round, rounds))) = (self.step, self.round) {
            writeln!(f, "round {round} of {rounds}, step {step}")?;
        }
        if let (Some(step), Some(grown)) = (self.step, self.grown) {
            writeln!(f, "update, step {step}: {} weights dropped, as many grown", thousands(grown))?;
        }
        writeln!(f, "{table}")?;
        let percent = |fraction: f64| format!("{:.2} %", 100.0 * fraction);
        let asked = percent(self.asked());
        if self.units() == self.weights() {
            write!(f, "sparsity {} (asked {asked})", percent(self.sparsity()))?;
        } else {
            let (units, weights) = (percent(self.unit_sparsity()), percent(self.sparsity()));
            write!(f, "removed: {units} of the units (asked {asked}), {weights} of the weights")?;
        }
        write!(f, ", compression of the whole model {:.2}x", self.compression())?;
        if !self.followers.is_empty() {
            let (of, kept) = self.followers.iter().fold((0, 0), |(w, k), l| (w + l.weights, k + l.kept));
            let (gone, of, number) = (thousands(of - kept), thousands(of), self.followers.len());
            write!(f, "\nalong with the channels: {gone} of {of} entries of {number} parameters that are no targets")?;
        }
        // Biases and norms are left out by rule; what a pattern left out is worth a line, one for each reason.
        let mut reasons: Vec<(&SkipReason, Vec<&String>)> = Vec::new();
        for s in self.skipped.iter().filter(|s| s.reason != SkipReason::NotDefault) {
            match reasons.iter_mut().find(|(reason, _)| **reason == s.reason) {
                Some((_, paths)) => paths.push(&s.path),
                None => reasons.push((&s.reason, vec![&s.path])),
            }
        }
        reasons.iter().try_for_each(|(reason, paths)| write!(f, "\nskipped {}: {reason}", few(paths)))?;
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

/// Returns the first names of a list, and how many more there are.
fn few<S: AsRef<str>>(paths: &[S]) -> String {
    let named: Vec<&str> = paths.iter().take(3).map(AsRef::as_ref).collect();
    match paths.len().saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn numbers(weights: usize, kept: usize) -> [String; 3] {
    [thousands(weights), thousands(kept), format!("{:.2}", 100.0 * kept as f64 / weights.max(1) as f64)]
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(path: &str, weights: usize, kept: usize) -> LayerReport {
        LayerReport {
            path: path.into(),
            aliases: vec![],
            kind: "Linear".into(),
            shape: vec![weights / 10, 10],
            granularity: "element".into(),
            weights,
            kept,
            units: weights,
            kept_units: kept,
            asked: 0.9,
        }
    }

    fn excluded(path: &str, pattern: &str) -> Skipped {
        Skipped::new(path, SkipReason::Excluded { pattern: pattern.into() })
    }

    #[test]
    fn totals_and_compression_count_the_whole_model() {
        let mut report = Report {
            step: Some(3),
            round: Some((1, 2)),
            parameters: 12_000,
            layers: vec![layer("a.weight", 10_000, 1000), layer("b.weight", 1000, 100)],
            skipped: vec![excluded("c.weight", "c")],
            ..Report::default()
        };
        assert!((report.sparsity() - 0.9).abs() < 1e-12 && (report.asked() - 0.9).abs() < 1e-12);
        assert!((report.compression() - 12_000.0 / 2100.0).abs() < 1e-12);
        let text = report.to_string();
        for part in ["round 1 of 2, step 3", "1000 x 10", "10,000", "10.00", "skipped c.weight", "5.71x"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        // What goes along with channels is gone from the model, and is no part of what was asked.
        report.followers = vec![layer("a.bias", 100, 50)];
        report.warnings = vec![Warning::Untraced { paths: vec!["a.weight".into()] }];
        assert!((report.compression() - 12_000.0 / 2050.0).abs() < 1e-12);
        assert!((report.sparsity() - 0.9).abs() < 1e-12);
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#"{"kind":"untraced","paths":["a.weight"]}"#), "{json}");
        assert!(json.contains(r#"{"path":"c.weight","reason":{"kind":"excluded","pattern":"c"}}"#), "{json}");
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn a_layer_is_asked_for_the_mean_of_what_is_counted_at_it() {
        let chosen =
            |units, kept_units, asked| Chosen { keep: crate::mask::Bits::ones(units), units, kept_units, asked };
        let (few, many) = (chosen(10, 4, 0.6), chosen(30, 24, 0.2));
        let counted = |here: &[&Chosen], shared| {
            let report = layer("a", 400, 200).with_units(here, shared);
            (report.units, report.kept_units, report.asked)
        };
        let (units, kept, asked) = counted(&[&few, &many], Some(&many));
        assert!((units, kept) == (40, 28) && (asked - 0.3).abs() < 1e-12);
        assert_eq!(counted(&[&few], Some(&few)), (10, 4, 0.6));
        assert_eq!(counted(&[], Some(&few)), (0, 0, 0.6));
        assert_eq!(counted(&[], None), (0, 0, 0.0));
    }

    #[test]
    fn asked_and_achieved_are_counted_in_the_same_units() {
        // Half of 4 + 12 channels, all of them from the layer whose channels are large.
        let channels = |path: &str, units, kept_units, each| LayerReport {
            units,
            kept_units,
            asked: 0.5,
            ..layer(path, units * each, kept_units * each)
        };
        let report = Report { layers: vec![channels("a", 4, 4, 10), channels("b", 12, 4, 90)], ..Report::default() };
        assert_eq!((report.units(), report.kept_units()), (16, 8));
        assert!((report.unit_sparsity() - report.asked()).abs() < 1e-12 && report.sparsity() > 0.6);
        let text = report.to_string();
        assert!(text.contains("removed: 50.00 % of the units (asked 50.00 %), 64.29 % of the weights"), "{text}");
    }

    #[test]
    fn what_was_skipped_for_one_reason_is_one_line() {
        let buffers = (0..40).map(|i| Skipped::new(format!("norm{i}.running_mean"), SkipReason::RunningStatistic));
        let others = [excluded("head.weight", "head"), Skipped::new("a.bias", SkipReason::NotDefault)];
        let report = Report { skipped: buffers.chain(others).collect(), ..Report::default() };
        let text = report.to_string();
        let told: Vec<_> = text.lines().filter(|line| line.starts_with("skipped")).collect();
        assert_eq!(
            told,
            [
                "skipped norm0.running_mean, norm1.running_mean, norm2.running_mean and 37 more: a running statistic",
                "skipped head.weight: excluded by \"head\"",
            ]
        );
        // The data stays.
        assert_eq!(report.skipped.len(), 42);
    }
}
