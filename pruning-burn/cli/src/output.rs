//! What a command tells: [`Output`].

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// The result of a command, for people and for programs.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Output {
    pub(crate) fn new(text: String, json: impl Serialize) -> Self {
        // Numbers that JSON has not become null, and keys are strings, so this does not fail.
        Self { text, json: serde_json::to_value(json).unwrap_or_default() }
    }
}

/// A table whose columns are numbers from the one at `numbers` on.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    numbers: usize,
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    for row in rows {
        let cell = |(i, text): (usize, String)| {
            let side = if i < numbers { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(side)
        };
        table.add_row(row.into_iter().enumerate().map(cell).collect::<Vec<_>>());
    }
    table.to_string()
}

/// A path as text, which JSON can hold whatever its bytes are.
pub(crate) fn shown_path(path: &Path) -> String {
    path.display().to_string()
}

/// A shape as text.
pub(crate) fn shown_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        "scalar".to_string()
    } else {
        shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
    }
}

/// A share in percent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64)
}
