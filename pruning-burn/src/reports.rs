//! What is reported of a pruning: [`report_of`].

use crate::layers::{Layer, layer_report};
use crate::mask::attach::parameters;
use crate::targets::{Selection, Target, alive};
use pruning_core::budget::Chosen;
use pruning_core::mask::Bits;
use pruning_core::report::{LayerReport, Report, Warning};
use pruning_core::score::{Axis, Granularity};

/// What is chosen of a candidate, for the layers that have its units.
pub(crate) struct Choice {
    /// The layer at which the units are counted.
    pub(crate) layer: usize,
    /// All targets whose units they are.
    pub(crate) layers: Vec<usize>,
    pub(crate) chosen: Chosen,
}

/// A report of each of some targets, with the elements that it keeps.
pub(crate) fn layers_of<'a>(
    all: &'a [Layer],
    targets: impl Iterator<Item = &'a Target>,
    choices: &[Choice],
    kept: impl Fn(usize) -> usize,
) -> Vec<(usize, LayerReport)> {
    let report = |target: &Target| {
        let here: Vec<_> = choices.iter().filter(|c| c.layer == target.layer).map(|c| &c.chosen).collect();
        // A layer that shares all its channels was asked for what the first of them was.
        let shared = choices.iter().find(|c| c.layers.contains(&target.layer)).map(|c| &c.chosen);
        let elements = layer_report(&all[target.layer], target.granularity, kept(target.layer));
        (target.layer, elements.with_units(&here, shared))
    };
    targets.map(report).collect()
}

/// A report of these layers, by their places in the model, and of those that are left dense.
pub(crate) fn report_of(all: &[Layer], selection: &Selection, mut pruned: Vec<(usize, LayerReport)>) -> Report {
    let mut report = Report::default();
    report.parameters = parameters(all);
    report.skipped = selection.skipped.clone();
    pruned.extend(selection.dense.iter().map(|target| (target.layer, left_of(&all[target.layer], target, None))));
    pruned.sort_by_key(|(index, _)| *index);
    report.layers = pruned.into_iter().map(|(_, layer)| layer).collect();
    report
}

/// What the masks on a model keep of the recipe's targets.
pub(crate) fn report_on(all: &[Layer], selection: &Selection) -> Report {
    let pruned = selection.targets.iter().zip(alive(all, selection));
    let pruned = pruned.map(|(target, alive)| (target.layer, left_of(&all[target.layer], target, alive.as_ref())));
    report_of(all, selection, pruned.collect())
}

/// What a mask leaves of a target, whatever was asked.
fn left_of(layer: &Layer, Target { granularity, .. }: &Target, alive: Option<&Bits>) -> LayerReport {
    let units = granularity.units(&layer.layout);
    let kept = alive.map_or(layer.layout.len(), Bits::count_ones);
    let kept_units = alive.map_or(units, |alive| granularity.alive(&layer.layout, alive).count_ones());
    let mut report = layer_report(layer, *granularity, kept);
    (report.units, report.kept_units) = (units, kept_units);
    report.asked = 1.0 - kept_units as f64 / units.max(1) as f64;
    report
}

/// Output channels are masked in the weights that make them; biases and norms would have to follow.
pub(crate) fn untraced(all: &[Layer], selection: &Selection) -> Option<Warning> {
    let output =
        |g| matches!(g, Granularity::Channel { axis: Axis::Output } | Granularity::Head { axis: Axis::Output, .. });
    let paths: Vec<_> =
        (selection.targets.iter().filter(|t| output(t.granularity))).map(|t| all[t.layer].path.clone()).collect();
    let target = |index: usize| selection.targets.iter().any(|t| t.layer == index);
    let others = all.iter().enumerate().any(|(i, l)| l.shape.len() == 1 && !l.buffer && !target(i));
    (others && !paths.is_empty()).then_some(Warning::Untraced { paths })
}
