//! What a scan of sensitivities found, as an SVG: a curve for each layer, and a heat map of all.

use crate::picture::PictureError;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use pruning_burn::analyze::sensitivity::{Sensitivity, Suggestion};
use std::ops::Range;
use std::path::Path;

const INK: RGBColor = RGBColor(60, 60, 60);
/// Told apart with any kind of color vision (Okabe & Ito 2008).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws the curves, with what is suggested as open circles, and the heat map beside them. `measure` names what was measured.
///
/// # Errors
/// The file cannot be written.
pub fn draw(path: &Path, found: &Sensitivity, suggested: &Suggestion, measure: &str) -> Result<(), PictureError> {
    let failed = |reason: String| PictureError { path: path.display().to_string(), reason };
    let mut text = String::new();
    {
        let height = 420.max(120 + 30 * found.layers.len() as u32);
        let root = SVGBackend::with_string(&mut text, (1100, height)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
        let (left, right) = root.split_horizontally(560);
        curves(&left, found, suggested, measure).map_err(|error| failed(error.to_string()))?;
        heat(&right, found, measure).map_err(|error| failed(error.to_string()))?;
        root.present().map_err(|error| failed(error.to_string()))?;
    }
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))
}

/// Position along the sparsity axis: weights kept on a logarithmic scale.
fn along(sparsity: f64) -> f64 {
    -(1.0 - sparsity).max(1e-6).log10()
}

/// The axis of that scale from 0 on, with marks at round sparsities.
struct Along(f64);

impl Ranged for Along {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (f64::from(to - from) * value / self.0).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        let round = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999].map(along);
        round.into_iter().filter(|mark| *mark < self.0).collect()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.0
    }
}

fn curves(area: &Area<'_>, found: &Sensitivity, suggested: &Suggestion, measure: &str) -> Drawn {
    let values = || found.layers.iter().flat_map(|l| &l.points).map(|p| p.value).chain([found.dense]);
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    // Losses span powers of ten; what has zeros or less in it cannot be drawn that way.
    let log = low > 0.0 && high / low > 20.0;
    let place = |value: f64| if log { value.log10() } else { value };
    let end = found.sparsities().last().map_or(1.0, |s| along(s.value())).max(0.1) * 1.04;
    let margin = (0.06 * (place(high) - place(low))).max(1e-6);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{measure}, one layer pruned alone"), ("sans-serif", 20).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(Along(end), place(low) - margin..place(high) + margin)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("sparsity of the layer (log scale of what is kept)")
        .y_desc(if log { format!("{measure} (log scale)") } else { measure.to_string() })
        .x_labels(10)
        .x_label_formatter(&|x| format!("{} %", (1e3 * (1.0 - 10f64.powf(-x))).round() / 10.0))
        .y_label_formatter(&|y| if log { format!("{:.2}", 10f64.powf(*y)) } else { format!("{y:.2}") })
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    let level = [(0.0, place(found.dense)), (end, place(found.dense))];
    chart.draw_series(DashedLineSeries::new(level, 4, 4, INK.mix(0.6).stroke_width(1)))?;
    for (i, layer) in found.layers.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let points = || layer.points.iter().map(|p| (p.sparsity.value(), p.value));
        // Straight in sparsity, as suggestions read it, hence bent on this scale.
        let from = [(0.0, found.dense)].into_iter().chain(points());
        let steps = from.zip(points()).flat_map(|((s, v), (to, w))| {
            (0..=16).map(move |i| f64::from(i) / 16.0).map(move |t| (along(s + t * (to - s)), v + t * (w - v)))
        });
        let line: Vec<_> = points().map(|(s, v)| (along(s), place(v))).collect();
        chart
            .draw_series(LineSeries::new(steps.map(|(x, v)| (x, place(v))), color.stroke_width(2)))?
            .label(layer.path.trim_end_matches(".weight"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(line.into_iter().map(|at| Circle::new(at, 3, color.filled())))?;
    }
    for (i, layer) in suggested.layers.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let at = (along(layer.sparsity.value()), place(found.dense + layer.loss));
        chart.draw_series([Circle::new(at, 7, WHITE.mix(0.8).filled())])?;
        let ring = chart.draw_series([Circle::new(at, 7, color.stroke_width(2))])?;
        if i == 0 {
            ring.label(format!("suggested, {:.0} % in all", 100.0 * suggested.sparsity()))
                .legend(|(x, y)| Circle::new((x + 9, y), 6, INK.stroke_width(2)));
        }
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

/// White where nothing is lost, dark where the most is.
fn shade(part: f64) -> RGBColor {
    let (from, to) = ([255.0, 247.0, 236.0], [127.0, 0.0, 0.0]);
    let middle = [252.0, 141.0, 89.0];
    let mix = |a: [f64; 3], b: [f64; 3], t: f64| [0, 1, 2].map(|i| (a[i] + t * (b[i] - a[i])).round() as u8);
    let part = part.clamp(0.0, 1.0);
    let [r, g, b] = if part < 0.5 { mix(from, middle, 2.0 * part) } else { mix(middle, to, 2.0 * part - 1.0) };
    RGBColor(r, g, b)
}

fn heat(area: &Area<'_>, found: &Sensitivity, measure: &str) -> Drawn {
    let sparsities = found.sparsities();
    let (columns, rows) = (sparsities.len().max(1), found.layers.len().max(1));
    let caption = format!("{measure} added to the dense {:.3}", found.dense);
    let names = found.layers.iter().map(|l| l.path.trim_end_matches(".weight").len()).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 20).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(20 + 7 * names as u32)
        .build_cartesian_2d(0.0..columns as f64, 0.0..rows as f64)?;
    let middle = |x: f64| (x - x.floor() - 0.5).abs() < 1e-6;
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(WHITE)
        .x_desc("sparsity of the layer, %")
        .x_labels(2 * columns + 1)
        .y_labels(2 * rows + 1)
        .x_label_formatter(&|x| {
            let at = sparsities.get(x.floor() as usize).filter(|_| middle(*x));
            at.map_or(String::new(), |s| format!("{}", (1e3 * s.value()).round() / 10.0))
        })
        .y_label_formatter(&|y| {
            let at = found.layers.get((rows as f64 - y).floor() as usize).filter(|_| middle(*y));
            at.map_or(String::new(), |l| l.path.trim_end_matches(".weight").to_string())
        })
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    let added = |value: f64| (value - found.dense).max(0.0);
    let most = found.layers.iter().flat_map(|l| &l.points).map(|p| added(p.value)).fold(1e-9, f64::max);
    for (row, layer) in found.layers.iter().enumerate() {
        for (column, sparsity) in sparsities.iter().enumerate() {
            let Some(value) = layer.at(*sparsity) else { continue };
            // Four powers of ten from light to dark.
            let part = 1.0 + (added(value) / most).max(1e-4).log10() / 4.0;
            let (x, y) = (column as f64, (rows - 1 - row) as f64);
            let cell = [(x + 0.02, y + 0.02), (x + 0.98, y + 0.98)];
            chart.draw_series([Rectangle::new(cell, shade(part).filled())])?;
            let color = if part > 0.6 { WHITE } else { INK };
            let style = ("sans-serif", 11).into_font().color(&color).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Center,
            ));
            let delta = value - found.dense;
            let text = if delta.abs() < 0.0995 { format!("{delta:.3}") } else { format!("{delta:.2}") };
            chart.draw_series([Text::new(text, (x + 0.5, y + 0.5), style)])?;
        }
    }
    Ok(())
}
