//! The report on the layers of a sparse model: [`SparseReport`].

use comfy_table::{Cell, CellAlignment, Table, presets};
use pruning_sparse::Format;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The reason why a layer runs sparse or dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The sparse product was faster.
    Faster,
    /// The sparse product was not faster, or by less than 3 %.
    Slower,
    /// The weights have too few zeros to try a sparse product.
    FewZeros,
    /// The sparse product was faster, but the whole model with sparse products was not.
    WholeModelSlower,
    /// The rule of [`fastest`](pruning_sparse::fastest) decided, without measuring.
    Rule,
    /// The options asked for a sparse product, without measuring.
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

/// The comparison of a pass with sparse products with the dense one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The pass with sparse products is certainly faster.
    Faster,
    /// The pass with sparse products is certainly slower, so all of it stays dense.
    Slower,
    /// The budget was spent before the result was certain, so each product runs whichever way was faster alone.
    Uncertain,
}

/// One product with a weight, in one recorded pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerRow {
    /// The path of the weight; empty if the weight is computed from several.
    pub path: String,
    /// The operation: `linear`, `conv1d` or `conv2d`.
    pub operation: String,
    /// The numbers of output units and of inputs for each (fan-in).
    pub shape: [usize; 2],
    /// The number of vectors (or images) that the weights are multiplied with in one run.
    pub batch: usize,
    /// The fraction of weights that are zero.
    pub sparsity: f64,
    /// Whether the sparse product runs.
    pub sparse: bool,
    /// The format of the sparse product that was tried.
    pub format: Option<Format>,
    /// The bytes of the dense weights.
    pub dense_bytes: u64,
    /// The bytes of the sparse weights that a run reads instead, if they were tried.
    pub sparse_bytes: Option<u64>,
    /// The seconds of the dense operations, including their bias and ReLU.
    pub dense_seconds: Option<f64>,
    /// The seconds of the sparse product, including its bias and ReLU.
    pub sparse_seconds: Option<f64>,
    /// Whether it is certain which product is faster; `None` if nothing was measured.
    #[serde(default)]
    pub certain: Option<bool>,
    /// The reason why the layer runs sparse or dense.
    pub why: Why,
}

/// A report on all recorded passes of a sparse model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SparseReport {
    /// The recorded passes, in the order of their traces.
    pub passes: Vec<PassReport>,
}

/// A report on the layers and times of one recorded pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PassReport {
    /// The shapes of the inputs.
    pub inputs: Vec<Vec<usize>>,
    /// The layers, in the order in which they run.
    pub layers: Vec<LayerRow>,
    /// The seconds of the whole pass with dense weights; `None` if nothing was measured.
    pub dense_seconds: Option<f64>,
    /// The seconds of the whole pass as it runs; `None` if nothing was measured.
    pub seconds: Option<f64>,
    /// The comparison with the dense pass; `None` if nothing was measured, or no product was faster sparse.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// The number of pairs of runs that compared the whole pass, or only the products if none was faster sparse.
    #[serde(default)]
    pub rounds: usize,
}

impl PassReport {
    /// Returns the speedup of the pass: dense over sparse seconds, 1 if every layer is dense.
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
                        write!(
                            f,
                            ", not certain after {} rounds: each layer runs whichever way is faster alone",
                            self.rounds
                        )
                    }
                    _ => Ok(()),
                }
            }
            _ => write!(f, "nothing was measured"),
        }
    }
}

/// Returns the name of a format, such as `csr16`, `bitmap` or `2:4`.
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
