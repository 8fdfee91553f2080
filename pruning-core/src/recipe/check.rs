//! The checks of a recipe's values, one by one and together: [`RecipeDraft::check`].

use crate::budget::Sparsity;
use crate::plugin::{Configured, PluginKind, Plugins};
use crate::recipe::conflicts;
use crate::recipe::draft::{Found, GrowDraft, OverrideDraft, RecipeDraft, ScheduleDraft};
use crate::recipe::problem::Problems;
use crate::recipe::{Budget, Override, Pattern, Recipe, RecipeError, Targets};
use crate::schedule::{Grow, Initialization, Rounds, Schedule};
use crate::score::Granularity;
use crate::shown;
use serde_json::json;

impl<K: PluginKind + ?Sized> RecipeDraft<K> {
    /// Checks every value by itself and with the others. The registry has the plugins that are taken by default.
    ///
    /// # Errors
    /// The draft has problems, and the error lists all of them: those of the text that was read, values out of range, plugins that are
    /// not registered, keys that exclude each other.
    pub fn check(mut self, plugins: &Plugins) -> Result<Recipe<K>, RecipeError> {
        let mut problems = std::mem::take(&mut self.problems);
        let recipe = self.checked(plugins, &mut problems);
        problems.or(recipe)
    }

    fn checked(mut self, plugins: &Plugins, problems: &mut Problems) -> Option<Recipe<K>> {
        conflicts::rows(&self, problems);
        conflicts::reconstruction(&self, problems);
        let sparsity = fraction("sparsity", self.sparsity, problems);
        let granularity = valid("granularity", self.granularity, problems);
        let criterion = plugin("criterion", self.criterion.take(), plugins, problems);
        let allocator = match (granularity, self.allocator.take()) {
            (Some(Granularity::Nm { .. }), None) => None,
            (Some(Granularity::Nm { .. }), Some(given)) => {
                let given = given.map(|given| format!("{:?}: ", given.name())).unwrap_or_default();
                let message = format!("{given}an N:M pattern leaves nothing to share out; remove this key");
                problems.add("allocator", message);
                None
            }
            (_, given) => {
                plugin("allocator", given.or_else(|| Some(plugins.read(json!("uniform")))), plugins, problems)
            }
        };
        let reconstruct =
            self.reconstruct.take().and_then(|found| plugin("reconstruct", Some(found), plugins, problems));
        let schedule = schedule(self.schedule, sparsity, plugins, problems);
        if let Some([]) = self.include.as_deref() {
            let message = "[]: an empty list selects nothing; leave it out to select every weight";
            problems.add("target.include", message);
        }
        no_empty("target.include", self.include.as_deref().unwrap_or_default(), problems);
        no_empty("target.exclude", &self.exclude, problems);
        let shared = granularity.unwrap_or_default();
        let overrides = self.overrides.into_iter().enumerate();
        let overrides: Vec<_> = overrides.filter_map(|(i, draft)| own(i, draft, shared, problems)).collect();
        let structural = |g: Option<Granularity>| g.is_some_and(|g| g.is_structural());
        if self.channel_score.is_some()
            && !structural(granularity)
            && !overrides.iter().any(|o| structural(o.granularity))
        {
            let message = "there are no channels or heads to score; set granularity, or remove this key";
            problems.add("channel_score", message);
        }
        let budget = budget((sparsity, self.count), granularity, schedule.as_ref(), problems);
        let pruned = schedule.as_ref().map(|s| match budget {
            Some(Budget::Sparsity(target)) => s.last(target),
            _ => s.first(),
        });
        let element = |g: Option<Granularity>| g.is_none_or(|g| g == Granularity::Element);
        if self.grow.is_some() && !(element(granularity) && overrides.iter().all(|o| element(o.granularity))) {
            problems.add("grow", "single weights come back: it goes with granularity = \"element\" alone");
        }
        let grow = self.grow.and_then(|draft| grow(draft, pruned, plugins, problems));
        if let (Some(schedule), Initialization::Rewind { step } | Initialization::RewindRate { step }) =
            (&schedule, self.initialization)
            && schedule.first() < step
        {
            let first = schedule.first();
            let message = format!("rewinds to step {step}, after the first pruning at step {first}");
            problems.add("initialization", message);
        }
        Some(Recipe {
            budget: budget?,
            criterion: criterion?,
            allocator,
            granularity: shared,
            compare: self.compare,
            skip_unfit: self.skip_unfit,
            reduction: self.reduction,
            channel_score: self.channel_score.unwrap_or_default(),
            rounding: self.rounding,
            schedule: schedule?,
            initialization: self.initialization,
            grow,
            allow_empty: self.allow_empty,
            reconstruct,
            sequential: self.sequential,
            targets: Targets {
                include: self.include.unwrap_or_else(|| Targets::default().include),
                exclude: self.exclude,
                names: Vec::new(),
            },
            overrides,
        })
    }
}

fn fraction(path: &str, given: Option<f64>, problems: &mut Problems) -> Option<Sparsity> {
    Sparsity::new(given?).map_err(|error| problems.add(path, error)).ok()
}

/// Granularities can be built without a check.
fn valid(path: &str, given: Option<Granularity>, problems: &mut Problems) -> Option<Granularity> {
    let valid = match given? {
        Granularity::Nm { n, m, along } => Granularity::nm_along(n, m, along),
        Granularity::Block { rows, cols } => Granularity::block(rows, cols),
        Granularity::Head { size: Some(size), axis } => Granularity::head(size, axis),
        other => Ok(other),
    };
    valid.map_err(|error| problems.add(path, error)).ok()
}

fn plugin<K: PluginKind + ?Sized>(
    path: &str,
    found: Option<Found<K>>,
    plugins: &Plugins,
    problems: &mut Problems,
) -> Option<Configured<K>> {
    if found.is_none() {
        let known = shown::list(plugins.of_kind::<K>().map(|entry| entry.name()));
        problems.missing(path, format!("criterion is missing; there are: {known}"));
    }
    found?.map_err(|error| problems.add(path, error)).ok()
}

fn no_empty(path: &str, patterns: &[Pattern], problems: &mut Problems) {
    if patterns.iter().any(|pattern| pattern.as_str().is_empty()) {
        problems.add(path, "an empty pattern selects nothing: name a parameter or a module, or leave it out");
    }
}

fn every(path: &str, every: usize, between: &str, problems: &mut Problems) {
    if every == 0 {
        problems.add(path, format!("0: at least 1 step lies between two {between}"));
    }
}

/// Returns whether a sparsity differs from that of the N:M pattern.
fn differs(sparsity: Sparsity, pattern: Sparsity) -> bool {
    (sparsity.value() - pattern.value()).abs() > 1e-9
}

fn budget(
    (sparsity, count): (Option<Sparsity>, Option<usize>),
    granularity: Option<Granularity>,
    schedule: Option<&Schedule>,
    problems: &mut Problems,
) -> Option<Budget> {
    let pattern = granularity.and_then(|g| g.pattern_sparsity());
    let (path, message) = match (sparsity, count, pattern) {
        (Some(_), Some(n), _) => ("count", format!("{n}: sparsity is given too; keep one of the two")),
        (None, Some(n), Some(_)) => {
            ("count", format!("{n}: the N:M pattern says how many are removed; remove this key"))
        }
        (None, Some(n), None) if !matches!(schedule, None | Some(Schedule::OneShot { .. })) => {
            ("count", format!("{n}: a count is removed in one shot; give a sparsity for other schedules"))
        }
        (None, Some(n), None) => return Some(Budget::Count(n)),
        (Some(s), None, Some(p)) if differs(s, p) => {
            ("sparsity", format!("{s}: the N:M pattern has sparsity {p}; remove this key"))
        }
        (None, None, Some(p))
            if let Some(end) = schedule.and_then(|s| s.target(None)).filter(|end| differs(*end, p)) =>
        {
            (
                "schedule",
                format!(
                    "it ends at a sparsity of {end}, and the N:M pattern has {p}: give the sparsity, and rounds or fraction"
                ),
            )
        }
        (_, None, Some(p)) => return Some(Budget::Sparsity(p)),
        (Some(s), None, None) => return Some(Budget::Sparsity(s)),
        (None, None, None) => {
            let derived = schedule.and_then(|s| s.target(None));
            let wrong = ["sparsity", "count", "granularity", "schedule"].iter().any(|path| problems.about(path));
            if derived.is_none() && !wrong {
                let message = "sparsity is missing: give the fraction removed, as in sparsity = 0.9 (or a count)";
                problems.missing("sparsity", message);
            }
            return derived.map(Budget::Sparsity);
        }
    };
    problems.add(path, message);
    None
}

fn schedule(
    draft: ScheduleDraft,
    sparsity: Option<Sparsity>,
    plugins: &Plugins,
    problems: &mut Problems,
) -> Option<Schedule> {
    const BETWEEN: &str = "prunings";
    match draft {
        // The kind is unknown, and the draft has another one in its place.
        _ if problems.about("schedule.kind") => None,
        ScheduleDraft::OneShot { at } => Some(Schedule::OneShot { at }),
        ScheduleDraft::Iterative { begin, every: steps, rounds, fraction: given } => {
            every("schedule.every", steps, BETWEEN, problems);
            let fraction = fraction("schedule.fraction", given, problems);
            if rounds == Some(0) {
                problems.add("schedule.rounds", "0: at least 1 round is needed");
            }
            if fraction == Some(Sparsity::ZERO) {
                problems.add("schedule.fraction", "0: a round must remove something");
            } else if let Some(small) = fraction.filter(|fraction| fraction.density() == 1.0) {
                problems.add("schedule.fraction", format!("{small}: so little that a round removes nothing"));
            }
            let rounds = match (rounds, fraction, sparsity) {
                (Some(n), None, Some(_)) => Rounds::ToTarget(n),
                (None, Some(f), Some(_)) => Rounds::Fraction(f),
                (Some(n), Some(f), None) => Rounds::FractionTimes(f, n),
                _ => {
                    let message =
                        "an iterative schedule takes exactly two of sparsity, schedule.rounds, schedule.fraction";
                    problems.add("schedule", message);
                    return None;
                }
            };
            Some(Schedule::Iterative { begin, every: steps.max(1), rounds })
        }
        ScheduleDraft::Gradual { begin, end, every: steps, initial, curve } => {
            every("schedule.every", steps, BETWEEN, problems);
            match end {
                Some(end) if end <= begin => {
                    problems.add("schedule.end", format!("{end}: must be above begin, {begin}"));
                }
                None => {
                    problems.missing("schedule.end", "a gradual schedule needs `end`, the step that reaches the target")
                }
                _ => {}
            }
            let initial = fraction("schedule.initial", Some(initial), problems).unwrap_or(Sparsity::ZERO);
            if let Some(target) = sparsity.filter(|target| *target < initial) {
                let message = format!("{initial}: above the sparsity asked for in the end, {target}");
                problems.add("schedule.initial", message);
            }
            let curve = curve.unwrap_or_else(|| plugins.read(json!("cubic")));
            let curve = plugin("schedule.curve", Some(curve), plugins, problems);
            Some(Schedule::Gradual { begin, end: end?, every: steps.max(1), initial, curve: curve? })
        }
    }
}

/// Checks the override of one or several layers.
fn own(i: usize, draft: OverrideDraft, shared: Granularity, problems: &mut Problems) -> Option<Override> {
    let path = |field: &str| format!("override.{i}.{field}");
    if draft.target.is_none() {
        problems.missing(&path("target"), "an override needs a `target`, the layers it is for");
    }
    no_empty(&path("target"), draft.target.as_slice(), problems);
    let granularity = valid(&path("granularity"), draft.granularity, problems);
    let sparsity = fraction(&path("sparsity"), draft.sparsity, problems);
    let sparsity = match (sparsity, granularity.unwrap_or(shared).pattern_sparsity()) {
        // A layer of an N:M recipe may be left dense.
        (Some(s), Some(p)) if s != Sparsity::ZERO && differs(s, p) => {
            let message = format!("{s}: the N:M pattern has sparsity {p}; remove this key, or use 0");
            problems.add(path("sparsity"), message);
            None
        }
        (Some(s), _) => Some(s),
        (None, Some(p)) => Some(p),
        (None, None) => {
            let message = "an override needs a sparsity of its own; 0 leaves the layer dense";
            problems.missing(&path("sparsity"), message);
            None
        }
    };
    Some(Override { target: draft.target?, sparsity: sparsity?, granularity })
}

/// Checks the settings of dynamic sparse training; the last pruning is at step `pruned`, if the schedule says so.
fn grow<K: PluginKind + ?Sized>(
    draft: GrowDraft<K>,
    pruned: Option<usize>,
    plugins: &Plugins,
    problems: &mut Problems,
) -> Option<Grow<K>> {
    let GrowDraft { criterion, fraction, anneal, every: steps, end } = draft;
    let criterion = plugin("grow.criterion", criterion, plugins, problems);
    // NaN is outside too.
    if !(fraction > 0.0 && fraction <= 1.0) {
        let message = format!("{fraction}: outside (0, 1], the fraction of the kept weights that is swapped");
        problems.add("grow.fraction", message);
    }
    every("grow.every", steps, "updates", problems);
    let every = steps.max(1);
    match (end, pruned) {
        (None, _) => problems.missing("grow.end", "needs `end`, the step before which all updates come"),
        (Some(end), Some(pruned)) if end <= pruned => {
            problems.add("grow.end", format!("{end}: updates follow the last pruning, at step {pruned}"));
        }
        (Some(end), Some(pruned)) if end - pruned <= every => problems.add(
            "grow.end",
            format!("{end}: no update is due: the first one is {every} steps after the last pruning, at step {pruned}"),
        ),
        _ => {}
    }
    Some(Grow { criterion: criterion?, fraction, anneal, every, end: end? })
}
