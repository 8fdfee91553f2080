//! Channels that go together, and what must stay.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Section, Table};
use crate::text;
use pruning_burn::shown;
use pruning_burn::shrink::{ChannelGroups, ShrinkPlan};

pub(super) fn section(plan: Option<&ShrinkPlan>, groups: Option<&ChannelGroups>) -> Option<Section> {
    let mut parts = Vec::new();
    match (plan, groups) {
        (Some(plan), _) if !plan.groups.is_empty() => parts.push(Part::Table(planned(plan))),
        (_, Some(groups)) if !groups.groups.is_empty() => parts.push(Part::Table(found(groups))),
        _ => {}
    }
    if let Some(plan) = plan.filter(|plan| !plan.fields.is_empty()) {
        let columns = vec![Column::text("Field"), Column::number("New value")];
        let rows = plan.fields.iter().map(|field| (0.0, vec![name(&field.path), Cell::count(field.value)]));
        let caption = "Sizes that the module keeps outside of its parameters.";
        parts.push(Part::Table(Table::new(caption, columns).with_rows(rows.collect(), TABLE)));
    }
    if let Some(groups) = groups.filter(|groups| !groups.fixed.is_empty()) {
        let columns = vec![Column::text("Axis"), Column::text("Used by"), Column::text("Why its channels stay")];
        let rows = groups.fixed.iter().map(|(axis, why)| {
            let path = Cell::Name(format!("{} [{}]", text::name(&axis.path), axis.axis));
            (0.0, vec![path, Cell::Text(shown::list(&axis.operations)), Cell::Text(text::cut(why))])
        });
        let caption = "Axes with channels that cannot be removed.";
        parts.push(Part::Table(Table::new(caption, columns).with_rows(rows.collect(), TABLE)));
    }
    (!parts.is_empty()).then_some(Section { id: "groups", title: "Coupled groups", parts })
}

fn name(path: &str) -> Cell {
    Cell::Name(text::name(path))
}

fn planned(plan: &ShrinkPlan) -> Table {
    let columns = vec![
        Column::text("Channels of"),
        Column::text("Go with"),
        Column::number("Channels in a unit"),
        Column::number("Units"),
        Column::number("Kept"),
        Column::number("Removed"),
    ];
    let rows = plan.groups.iter().map(|group| {
        let removed = 1.0 - group.kept as f64 / group.units.max(1) as f64;
        let counts = [group.size, group.units, group.kept].map(Cell::count);
        let cells = [name(&group.path), Cell::Text(shown::list(&group.axes))].into_iter().chain(counts);
        (group.units as f64, cells.chain([Cell::percent(removed)]).collect())
    });
    let caption = "Channels or heads that are removed together, from every axis that they lie on.";
    Table::new(caption, columns).with_rows(rows.collect(), TABLE)
}

fn found(groups: &ChannelGroups) -> Table {
    let columns = vec![Column::text("Channels of"), Column::text("Go with"), Column::number("Units")];
    let rows = groups.groups.iter().map(|group| {
        let first = group.axes.first().map_or("", |axis| &axis.path);
        let axes = shown::list(group.axes.iter().map(ToString::to_string));
        (group.units.len() as f64, vec![name(first), Cell::Text(axes), Cell::count(group.units.len())])
    });
    Table::new("Channels that can only be removed together.", columns).with_rows(rows.collect(), TABLE)
}
