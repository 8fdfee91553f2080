//! The pruned layers, as a table.

use crate::parts::{Cell, Column, Part, Section, Table};
use crate::text;
use pruning_burn::report::{LayerReport, Report};

pub(super) fn section(report: &Report, bytes: usize) -> Option<Section> {
    if report.layers.is_empty() {
        return None;
    }
    // What all rows share is said once, which leaves room for rows.
    let same = |of: fn(&LayerReport) -> &str| report.layers.iter().all(|layer| of(layer) == of(&report.layers[0]));
    let same_unit = same(|layer| &layer.granularity);
    let units = report.layers.iter().any(|layer| layer.units != layer.weights);
    let mut caption = "The parameters that the recipe prunes.".to_string();
    if same_unit {
        caption += &format!(" The unit is {} everywhere.", text::name(&report.layers[0].granularity));
    }
    let mut columns = vec![Column::text("Parameter"), Column::text("Layer"), Column::text("Shape")];
    columns.extend((!same_unit).then(|| Column::text("Unit")));
    columns.extend(units.then(|| [Column::number("Units"), Column::number("Units kept")]).into_iter().flatten());
    columns.extend(["Weights", "Kept", "Asked", "Sparsity"].map(Column::number));
    let row = |layer: &LayerReport| {
        let mut path = text::name(&layer.path);
        if !layer.aliases.is_empty() {
            path += &format!(" = {}", text::name(&layer.aliases[0]));
        }
        let mut cells =
            vec![Cell::Name(path), Cell::Text(text::name(&layer.kind)), Cell::Text(text::shape(&layer.shape))];
        cells.extend((!same_unit).then(|| Cell::Text(text::name(&layer.granularity))));
        let counts = units.then(|| [Cell::count(layer.units), Cell::count(layer.kept_units)]);
        cells.extend(counts.into_iter().flatten());
        cells.extend([Cell::count(layer.weights), Cell::count(layer.kept)]);
        cells.extend([Cell::Number(text::percent(layer.asked)), Cell::percent(layer.sparsity())]);
        (layer.weights as f64, cells)
    };
    let rows = report.layers.iter().map(row).collect();
    let table = Table::new(caption, columns).with_rows(rows, bytes);
    Some(Section { id: "layers", title: "Layers", parts: vec![Part::Table(table)] })
}
