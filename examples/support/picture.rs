//! What a run looked like, as an SVG.

use plotters::prelude::*;
use std::path::Path;

/// A model on its way: how sparse it was, and how often wrong.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Fraction removed of the pruned layers.
    pub sparsity: f64,
    /// Error on the test set, in percent.
    pub test: f64,
    /// Error on the images held out of the training set, in percent.
    pub validation: f64,
}

/// A pruned layer.
#[derive(Clone, Debug)]
pub struct LayerLine {
    /// Its path.
    pub path: String,
    /// Fraction removed.
    pub sparsity: f64,
}

const TEST: RGBColor = RGBColor(31, 90, 166);
const VALIDATION: RGBColor = RGBColor(214, 120, 30);
const INK: RGBColor = RGBColor(60, 60, 60);

/// Draws error against sparsity, and the sparsity of each layer beside it.
///
/// # Errors
/// The file cannot be written.
pub fn draw(path: &Path, points: &[Point], layers: &[LayerLine]) -> Result<(), PictureError> {
    let failed = |reason: String| PictureError { path: path.display().to_string(), reason };
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (1000, 420)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
        let (left, right) = root.split_horizontally(580);
        errors(&left, points).map_err(|error| failed(error.to_string()))?;
        sparsities(&right, layers).map_err(|error| failed(error.to_string()))?;
        root.present().map_err(|error| failed(error.to_string()))?;
    }
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))
}

/// A picture that was not drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: cannot be drawn: {reason}")]
pub struct PictureError {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Position along the sparsity axis: weights kept on a logarithmic scale, so that 90 % and 95 % lie apart.
fn along(sparsity: f64) -> f64 {
    -(1.0 - sparsity).max(1e-6).log10()
}

fn errors(area: &Area<'_>, points: &[Point]) -> Drawn {
    let end = points.iter().map(|p| along(p.sparsity)).fold(0.3, f64::max) * 1.05;
    let all = || points.iter().flat_map(|p| [p.test, p.validation]);
    let (low, high) = all().fold((f64::MAX, f64::MIN), |(low, high), e| (low.min(e), high.max(e)));
    let margin = (0.15 * (high - low)).max(0.1);
    let mut chart = ChartBuilder::on(area)
        .caption("error against sparsity", ("sans-serif", 20).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.02..end, (low - margin).max(0.0)..high + 3.0 * margin)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("sparsity (log scale of what is kept)")
        .y_desc("error, %")
        .x_labels(8)
        .x_label_formatter(&|x| format!("{:.1} %", 100.0 * (1.0 - 10f64.powf(-x)).max(0.0)))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    for (name, color, value) in
        [("test", TEST, (|p| p.test) as fn(&Point) -> f64), ("validation", VALIDATION, |p| p.validation)]
    {
        let line: Vec<_> = points.iter().map(|p| (along(p.sparsity), value(p))).collect();
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(line.into_iter().map(|at| Circle::new(at, 4, color.filled())))?;
    }
    if let Some(dense) = points.first() {
        let level = [(0.0, dense.test), (end, dense.test)];
        chart
            .draw_series(DashedLineSeries::new(level, 4, 4, TEST.mix(0.6).stroke_width(1)))?
            .label("test, dense")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], TEST.mix(0.4).stroke_width(1)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.3))
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    Ok(())
}

fn sparsities(area: &Area<'_>, layers: &[LayerLine]) -> Drawn {
    let n = layers.len().max(1);
    let mut chart = ChartBuilder::on(area)
        .caption("sparsity of each layer", ("sans-serif", 20).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..n as f64, 0.0..110.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .disable_x_mesh()
        .x_labels(2 * n + 1)
        .x_label_formatter(&|x| {
            // A label under the middle of each bar.
            let index = x.floor() as usize;
            if (x - x.floor() - 0.5).abs() < 1e-6 {
                layers.get(index).map_or(String::new(), |l| l.path.clone())
            } else {
                String::new()
            }
        })
        .y_desc("removed, %")
        .y_label_formatter(&|y| if *y > 100.0 { String::new() } else { format!("{y:.0}") })
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    for (i, layer) in layers.iter().enumerate() {
        let (from, to, height) = (i as f64 + 0.2, i as f64 + 0.8, 100.0 * layer.sparsity);
        chart.draw_series([
            Rectangle::new([(from, 0.0), (to, 100.0)], INK.mix(0.1).filled()),
            Rectangle::new([(from, 0.0), (to, height)], TEST.filled()),
        ])?;
        let font = ("sans-serif", 14).into_font().color(&INK);
        chart.draw_series([Text::new(format!("{height:.1}"), (from + 0.15, 106.0), font)])?;
    }
    Ok(())
}
