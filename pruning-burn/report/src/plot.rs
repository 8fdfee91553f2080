//! Plots as SVG, whose colors the page decides: [`draw`].

use crate::text;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use std::ops::Range;

/// The number of colors of series; further ones begin again.
pub(crate) const COLORS: usize = 7;

/// The color of text and of what is drawn in gray.
pub(crate) const INK: usize = COLORS;
pub(crate) const GRAY: usize = COLORS + 1;

/// Colors that stand in the SVG for those of the page.
fn color(number: usize) -> RGBColor {
    RGBColor(1, 2, number as u8)
}

/// An axis with marks where they are wanted.
///
/// Plotters' own axes end in panics or endless loops at some values, so this one knows its places.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    marks: Vec<(f64, String)>,
}

/// Values that can be subtracted from each other.
fn drawable(value: &f64) -> bool {
    value.abs() < 1e300
}

impl Axis {
    /// Spans values evenly.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let drawn = values.into_iter().filter(drawable);
        let (mut low, mut high) = drawn.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low >= 0.0 && low < 0.5 * high {
            low = 0.0;
        }
        let room = (0.05 * (high - low)).max(1e-3 * high.abs()).max(1e-12);
        (low, high) = (if low == 0.0 { low } else { low - room }, high + room);
        let rough = (high - low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let first = (low / step).ceil();
        let marks = (0..12).map(|i| (first + f64::from(i)) * step).take_while(|mark| *mark <= high);
        let label = |mark: f64| text::number(if mark.abs() < 1e-6 * step { 0.0 } else { mark });
        Self { low, high, marks: marks.map(|mark| (mark, label(mark))).collect() }
    }

    /// Spans the logarithms to the base 10 of values, and marks the values.
    pub(crate) fn of_logarithms(values: impl IntoIterator<Item = f64>) -> Self {
        let mut axis = Self::of(values);
        let every = ((axis.high - axis.low) / 6.0).ceil().max(1.0);
        let first = (axis.low / every).ceil();
        let marks = (0..12).map(|i| (first + f64::from(i)) * every).take_while(|mark| *mark <= axis.high);
        let powers: Vec<_> = marks.map(|mark| (mark, text::number(10f64.powf(mark)))).collect();
        match powers.len() {
            // Within one power of ten.
            0 | 1 => axis.marks.iter_mut().for_each(|(mark, label)| *label = text::number(10f64.powf(*mark))),
            _ => axis.marks = powers,
        }
        axis
    }

    /// Spans sparsities, with what is kept on a logarithmic scale; places are those of [`along`].
    pub(crate) fn of_sparsities(values: impl IntoIterator<Item = f64>) -> Self {
        let high = values.into_iter().filter(drawable).map(along).fold(along(0.5), f64::max) * 1.03;
        let round = [0.0, 0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999, 0.99999];
        let mut marks: Vec<(f64, String)> = Vec::new();
        for sparsity in round {
            let mark = along(sparsity);
            let free = marks.last().is_none_or(|(last, _)| mark - last > 0.07 * high);
            if mark <= high && free {
                marks.push((mark, format!("{} %", (1e5 * sparsity).round() / 1e3)));
            }
        }
        Self { low: 0.0, high, marks }
    }

    fn label(&self, at: f64) -> String {
        self.marks.iter().find(|(mark, _)| *mark == at).map_or_else(String::new, |(_, label)| label.clone())
    }
}

/// The place of a sparsity where what is kept has a logarithmic scale.
pub(crate) fn along(sparsity: f64) -> f64 {
    -(1.0 - sparsity).max(1e-6).log10()
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        // What lies far outside has no pixel that an integer could number.
        let part = ((value - self.low) / (self.high - self.low)).clamp(-1.0, 2.0);
        from + (f64::from(to - from) * part).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.marks.iter().map(|(mark, _)| *mark).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

/// Something drawn in a plot, in the color of a number.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Line(usize, Vec<(f64, f64)>),
    /// A line with a dot at each point.
    Dots(usize, Vec<(f64, f64)>),
    /// What lies between a line and the lower end of the plot.
    Area(usize, Vec<(f64, f64)>),
    /// A dashed line across the plot at a height.
    Level(usize, f64),
    /// A line from the bottom to the top.
    Limit(usize, f64),
}

/// Draws shapes into a picture of a size in pixels. Points that are not finite are left out.
pub(crate) fn draw(size: (u32, u32), (x, y): (&Axis, &Axis), shapes: &[Shape]) -> String {
    let mut svg = String::new();
    // Nothing fails that writes to a string.
    let _ = try_draw(&mut svg, size, (x, y), shapes);
    // Within HTML it needs no name space, and the style sheet knows the colors.
    svg = svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    for number in 0..=GRAY {
        let name = match number {
            INK => "currentColor".to_string(),
            GRAY => "var(--mute)".to_string(),
            series => format!("var(--s{series})"),
        };
        svg = svg.replace(&format!("\"#0102{number:02X}\""), &format!("\"{name}\""));
    }
    svg
}

fn try_draw(
    svg: &mut String,
    size: (u32, u32),
    (x, y): (&Axis, &Axis),
    shapes: &[Shape],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(26)
        .y_label_area_size(56)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let ink = color(INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(ink.mix(0.13))
        .axis_style(ink.mix(0.35))
        .x_labels(x.marks.len())
        .y_labels(y.marks.len())
        .x_label_formatter(&|at| x.label(*at))
        .y_label_formatter(&|at| y.label(*at))
        .label_style(("sans-serif", 13).into_font().color(&ink))
        .draw()?;
    let finite = |points: &[(f64, f64)]| -> Vec<_> {
        points.iter().copied().filter(|(x, y)| drawable(x) && drawable(y)).collect()
    };
    for shape in shapes {
        match shape {
            Shape::Area(number, points) => {
                let line = finite(points);
                let (Some(first), Some(last)) = (line.first(), line.last()) else { continue };
                let ends = [(last.0, y.low), (first.0, y.low)];
                let around: Vec<_> = line.iter().copied().chain(ends).collect();
                chart.draw_series([Polygon::new(around, color(*number).filled())])?;
            }
            Shape::Line(number, points) | Shape::Dots(number, points) => {
                let (line, style) = (finite(points), color(*number));
                let dots: &[_] = if matches!(shape, Shape::Dots(..)) { &line } else { &[] };
                chart.draw_series(dots.iter().map(|at| Circle::new(*at, 3, style.filled())))?;
                chart.draw_series(LineSeries::new(line, style.stroke_width(2)))?;
            }
            Shape::Level(number, height) if drawable(height) => {
                let level = [(x.low, *height), (x.high, *height)];
                chart.draw_series(DashedLineSeries::new(level, 4, 4, color(*number).stroke_width(1)))?;
            }
            Shape::Limit(number, at) if drawable(at) => {
                let line = [(*at, y.low), (*at, y.high)];
                chart.draw_series(LineSeries::new(line, color(*number).stroke_width(2)))?;
            }
            Shape::Level(..) | Shape::Limit(..) => {}
        }
    }
    drop(chart);
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_values_make_a_plot() {
        let odd = [f64::NAN, f64::INFINITY, f64::MIN, f64::MAX, 0.0, -0.0, 5e-324, 1e299, -1e299];
        for low in odd {
            for high in odd {
                let axes = [Axis::of([low, high]), Axis::of_logarithms([low, high]), Axis::of_sparsities([low, high])];
                for axis in &axes {
                    assert!(axis.low < axis.high && axis.marks.len() <= 14, "{low} {high} {axis:?}");
                    let points = vec![(low, high), (high, low), (1.0, 2.0)];
                    let shapes = [
                        Shape::Line(0, points.clone()),
                        Shape::Dots(1, points.clone()),
                        Shape::Area(2, points),
                        Shape::Level(3, low),
                        Shape::Limit(4, high),
                    ];
                    let svg = draw((320, 200), (axis, &axes[0]), &shapes);
                    assert!(svg.starts_with("<svg width") && svg.ends_with("</svg>\n"), "{svg}");
                    assert!(!svg.contains("NaN") && !svg.contains("http") && !svg.contains("\"#"), "{svg}");
                }
            }
        }
    }

    #[test]
    fn marks_are_round_numbers() {
        let labels = |axis: Axis| axis.marks.into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(Axis::of([1.3, 1.9])), "1.4 1.6 1.8");
        assert_eq!(labels(Axis::of([0.0, 10.0])), "0 5 10");
        assert_eq!(labels(Axis::of_logarithms([-3.0, 2.0])), "0.001 0.01 0.1 1 10 100");
        assert_eq!(labels(Axis::of_sparsities([0.99])), "0 % 50 % 70 % 80 % 90 % 95 % 98 % 99 %");
    }
}
