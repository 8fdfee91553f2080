//! What became of each layer: [`SparseReport`].

use comfy_table::{Cell, CellAlignment, Table, presets};
use pruning_sparse::Format;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a layer runs as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The sparse product was faster.
    Faster,
    /// It was not, or by less than what a measurement is worth.
    Slower,
    /// There are so few zeros that it was not tried.
    FewZeros,
    /// Layer by layer it was, but the model as a whole was not.
    WholeModelSlower,
    /// The rule of [`fastest`](pruning_sparse::fastest) said so; nothing was measured.
    Rule,
    /// It was asked for; nothing was measured.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Faster => "faster",
            Self::Slower => "sparse would not be faster",
            Self::FewZeros => "too few zeros",
            Self::WholeModelSlower => "the whole model was not faster",
            Self::Rule => "by rule, not measured",
            Self::Asked => "asked for, not measured",
        })
    }
}

/// How a pass with sparse products compares to the dense one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It is faster, for certain.
    Faster,
    /// It is slower, for certain, so that all of the pass stays dense.
    Slower,
    /// The budget was spent before it was certain. Each product runs as was faster by itself.
    Uncertain,
}

/// One product with a weight, in one recorded pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerRow {
    /// Path of the weight; empty if it is computed from several.
    pub path: String,
    /// `linear`, `conv1d` or `conv2d`.
    pub operation: String,
    /// Output units and fan-in.
    pub shape: [usize; 2],
    /// Vectors that the weights are multiplied with in one run, or images.
    pub batch: usize,
    /// Fraction of weights that are zero.
    pub sparsity: f64,
    /// Whether the sparse product runs.
    pub sparse: bool,
    /// The format in which the sparse product was tried, and in which the weights are if it runs.
    pub format: Option<Format>,
    /// Bytes of the weights as they are given.
    pub dense_bytes: u64,
    /// Bytes of the arrays that a run reads instead, if it was tried.
    pub sparse_bytes: Option<u64>,
    /// Seconds of the dense operations, with the bias and the ReLU that belong to them.
    pub dense_seconds: Option<f64>,
    /// Seconds of the sparse product, with the same.
    pub sparse_seconds: Option<f64>,
    /// Whether it is certain that the product that was faster in most runs is the faster one; none if nothing was measured.
    #[serde(default)]
    pub certain: Option<bool>,
    /// Why.
    pub why: Why,
}

/// Layers of all recorded passes, and what the whole of each takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SparseReport {
    /// By recorded pass, then in the order in which they run.
    pub passes: Vec<PassReport>,
}

/// Layers of a recorded pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PassReport {
    /// Shapes of the inputs.
    pub inputs: Vec<Vec<usize>>,
    /// In the order in which they run.
    pub layers: Vec<LayerRow>,
    /// Seconds of the whole pass with dense weights; none if nothing was measured.
    pub dense_seconds: Option<f64>,
    /// Seconds of the whole pass as it runs.
    pub seconds: Option<f64>,
    /// How the whole pass compares to the dense one; none if nothing was measured, or no product was faster sparse.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Pairs of runs, one after the other, by which the whole pass was compared, or, if no product was faster sparse, the products.
    #[serde(default)]
    pub rounds: usize,
}

impl PassReport {
    /// How much less time the pass takes: dense over sparse. 1 if every layer is dense.
    #[must_use]
    pub fn gain(&self) -> Option<f64> {
        Some(self.dense_seconds? / self.seconds?)
    }
}

impl fmt::Display for SparseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pass) in self.passes.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{pass}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["weight", "shape", "batch", "zeros", "format", "bytes", "dense, us", "sparse, us", "why"]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let time = |seconds: Option<f64>| right(seconds.map_or("-".into(), |s| format!("{:.1}", 1e6 * s)));
        for row in &self.layers {
            let path = if row.path.is_empty() { "(computed)" } else { &row.path };
            let runs = match row.format {
                Some(format) if row.sparse => name(format),
                _ => "dense".to_string(),
            };
            let bytes = if row.sparse { row.sparse_bytes.unwrap_or(row.dense_bytes) } else { row.dense_bytes };
            table.add_row([
                Cell::new(path),
                right(format!("{}x{}", row.shape[0], row.shape[1])),
                right(row.batch.to_string()),
                right(format!("{:.1} %", 100.0 * row.sparsity)),
                Cell::new(runs),
                right(bytes.to_string()),
                time(row.dense_seconds),
                time(row.sparse_seconds),
                Cell::new(if row.certain == Some(false) {
                    format!("{}, not certain", row.why)
                } else {
                    row.why.to_string()
                }),
            ]);
        }
        writeln!(f, "inputs {:?}", self.inputs)?;
        writeln!(f, "{table}")?;
        match (self.dense_seconds, self.seconds) {
            (Some(dense), Some(seconds)) => {
                write!(
                    f,
                    "whole pass: {:.1} us dense, {:.1} us now, {:.2}x",
                    1e6 * dense,
                    1e6 * seconds,
                    dense / seconds
                )?;
                match self.verdict {
                    Some(Verdict::Uncertain) => {
                        write!(f, ", not certain after {} rounds: layers run as is faster one by one", self.rounds)
                    }
                    _ => Ok(()),
                }
            }
            _ => write!(f, "nothing was measured"),
        }
    }
}

/// `csr16`, `bitmap`, `2:4`.
fn name(format: Format) -> String {
    match format {
        Format::Dense => "dense".into(),
        Format::Coo => "coo".into(),
        Format::Csr16 => "csr16".into(),
        Format::Csr32 => "csr32".into(),
        Format::Bitmap => "bitmap".into(),
        Format::Packed { n, m, .. } => format!("{n}:{m}"),
        Format::Blocks { height, width } => format!("blocks {height}x{width}"),
        other => format!("{other:?}"),
    }
}
