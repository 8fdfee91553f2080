//! The times of a model that runs with sparse weights.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Section, Table};
use crate::text::{self, counted, number, seconds, times};
use pruning_burn::sparse::{LayerRow, PassReport, SparseReport, Verdict};

/// Recorded passes that are shown.
const PASSES: usize = 4;

pub(super) fn section(report: &SparseReport) -> Section {
    let mut parts: Vec<_> = report.passes.iter().take(PASSES).map(|pass| Part::Table(table(pass))).collect();
    let more = report.passes.len().saturating_sub(PASSES);
    if more > 0 {
        parts.push(Part::Text(format!("{} not shown.", counted(more, "further pass is", "further passes are"))));
    }
    Section { id: "sparse", title: "Sparse products", parts }
}

fn table(pass: &PassReport) -> Table {
    let mut caption = format!("Inputs {}.", text::cut(&format!("{:?}", pass.inputs)));
    caption += &match (pass.dense_seconds, pass.seconds, pass.gain()) {
        (Some(dense), Some(now), Some(gain)) => {
            format!(" The whole pass takes {} dense and {} now: {}.", seconds(dense), seconds(now), times(gain))
        }
        _ => " Nothing was measured.".to_string(),
    };
    caption += match pass.verdict {
        Some(Verdict::Slower) => " With sparse products it was slower, so all of it stays dense.",
        Some(Verdict::Uncertain) => " That is not certain: each product runs whichever way was faster alone.",
        _ => "",
    };
    let names = ["Batch", "Dense bytes", "Bytes read", "Dense, µs", "Sparse, µs", "Zeros"].map(Column::number);
    let columns = ["Weight", "Shape", "Runs", "Why"].map(Column::text).into_iter().chain(names).collect();
    let rows = pass.layers.iter().map(|row| (row.dense_bytes as f64, cells(row)));
    Table::new(caption, columns).with_rows(rows.collect(), TABLE)
}

fn cells(row: &LayerRow) -> Vec<Cell> {
    let time = |time: Option<f64>| Cell::Number(time.map_or_else(|| "–".to_string(), |s| number(1e6 * s)));
    let path = if row.path.is_empty() { "(computed)".to_string() } else { text::name(&row.path) };
    let format = match row.format {
        Some(format) if row.sparse => text::cut(&format!("{format:?}").to_lowercase()),
        _ => "dense".to_string(),
    };
    let why = if row.certain == Some(false) { format!("{}, not certain", row.why) } else { row.why.to_string() };
    let read = if row.sparse { row.sparse_bytes.unwrap_or(row.dense_bytes) } else { row.dense_bytes };
    vec![
        Cell::Name(path),
        Cell::Text(text::shape(&row.shape)),
        Cell::Text(format),
        Cell::Text(why),
        Cell::count(row.batch),
        Cell::count(row.dense_bytes),
        Cell::count(read),
        time(row.dense_seconds),
        time(row.sparse_seconds),
        Cell::percent(row.sparsity),
    ]
}
