//! How good pruned networks are against their sparsity, as an SVG with three regimes: free, lost information, broken.

use crate::picture::PictureError;
use plotters::prelude::*;
use std::path::Path;

const INK: RGBColor = RGBColor(60, 60, 60);
/// Told apart with any kind of color vision (Okabe & Ito 2008).
const COLORS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(110, 110, 110),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
];

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Regimes {
    /// The measure, for the axis.
    pub measure: String,
    /// Of the whole network.
    pub dense: f64,
    /// From here up nothing was lost.
    pub free: f64,
    /// Below this the network is of no use.
    pub broken: f64,
    /// The lowest value that is drawn.
    pub low: f64,
    /// A name, and points of sparsity and value, from the lowest sparsity on.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Draws a line for each way of pruning over bands for the regimes.
///
/// # Errors
/// The file cannot be written.
pub fn draw(path: &Path, regimes: &Regimes) -> Result<(), PictureError> {
    let failed = |reason: String| PictureError { path: path.display().to_string(), reason };
    let mut text = String::new();
    chart(&mut text, regimes).map_err(|error| failed(error.to_string()))?;
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))
}

fn chart(text: &mut String, regimes: &Regimes) -> Result<(), Box<dyn std::error::Error>> {
    let Regimes { measure, dense, free, broken, low, lines } = regimes;
    let (low, high) = (*low, dense + 0.06 * (dense - low));
    let end = lines.iter().flat_map(|(_, points)| points).map(|p| p.0).fold(0.1, f64::max) * 1.03;
    let root = SVGBackend::with_string(text, (860, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, low..high)?;
    let line = 0.045 * (high - low);
    // Names stand where neither lines nor the legend are: above the lower edge, and below the upper one.
    let bands = [
        (free.max(low), high, COLORS[5], "free", high),
        (broken.max(low), free.max(low), COLORS[6], "lost information", broken.max(low) + line),
        (low, broken.max(low), COLORS[0], "broken", broken - 0.2 * line),
    ];
    for (from, to, color, name, top) in bands.into_iter().filter(|(from, to, ..)| to > from) {
        chart.draw_series([Rectangle::new([(0.0, from), (end, to)], color.mix(0.10).filled())])?;
        let font = ("sans-serif", 15).into_font().color(&INK.mix(0.8));
        chart.draw_series([Text::new(name, (0.012 * end, top), font)])?;
    }
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.12))
        .x_desc("weights removed")
        .y_desc(measure.as_str())
        .x_labels(10)
        .x_label_formatter(&|x| format!("{:.0} %", 100.0 * x))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    for (i, (name, points)) in lines.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let all: Vec<_> = [(0.0, *dense)].into_iter().chain(points.iter().copied()).collect();
        chart
            .draw_series(LineSeries::new(above(&all, low), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        let there = points.iter().filter(|point| point.1 >= low);
        chart.draw_series(there.map(|&at| Circle::new(at, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.3))
        .position(SeriesLabelPosition::LowerLeft)
        .margin(24)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    root.present()?;
    Ok(())
}

/// The part of a line until it first falls below `low`, with the point where it does.
fn above(points: &[(f64, f64)], low: f64) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = points.iter().copied().take_while(|point| point.1 >= low).collect();
    if let (Some(&(x, y)), Some(&(s, t))) = (line.last(), points.get(line.len())) {
        line.push((x + (s - x) * (y - low) / (y - t), low));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_leaves_the_picture() {
        assert_eq!(above(&[(0.0, 4.0), (1.0, 2.0), (2.0, 0.0)], 1.0), [(0.0, 4.0), (1.0, 2.0), (1.5, 1.0)]);
        assert_eq!(above(&[(0.0, 4.0), (1.0, 2.0)], 1.0), [(0.0, 4.0), (1.0, 2.0)]);
    }
}
