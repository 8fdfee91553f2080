//! Parameters that were left out, by reason.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Section, Table};
use crate::text;
use pruning_burn::report::Report;
use pruning_burn::shown;
use std::collections::BTreeMap;

pub(super) fn section(report: &Report) -> Option<Section> {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for skipped in &report.skipped {
        reasons.entry(skipped.reason.to_string()).or_default().push(&skipped.path);
    }
    let mut parts = Vec::new();
    if !reasons.is_empty() {
        let columns = vec![Column::text("Reason"), Column::number("Parameters"), Column::text("Paths")];
        let rows = reasons.iter().map(|(reason, paths)| {
            let cells = [Cell::Name(text::cut(reason)), Cell::count(paths.len()), Cell::Text(shown::list(paths))];
            (paths.len() as f64, cells.into())
        });
        let caption = "Parameters that are no targets.";
        parts.push(Part::Table(Table::new(caption, columns).with_rows(rows.collect(), TABLE)));
    }
    if !report.followers.is_empty() {
        let columns = vec![Column::text("Parameter"), Column::number("Entries"), Column::number("Kept")];
        let columns = columns.into_iter().chain([Column::number("Removed")]).collect();
        let rows = report.followers.iter().map(|layer| {
            let name = Cell::Name(text::name(&layer.path));
            let cells = [name, Cell::count(layer.weights), Cell::count(layer.kept), Cell::percent(layer.sparsity())];
            (layer.weights as f64, cells.into())
        });
        let caption = "Parameters that are no targets and lose entries with the channels of targets.";
        parts.push(Part::Table(Table::new(caption, columns).with_rows(rows.collect(), TABLE)));
    }
    (!parts.is_empty()).then_some(Section { id: "left-out", title: "Left out", parts })
}
