//! Reading the tables of a recipe.

mod dynamic;

use crate::budget::{Allocator, Sparsity};
use crate::plugin::{Configured, PluginKind, Plugins};
use crate::recipe::fields::{Fields, Problem};
use crate::recipe::{Budget, Override, Recipe};
use crate::recipe::{Pattern, Targets};
use crate::schedule::{Curve, Initialization, Rounds, Schedule};
use crate::score::{ChannelScore, Granularity};
use crate::shown;
use serde_json::{Value, json};

pub(super) fn read<K: PluginKind + ?Sized>(
    value: Value,
    plugins: &Plugins,
    problems: &mut Vec<Problem>,
) -> Option<Recipe<K>> {
    let mut top = Fields::new("", value, problems);
    let sparsity: Option<Sparsity> = top.take("sparsity");
    let count: Option<usize> = top.take("count");
    let criterion = plugin::<K>(&mut top, "criterion", plugins, None);
    let nm_pattern = |g: Option<Granularity>| matches!(g, Some(Granularity::Nm { .. }));
    let granularity = top.take("granularity");
    let allocator_given = top.raw("allocator");
    let allocator = if nm_pattern(granularity) {
        if let Some(given) = &allocator_given {
            top.problem("allocator", format!("{given}: an N:M pattern leaves nothing to share out; remove this key"));
        }
        None
    } else {
        plugin_of::<dyn Allocator>(&mut top, "allocator", allocator_given.or(Some(json!("uniform"))), plugins)
    };
    let reduction = top.take("reduction");
    let channel_score: Option<ChannelScore> = top.take("channel_score");
    let rounding = top.take("rounding").unwrap_or_default();
    let skip_unfit = top.take("skip_unfit").unwrap_or_default();
    let allow_empty = top.take("allow_empty").unwrap_or_default();
    let initialization = top.take("initialization").unwrap_or_default();
    let before = top.problems().len();
    let schedule = schedule(&mut top, sparsity, plugins);
    let schedule_wrong = top.problems().len() > before;
    let targets = targets(&mut top);
    let overrides = overrides(&mut top, granularity.unwrap_or_default());
    let element = |g: Option<Granularity>| g.is_none_or(|g| g == Granularity::Element);
    let elementwise = element(granularity) && overrides.iter().all(|o| element(o.granularity));

    let structural = |g: Option<Granularity>| g.is_some_and(|g| g.is_structural());
    if channel_score.is_some() && !structural(granularity) && !overrides.iter().any(|o| structural(o.granularity)) {
        top.problem("channel_score", "there are no channels or heads to score; set granularity, or remove this key");
    }

    let pattern = granularity.and_then(|g| g.pattern_sparsity());
    let rounds = schedule.as_ref().and_then(|s| s.target(None));
    let budget = match (sparsity, count, pattern, rounds) {
        (Some(_), Some(n), ..) => {
            top.problem("count", format!("{n}: sparsity is given too; keep one of the two"));
            None
        }
        (None, Some(n), Some(_), _) => {
            top.problem("count", format!("{n}: the N:M pattern says how many are removed; remove this key"));
            None
        }
        (None, Some(n), ..) => {
            if !matches!(schedule, None | Some(Schedule::OneShot { .. })) {
                top.problem(
                    "count",
                    format!("{n}: a count is removed in one shot; give a sparsity for other schedules"),
                );
            }
            Some(Budget::Count(n))
        }
        (Some(s), None, Some(p), _) if (s.value() - p.value()).abs() > 1e-9 => {
            top.problem("sparsity", format!("{s}: the N:M pattern has sparsity {p}; remove this key"));
            None
        }
        (_, None, Some(p), _) => Some(Budget::Sparsity(p)),
        (Some(s), None, None, _) => Some(Budget::Sparsity(s)),
        (None, None, None, Some(s)) => Some(Budget::Sparsity(s)),
        (None, None, None, None) => {
            let wrong = |p: &Problem| p.path == "sparsity" || p.path == "count" || p.path == "granularity";
            if !schedule_wrong && !top.problems().iter().any(wrong) {
                top.problem("", "sparsity is missing: give the fraction removed, as in sparsity = 0.9 (or a count)");
            }
            None
        }
    };
    let pruned = schedule.as_ref().map(|s| match budget {
        Some(Budget::Sparsity(target)) => s.last(target),
        _ => s.first(),
    });
    let grow = dynamic::grow(&mut top, pruned, elementwise, plugins);
    if let (Some(schedule), Initialization::Rewind { step } | Initialization::RewindRate { step }) =
        (&schedule, initialization)
        && schedule.first() < step
    {
        let first = schedule.first();
        top.problem("initialization", format!("rewinds to step {step}, after the first pruning at step {first}"));
    }
    top.finish();
    Some(Recipe {
        budget: budget?,
        criterion: criterion?,
        allocator,
        granularity: granularity.unwrap_or_default(),
        skip_unfit,
        reduction,
        channel_score: channel_score.unwrap_or_default(),
        rounding,
        schedule: schedule?,
        initialization,
        grow,
        allow_empty,
        targets,
        overrides,
    })
}

fn plugin<K: PluginKind + ?Sized>(
    fields: &mut Fields<'_>,
    field: &'static str,
    plugins: &Plugins,
    default: Option<&str>,
) -> Option<Configured<K>> {
    let value = fields.raw(field).or_else(|| default.map(|name| json!(name)));
    if value.is_none() {
        let known: Vec<_> = plugins.of_kind::<K>().map(|entry| entry.name()).collect();
        fields.problem("", format!("{field} is missing; there are: {}", shown::list(known)));
    }
    plugin_of(fields, field, value, plugins)
}

fn plugin_of<K: PluginKind + ?Sized>(
    fields: &mut Fields<'_>,
    field: &'static str,
    value: Option<Value>,
    plugins: &Plugins,
) -> Option<Configured<K>> {
    plugins.read(value?).map_err(|error| fields.problem(field, error)).ok()
}

fn schedule(top: &mut Fields<'_>, sparsity: Option<Sparsity>, plugins: &Plugins) -> Option<Schedule> {
    let value = match top.raw("schedule") {
        None => return Some(Schedule::OneShot { at: 0 }),
        Some(Value::String(kind)) => json!({ "kind": kind }),
        Some(value) => value,
    };
    let mut fields = Fields::new("schedule", value, top.problems());
    let kind: Option<String> = fields.take("kind");
    let every = |fields: &mut Fields<'_>| match fields.take("every") {
        Some(0) => {
            fields.problem("every", "0: at least 1 step lies between two prunings");
            1
        }
        every => every.unwrap_or(1),
    };
    let schedule = match kind.as_deref() {
        Some("one_shot") => Some(Schedule::OneShot { at: fields.take("at").unwrap_or(0) }),
        Some("iterative") => {
            let (begin, every) = (fields.take("begin").unwrap_or(0), every(&mut fields));
            let (rounds, fraction): (Option<usize>, Option<Sparsity>) =
                (fields.take("rounds"), fields.take("fraction"));
            if rounds == Some(0) {
                fields.problem("rounds", "0: at least 1 round is needed");
            }
            if fraction == Some(Sparsity::ZERO) {
                fields.problem("fraction", "0: a round must remove something");
            } else if let Some(small) = fraction.filter(|fraction| fraction.density() == 1.0) {
                fields.problem("fraction", format!("{small}: so little that a round removes nothing"));
            }
            let rounds = match (rounds, fraction, sparsity) {
                (Some(n), None, Some(_)) => Some(Rounds::ToTarget(n)),
                (None, Some(f), Some(_)) => Some(Rounds::Fraction(f)),
                (Some(n), Some(f), None) => Some(Rounds::FractionTimes(f, n)),
                _ => {
                    fields.problem(
                        "",
                        "an iterative schedule takes exactly two of sparsity, schedule.rounds, schedule.fraction",
                    );
                    None
                }
            };
            rounds.map(|rounds| Schedule::Iterative { begin, every, rounds })
        }
        Some("gradual") => {
            let (begin, every) = (fields.take("begin").unwrap_or(0), every(&mut fields));
            let end: Option<usize> = fields.take("end");
            match end {
                Some(end) if end <= begin => fields.problem("end", format!("{end}: must be above begin, {begin}")),
                None => fields.problem("", "a gradual schedule needs `end`, the step that reaches the target"),
                _ => {}
            }
            let initial = fields.take("initial").unwrap_or(Sparsity::ZERO);
            if let Some(target) = sparsity.filter(|target| *target < initial) {
                fields.problem("initial", format!("{initial}: above the sparsity asked for in the end, {target}"));
            }
            let curve = plugin::<dyn Curve>(&mut fields, "curve", plugins, Some("cubic"));
            end.zip(curve).map(|(end, curve)| Schedule::Gradual { begin, end, every, initial, curve })
        }
        _ => {
            let given = kind.map(|kind| format!("{kind:?}: ")).unwrap_or_default();
            fields.problem("kind", format!("{given}expected \"one_shot\", \"iterative\" or \"gradual\""));
            return None;
        }
    };
    fields.finish();
    schedule
}

fn targets(top: &mut Fields<'_>) -> Targets {
    let mut targets = Targets::default();
    if let Some(value) = top.raw("target") {
        let mut fields = Fields::new("target", value, top.problems());
        targets.exclude = fields.take("exclude").unwrap_or_default();
        fields.no_empty("exclude", &targets.exclude, Pattern::as_str);
        if let Some(include) = fields.take::<Vec<Pattern>>("include") {
            if include.is_empty() {
                fields.problem("include", "[]: an empty list selects nothing; leave it out to select every weight");
            }
            fields.no_empty("include", &include, Pattern::as_str);
            targets.include = include;
        }
        fields.finish();
    }
    targets
}

fn overrides(top: &mut Fields<'_>, shared: Granularity) -> Vec<Override> {
    let list = match top.raw("override") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            top.problem("override", format!("expected a list of tables ([[override]]), not {other}"));
            return Vec::new();
        }
    };
    let mut overrides = Vec::new();
    for (i, value) in list.into_iter().enumerate() {
        let mut fields = Fields::new(format!("override.{i}"), value, top.problems());
        let target: Option<Pattern> = fields.take("target");
        if target.is_none() {
            fields.problem("", "an override needs a `target`, the layers it is for");
        }
        fields.no_empty("target", target.as_slice(), Pattern::as_str);
        let sparsity: Option<Sparsity> = fields.take("sparsity");
        let granularity: Option<Granularity> = fields.take("granularity");
        let pattern = granularity.unwrap_or(shared).pattern_sparsity();
        let sparsity = match (sparsity, pattern) {
            // A layer of an N:M recipe may be left dense.
            (Some(s), Some(p)) if s != Sparsity::ZERO && (s.value() - p.value()).abs() > 1e-9 => {
                fields.problem("sparsity", format!("{s}: the N:M pattern has sparsity {p}; remove this key, or use 0"));
                None
            }
            (Some(s), _) => Some(s),
            (None, Some(p)) => Some(p),
            (None, None) => {
                fields.problem("", "an override needs a sparsity of its own; 0 leaves the layer dense");
                None
            }
        };
        fields.finish();
        if let Some((target, sparsity)) = target.zip(sparsity) {
            overrides.push(Override { target, sparsity, granularity });
        }
    }
    overrides
}
