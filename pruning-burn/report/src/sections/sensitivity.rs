//! What each layer loses when it is pruned alone.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Plot, Section, Table};
use crate::plot::{Axis, COLORS, GRAY, INK, Shape, along, draw};
use crate::text::{self, number};
use pruning_burn::analyze::sensitivity::{LayerSensitivity, Sensitivity};

/// Layers in the plot, and sparsities in the table.
const LINES: usize = 60;
const SPARSITIES: usize = 16;

pub(super) fn section(found: &Sensitivity, measure: &str) -> Section {
    let measure = text::cut(measure);
    let added = |layer: &LayerSensitivity| {
        let values = layer.points.iter().map(|point| point.value - found.dense).filter(|value| value.is_finite());
        values.fold(0.0, f64::max)
    };
    // The layers that lose most have a color, the others are gray.
    let mut order: Vec<_> = found.layers.iter().filter(|layer| !layer.points.is_empty()).collect();
    order.sort_by(|a, b| added(b).total_cmp(&added(a)));
    let lines = order.len().min(LINES);
    let values = || order[..lines].iter().flat_map(|layer| &layer.points).map(|p| p.value).chain([found.dense]);
    // Losses span powers of ten; what has zeros or less in it cannot be drawn that way.
    let finite = || values().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let log = low > 0.0 && high / low > 20.0;
    let place = |value: f64| if log { value.log10() } else { value };
    let y = if log { Axis::of_logarithms(values().map(place)) } else { Axis::of(values()) };
    let sparsities = found.sparsities();
    let x = Axis::of_sparsities(sparsities.iter().map(|sparsity| sparsity.value()));
    let curve = |(rank, layer): (usize, &&LayerSensitivity)| {
        let points = layer.points.iter().map(|point| (along(point.sparsity.value()), place(point.value)));
        let points = [(0.0, place(found.dense))].into_iter().chain(points).collect();
        if rank < COLORS { Shape::Dots(rank, points) } else { Shape::Line(GRAY, points) }
    };
    let dense = [Shape::Level(INK, place(found.dense))];
    let shapes: Vec<_> = dense.into_iter().chain(order[..lines].iter().enumerate().rev().map(curve)).collect();
    let mut legend: Vec<_> = order.iter().take(COLORS).map(|layer| text::name(&layer.path)).enumerate().collect();
    if lines > COLORS {
        legend.push((
            GRAY,
            format!("{} less sensitive", text::counted(lines - COLORS, "layer that is", "layers that are")),
        ));
    }
    let scale = if log { ", both on a logarithmic scale" } else { "" };
    let plot = Plot {
        caption: format!("{measure} by the sparsity of one layer, pruned alone{scale}"),
        svg: draw((680, 320), (&x, &y), &shapes),
        legend,
        small: false,
    };
    let plots = if order.is_empty() { vec![] } else { vec![Part::Plots(vec![plot])] };
    let parts = plots.into_iter().chain([Part::Table(table(found, &measure, &added))]).collect();
    Section { id: "sensitivity", title: "Sensitivity", parts }
}

fn table(found: &Sensitivity, measure: &str, added: &dyn Fn(&LayerSensitivity) -> f64) -> Table {
    let all = found.sparsities();
    // The highest ones tell layers apart.
    let sparsities = &all[all.len().saturating_sub(SPARSITIES)..];
    let most = found.layers.iter().map(added).fold(0.0, f64::max);
    let percents = sparsities.iter().map(|s| Column::number(format!("{} %", (1e4 * s.value()).round() / 100.0)));
    let columns = [Column::text("Parameter"), Column::number("Units")].into_iter().chain(percents).collect();
    let rows = found.layers.iter().map(|layer| {
        let cells = sparsities.iter().map(|sparsity| match layer.at(*sparsity) {
            None => Cell::Number("–".to_string()),
            Some(value) => {
                // Three powers of ten from light to dark.
                let part = 1.0 + ((value - found.dense).max(0.0) / most).log10() / 3.0;
                let part = if part.is_finite() { (100.0 * part.clamp(0.0, 1.0)).round() / 100.0 } else { 0.0 };
                Cell::Part(part, number(value))
            }
        });
        let name = [Cell::Name(text::name(&layer.path)), Cell::count(layer.units)];
        (added(layer), name.into_iter().chain(cells).collect())
    });
    let caption = format!(
        "{measure} of the model with one layer pruned to each sparsity; the dense model has {}.",
        number(found.dense)
    );
    let mut table = Table::new(caption, columns).with_rows(rows.collect(), TABLE);
    table.heat = true;
    table
}
