//! Pictures of experiments: [`draw`].

use crate::log::Row;
use crate::table::{mean, range};
use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::prelude::*;
use pruning_examples::picture::PictureError;
use std::path::Path;

const COLORS: [RGBColor; 4] =
    [RGBColor(31, 90, 166), RGBColor(214, 120, 30), RGBColor(60, 140, 70), RGBColor(150, 70, 150)];
const INK: RGBColor = RGBColor(60, 60, 60);

/// A method at several sparsities: sparsity, mean error, least and greatest.
struct Series {
    name: String,
    points: Vec<(f64, f64, f64, f64)>,
}

/// Draws test error against sparsity, a line for each method, means of all seeds with their least and greatest.
///
/// A variant is the name of a method and a number; the rows named `dense` become a dashed line. Methods with a single sparsity are left
/// out, and without two points to a line nothing is drawn.
///
/// # Errors
/// The file cannot be written.
pub fn draw(path: &Path, experiment: &str, title: &str, rows: &[Row]) -> Result<bool, PictureError> {
    let rows: Vec<_> = rows.iter().filter(|r| r.experiment == experiment).collect();
    let series = series(&rows);
    if series.is_empty() {
        return Ok(false);
    }
    let dense: Vec<f64> = rows.iter().filter(|r| r.variant == "dense").map(|r| r.test_error).collect();
    let dense = (!dense.is_empty()).then(|| mean(dense.iter().copied()));
    let failed = |reason: String| PictureError { path: path.display().to_string(), reason };
    let mut text = String::new();
    plot(&mut text, title, &series, dense).map_err(|error| failed(error.to_string()))?;
    std::fs::write(path, text).map_err(|error| failed(error.to_string()))?;
    Ok(true)
}

fn series(rows: &[&Row]) -> Vec<Series> {
    let split = |row: &&&Row| {
        let (name, number) = row.variant.rsplit_once(' ')?;
        Some((name.to_string(), number.parse::<f64>().ok()?))
    };
    let mut names: Vec<String> = Vec::new();
    for (name, _) in rows.iter().filter_map(|row| split(&row)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |name: String| {
        let mine: Vec<_> = rows.iter().filter(|r| split(r).is_some_and(|(n, _)| n == name)).collect();
        let mut sparsities: Vec<f64> = mine.iter().map(|r| r.sparsity).collect();
        sparsities.sort_by(f64::total_cmp);
        sparsities.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
        let point = |&s: &f64| {
            let errors: Vec<f64> =
                mine.iter().filter(|r| (r.sparsity - s).abs() < 1e-6).map(|r| r.test_error).collect();
            let (least, greatest) = range(&errors);
            (s, mean(errors.iter().copied()), least, greatest)
        };
        Series { points: sparsities.iter().map(point).collect(), name }
    };
    names.into_iter().map(of).filter(|s| s.points.len() > 1).collect()
}

/// Position along the sparsity axis, which is logarithmic, so that 90 % and 95 % lie apart: weights before over after.
fn along(sparsity: f64) -> f64 {
    1.0 / (1.0 - sparsity).max(1e-6)
}

fn plot(
    text: &mut String,
    title: &str,
    series: &[Series],
    dense: Option<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || series.iter().flat_map(|s| &s.points);
    let (first, last) = range(&all().map(|p| along(p.0)).collect::<Vec<_>>());
    let (low, high) = range(&all().flat_map(|p| [p.2, p.3]).chain(dense).collect::<Vec<_>>());
    let edge = (last / first).powf(0.05);
    let (left, right) = (first / edge, last * edge);
    let (bottom, top) = (low / 1.1, high * (high / low).powf(0.1).max(1.1));
    let xs = [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995].map(along);
    let ys = [1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0];
    let root = SVGBackend::with_string(text, (640, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let inside = |keys: &[f64], from: f64, to: f64| keys.iter().copied().filter(|k| (from..=to).contains(k)).collect();
    // Ticks that are close on a long scale would run into each other.
    let apart = |mut keys: Vec<f64>| {
        let least = (top / bottom).powf(0.06);
        keys.dedup_by(|b, a| *b < *a * least);
        keys
    };
    let x = (left..right).log_scale().with_key_points(inside(&xs, left, right));
    let y = (bottom..top).log_scale().with_key_points(apart(inside(&ys, bottom, top)));
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(INK.mix(0.15))
        .x_desc("weights removed (log scale of what is kept)")
        .y_desc("test error, %")
        .x_label_formatter(&|x| {
            let percent = 100.0 * (1.0 - 1.0 / x);
            if (percent - percent.round()).abs() < 0.01 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
        })
        .y_label_formatter(&|y| format!("{y}"))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    if let Some(dense) = dense {
        chart
            .draw_series(DashedLineSeries::new([(left, dense), (right, dense)], 4, 4, INK.stroke_width(1)))?
            .label("dense")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], INK.stroke_width(1)));
    }
    for (i, (series, color)) in series.iter().zip(COLORS).enumerate() {
        // A pixel or two aside, so that ranges of several methods can be told apart.
        let at = |s: f64| along(s) * (right / left).powf((i as f64 - 1.0) * 0.004);
        let line = series.points.iter().map(|&(s, mean, ..)| (at(s), mean));
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(line.map(|at| Circle::new(at, 3, color.filled())))?;
        chart.draw_series(series.points.iter().map(|&(s, _, least, greatest)| {
            PathElement::new([(at(s), least), (at(s), greatest)], color.mix(0.6).stroke_width(1))
        }))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    root.present()?;
    Ok(())
}
