//! How the scores are distributed, and where the threshold lies.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Plot, Section, Table};
use crate::plot::{Axis, GRAY, INK, Shape, draw};
use crate::text::{self, counted, number};
use pruning_burn::pruner::LayerScores;
use pruning_burn::report::Report;
use pruning_burn::score::Granularity;

/// Layers with a plot of their own.
const PLOTS: usize = 12;
const BINS: usize = 60;
const FEWEST_BINS: usize = 12;
/// Scores by which a range is found.
const SAMPLE: usize = 100_000;

pub(super) fn section(layers: &[LayerScores], report: Option<&Report>) -> Section {
    let seen: Vec<_> = layers.iter().map(|layer| Seen::of(layer, report)).collect();
    let split = seen.iter().all(|layer| layer.kept.is_some()) && !seen.is_empty();
    // One threshold parts what all layers keep from what they lose.
    let lost = seen.iter().map(|layer| layer.lost).fold(f64::NEG_INFINITY, f64::max);
    let kept = seen.iter().filter_map(|layer| layer.kept).fold(f64::INFINITY, f64::min);
    let one = (split && lost <= kept && lost.is_finite() && kept.is_finite()).then_some(kept);
    let mut parts = vec![Part::Text(explained(split, one, report.is_some()))];
    let range = Range::of(layers.iter().flat_map(|layer| &layer.scores));
    let all: Vec<_> = layers.iter().zip(&seen).collect();
    if layers.len() > 1 {
        parts.push(Part::Plots(vec![plot("All layers".to_string(), &range, &all, one, false)]));
    }
    let mut largest: Vec<_> = (0..layers.len()).collect();
    largest.sort_by_key(|&layer| std::cmp::Reverse(layers[layer].scores.len()));
    largest.truncate(PLOTS);
    largest.sort_unstable();
    let small = largest.iter().map(|&layer| {
        let own = Range::of(&layers[layer].scores);
        // What one threshold decides is compared on one axis.
        let range = if one.is_some() { &range } else { &own };
        plot(text::name(&layers[layer].path), range, &all[layer..=layer], seen[layer].kept, layers.len() > 1)
    });
    parts.push(Part::Plots(small.collect()));
    if layers.len() > PLOTS {
        parts.push(Part::Text(format!("The {PLOTS} layers with the most weights have a plot.")));
    }
    parts.push(Part::Table(table(layers, &seen)));
    Section { id: "scores", title: "Scores", parts }
}

/// What is known of the scores of one layer.
struct Seen {
    zeros: usize,
    /// The lowest score that is kept, if single weights were chosen.
    kept: Option<f64>,
    /// The highest score that is not.
    lost: f64,
}

impl Seen {
    fn of(layer: &LayerScores, report: Option<&Report>) -> Self {
        let zeros = layer.scores.iter().filter(|score| **score == 0.0).count();
        let same = |path: &String| *path == layer.path;
        let told = report.and_then(|report| report.layers.iter().find(|l| same(&l.path) || l.aliases.iter().any(same)));
        let element = Granularity::Element.to_string();
        let told = told.filter(|told| told.granularity == element && told.weights == layer.scores.len());
        let Some(removed) = told.map(|told| told.weights - told.kept) else {
            return Self { zeros, kept: None, lost: f64::NEG_INFINITY };
        };
        let mut scores = layer.scores.clone();
        if removed == scores.len() {
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            return Self { zeros, kept: Some(f64::INFINITY), lost: highest };
        }
        let (below, kept, _) = scores.select_nth_unstable_by(removed, f64::total_cmp);
        let lost = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { zeros, kept: Some(*kept), lost }
    }
}

fn explained(split: bool, one: Option<f64>, report: bool) -> String {
    let what = "Scores of single weights; the highest stay. ";
    let rest = match (split, one) {
        (true, Some(threshold)) => {
            return format!(
                "{what}One threshold, {}, parts what stays from what goes in all layers; it is the lowest score that \
                 stays.",
                number(threshold)
            );
        }
        (true, None) => {
            "Each layer has a threshold of its own: the lowest score that stays, if the highest of the layer do. Where \
             weights compete within a row only, that differs from row to row."
        }
        (false, _) if report => "No threshold is drawn, since the recipe chooses units larger than single weights.",
        (false, _) => "No threshold is drawn, since nothing is known of how many stay.",
    };
    format!("{what}{rest}")
}

/// The part of the axis of scores that is drawn.
struct Range {
    low: f64,
    high: f64,
    /// Whether places are logarithms to the base 10.
    log: bool,
}

impl Range {
    /// Spans all but the most extreme hundredth. Zeros are often weights that were pruned before, and are left out.
    fn of<'a>(scores: impl IntoIterator<Item = &'a f64> + Clone) -> Self {
        let drawn = |score: &&f64| score.abs() < 1e300 && **score != 0.0;
        let every = scores.clone().into_iter().count().div_ceil(SAMPLE).max(1);
        let mut sample: Vec<f64> = scores.into_iter().step_by(every).filter(drawn).copied().collect();
        sample.sort_by(f64::total_cmp);
        let at = |part: f64| sample.get(((sample.len() as f64 - 1.0) * part).round() as usize).copied();
        let (Some(least), Some(low), Some(middle), Some(high)) = (at(0.0), at(0.005), at(0.5), at(0.995)) else {
            return Self { low: 0.0, high: 1.0, log: false };
        };
        // Products of small numbers span powers of ten.
        let log = least > 0.0 && high > 20.0 * middle;
        let (low, high) = if log { (low.log10(), high.log10()) } else { (if least > 0.0 { 0.0 } else { low }, high) };
        if low < high { Self { low, high, log } } else { Self { low: low - 0.5, high: low + 0.5, log } }
    }

    fn place(&self, score: f64) -> f64 {
        if self.log { score.log10() } else { score }
    }
}

fn plot(caption: String, range: &Range, layers: &[(&LayerScores, &Seen)], limit: Option<f64>, small: bool) -> Plot {
    let all: usize = layers.iter().map(|(layer, _)| layer.scores.len()).sum();
    // Few scores in many bins show noise.
    let number_of_bins = ((all as f64).sqrt() as usize).clamp(FEWEST_BINS, BINS);
    let (mut bins, mut lost) = (vec![0usize; number_of_bins], vec![0usize; number_of_bins]);
    let width = (range.high - range.low) / number_of_bins as f64;
    for (layer, seen) in layers {
        for score in layer.scores.iter().filter(|score| score.is_finite() && **score != 0.0) {
            // What lies beyond counts at the ends.
            let bin = (((range.place(*score) - range.low) / width) as usize).min(number_of_bins - 1);
            bins[bin] += 1;
            lost[bin] += usize::from(seen.kept.is_some_and(|kept| *score < kept));
        }
    }
    let zeros: usize = layers.iter().map(|(_, seen)| seen.zeros).sum();
    let share = |number: usize| 100.0 * number as f64 / all.max(1) as f64;
    let steps = |bins: &[usize]| -> Vec<(f64, f64)> {
        let edge = |bin: usize| range.low + bin as f64 * width;
        bins.iter().enumerate().flat_map(|(bin, n)| [(edge(bin), share(*n)), (edge(bin + 1), share(*n))]).collect()
    };
    let ends = [range.low, range.high];
    let x = if range.log { Axis::of_logarithms(ends) } else { Axis::of(ends) };
    let y = Axis::of([0.0, bins.iter().copied().map(share).fold(0.0, f64::max)]);
    let mut shapes = vec![Shape::Area(0, steps(&bins))];
    let told = layers.iter().all(|(_, seen)| seen.kept.is_some());
    shapes.extend(told.then(|| Shape::Area(GRAY, steps(&lost))));
    let limit = limit.map(|limit| range.place(limit)).filter(|limit| (range.low..=range.high).contains(limit));
    shapes.extend(limit.map(|limit| Shape::Limit(INK, limit)));
    let mut legend = Vec::new();
    if !small && told {
        legend = vec![(0, "stay".to_string()), (GRAY, "go".to_string()), (INK, "threshold".to_string())];
        legend.truncate(if limit.is_some() { 3 } else { 2 });
    }
    let mut caption = format!("{caption}: {}", counted(all, "score", "scores"));
    if zeros > 0 {
        caption += &format!(", of which {} are zero and not drawn", text::count(zeros));
    }
    if !small {
        caption += "; share in %";
    }
    let size = if small { (330, 190) } else { (680, 280) };
    Plot { caption, svg: draw(size, (&x, &y), &shapes), legend, small }
}

fn table(layers: &[LayerScores], seen: &[Seen]) -> Table {
    let names = ["Scores", "Zeros", "Lowest", "Mean", "Highest", "Threshold"].map(Column::number);
    let columns = [Column::text("Parameter")].into_iter().chain(names).collect();
    let rows = layers.iter().zip(seen).map(|(layer, seen)| {
        let (low, high) = layer.scores.iter().fold((f64::MAX, f64::MIN), |(low, high), s| (low.min(*s), high.max(*s)));
        let mean = layer.scores.iter().sum::<f64>() / layer.scores.len() as f64;
        let some = |value: f64| if layer.scores.is_empty() { "–".to_string() } else { number(value) };
        let cells = [
            Cell::Name(text::name(&layer.path)),
            Cell::count(layer.scores.len()),
            Cell::count(seen.zeros),
            Cell::Number(some(low)),
            Cell::Number(some(mean)),
            Cell::Number(some(high)),
            Cell::Number(seen.kept.map_or_else(|| "–".to_string(), number)),
        ];
        (layer.scores.len() as f64, cells.into())
    });
    Table::new("The scores of each layer.", columns).with_rows(rows.collect(), TABLE)
}
