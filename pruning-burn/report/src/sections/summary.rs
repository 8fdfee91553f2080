//! What was asked and what came out, in a few numbers.

use crate::given::Given;
use crate::parts::{Fact, Part, Section};
use crate::text::{self, bytes, count, counted, number, percent, times};
use pruning_burn::report::Report;

/// Facts and warnings of others that are shown.
const FACTS: usize = 24;
const WARNINGS: usize = 20;

pub(super) fn section(given: &Given<'_>) -> Option<Section> {
    let mut facts: Vec<Fact> = given.report.as_deref().map(of_report).unwrap_or_default();
    if let Some(plan) = &given.plan {
        facts.push(change("Parameters", plan.before.parameters, plan.after.parameters));
        facts.push(change("Multiply-accumulates", plan.before.macs, plan.after.macs));
    } else if let Some(costs) = &given.costs {
        facts.push(change("Parameters", costs.before.parameters, costs.after.parameters));
        facts.push(change("Multiply-accumulates", costs.before.macs(), costs.after.macs()));
    }
    if let Some(difference) = &given.verify {
        let note = format!("{} of the largest, over {} outputs", number(difference.max_rel), count(difference.outputs));
        facts.push(Fact::new("Masked and smaller model differ by", number(difference.max_abs)).with_note(note));
    }
    if let Some(file) = &given.compact {
        let note = format!("{} of {} dense", percent(file.ratio()), bytes(file.dense()));
        facts.push(Fact::new("Compact file", bytes(file.file)).with_note(note));
    }
    if let Some(gain) = given.sparse.iter().flat_map(|report| &report.passes).find_map(|pass| pass.gain()) {
        facts.push(Fact::new("Speed with sparse products", times(gain)).with_note("of the dense model's"));
    }
    let own = given.facts.iter().take(FACTS);
    facts.extend(own.map(|(name, value)| Fact::new(text::cut(name), text::cut(value))));
    let mut parts = Vec::new();
    if !facts.is_empty() {
        parts.push(Part::Facts(facts));
    }
    if let Some(step) = given.report.as_deref().and_then(step) {
        parts.push(Part::Text(step));
    }
    let warnings: &[_] = given.report.as_deref().map_or(&[], |report| &report.warnings);
    if !warnings.is_empty() {
        let more = warnings.len().saturating_sub(WARNINGS);
        let mut shown: Vec<_> = warnings.iter().take(WARNINGS).map(|warning| text::cut(&warning.to_string())).collect();
        shown.extend((more > 0).then(|| format!("and {}", counted(more, "more warning", "more warnings"))));
        parts.push(Part::Warnings(shown));
    }
    (!parts.is_empty()).then_some(Section { id: "summary", title: "Summary", parts })
}

fn of_report(report: &Report) -> Vec<Fact> {
    let asked = format!("asked {}", percent(report.asked()));
    let weights = format!("{} of {} weights stay", count(report.kept()), count(report.weights()));
    let mut facts = if report.units() == report.weights() {
        vec![Fact::new("Sparsity", percent(report.sparsity())).with_note(format!("{asked}; {weights}"))]
    } else {
        let units = format!("{asked}; {} of {} stay", count(report.kept_units()), count(report.units()));
        vec![
            Fact::new("Units removed", percent(report.unit_sparsity())).with_note(units),
            Fact::new("Weights removed", percent(report.sparsity())).with_note(weights),
        ]
    };
    if report.parameters > 0 {
        let note = format!("of {} parameters of the model", count(report.parameters));
        facts.push(Fact::new("Compression", times(report.compression())).with_note(note));
    }
    if !report.followers.is_empty() {
        let (of, kept) = report.followers.iter().fold((0, 0), |(w, k), l| (w + l.weights, k + l.kept));
        let note =
            format!("of {} in {}", count(of), counted(report.followers.len(), "other parameter", "other parameters"));
        facts.push(Fact::new("Entries that go along", count(of - kept)).with_note(note));
    }
    facts
}

/// The round or update that the report is of.
fn step(report: &Report) -> Option<String> {
    let step = report.step?;
    if let Some(grown) = report.grown {
        return Some(format!("An update at step {}: {} weights dropped, as many grown.", count(step), count(grown)));
    }
    let (round, rounds) = report.round?;
    Some(format!("Round {round} of {rounds} of the schedule, at step {}.", count(step)))
}

fn change(name: &str, before: u64, after: u64) -> Fact {
    let left = percent(after as f64 / before.max(1) as f64);
    Fact::new(name, count(after)).with_note(format!("{left} of {}", count(before)))
}
