//! `burn-prune plugins`.

use crate::output::{Output, table};
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    name: &'static str,
    summary: &'static str,
    references: &'static [&'static str],
}

pub(crate) fn plugins() -> Output {
    let all = pruning_plugins::all();
    let row = |entry: &pruning_burn::plugin::Entry| Row {
        kind: entry.kind(),
        name: entry.name(),
        summary: entry.summary(),
        references: entry.references(),
    };
    let mut rows: Vec<Row> = all.iter().map(row).collect();
    rows.sort_by_key(|row| (row.kind, row.name));
    let lines = rows.iter().map(|row| [row.kind, row.name, row.summary].map(ToString::to_string));
    Output::new(table(["kind", "name", "what it does"], 3, lines), serde_json::json!({ "plugins": rows }))
}
