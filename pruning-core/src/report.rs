//! What a pruning did: [`Report`].

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Asked and achieved, in total and for each layer, and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Step of the schedule, for a pruning that was due at one.
    pub step: Option<usize>,
    /// Round of the schedule, from 1, and how many there are.
    pub round: Option<(usize, usize)>,
    /// Weights that an update of dynamic sparse training dropped, and as many that it grew; nothing for a pruning.
    #[serde(default)]
    pub grown: Option<usize>,
    /// Float parameters of the whole model, targets or not; buffers such as running statistics do not count.
    pub parameters: usize,
    /// The layers that are pruned, in the order of the model.
    pub layers: Vec<LayerReport>,
    /// Parameters that are not targets, and why.
    pub skipped: Vec<Skipped>,
}

/// One pruned parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Its path.
    pub path: String,
    /// Other paths of the same parameter, counted here.
    pub aliases: Vec<String>,
    /// Type of its layer.
    pub kind: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What is removed together.
    pub granularity: String,
    /// Elements.
    pub weights: usize,
    /// Elements kept.
    pub kept: usize,
    /// Units.
    pub units: usize,
    /// Units kept.
    pub kept_units: usize,
    /// Sparsity asked for.
    pub asked: f64,
}

impl LayerReport {
    /// Sparsity achieved.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        1.0 - self.kept as f64 / self.weights.max(1) as f64
    }
}

/// A parameter that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// Elements of the pruned layers.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.layers.iter().map(|l| l.weights).sum()
    }

    /// Those that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.layers.iter().map(|l| l.kept).sum()
    }

    /// Sparsity achieved over the pruned layers.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        1.0 - self.kept() as f64 / self.weights().max(1) as f64
    }

    /// Sparsity asked for over the pruned layers.
    #[must_use]
    pub fn asked(&self) -> f64 {
        let asked: f64 = self.layers.iter().map(|l| l.asked * l.weights as f64).sum();
        asked / self.weights().max(1) as f64
    }

    /// Parameters of the whole model before and after: `parameters / (parameters - removed)`.
    #[must_use]
    pub fn compression(&self) -> f64 {
        let removed = self.weights() - self.kept();
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
        write!(
            f,
            "sparsity {:.2} % (asked {:.2} %), compression of the whole model {:.2}x",
            100.0 * self.sparsity(),
            100.0 * self.asked(),
            self.compression()
        )?;
        // Biases and norms are left out by rule; what a pattern left out is worth a line.
        let told: Vec<_> = self.skipped.iter().filter(|s| s.why != NOT_DEFAULT).collect();
        told.iter().try_for_each(|s| write!(f, "\nskipped {}: {}", s.path, s.why))
    }
}

/// The reason of a parameter that no one named and that is no weight of a layer.
pub const NOT_DEFAULT: &str = "not a weight of a linear or convolution layer, and not named";

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

    #[test]
    fn totals_and_compression_count_the_whole_model() {
        let layer = |path: &str, weights, kept| LayerReport {
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
        };
        let report = Report {
            step: Some(3),
            round: Some((1, 2)),
            grown: None,
            parameters: 12_000,
            layers: vec![layer("a.weight", 10_000, 1000), layer("b.weight", 1000, 100)],
            skipped: vec![Skipped { path: "c.weight".into(), why: "excluded by \"c\"".into() }],
        };
        assert!((report.sparsity() - 0.9).abs() < 1e-12 && (report.asked() - 0.9).abs() < 1e-12);
        assert!((report.compression() - 12_000.0 / 2100.0).abs() < 1e-12);
        let text = report.to_string();
        for part in ["round 1 of 2, step 3", "1000 x 10", "10,000", "10.00", "skipped c.weight", "5.71x"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
