//! Allocators, curves and reconstructions that are wrong on purpose: each must be caught by the check that is for it.

use crate::budget::{AllocationError, LayerUnits, Share, Sparsity, in_proportion};
use crate::conformance::*;
use crate::plugin::Plugin;
use crate::{register_allocator, register_curve};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! plugin {
    ($type:ident, $name:literal) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $type {}

        impl Plugin for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "Wrong on purpose.";
        }
    };
}

mod reconstruction;

macro_rules! allocator {
    ($type:ident, $name:literal, ($layers:ident, $keep:ident) => $counts:expr) => {
        plugin!($type, $name);

        impl Allocator for $type {
            fn allocate(&self, $layers: &[LayerUnits<'_>], $keep: usize) -> Result<Vec<usize>, AllocationError> {
                $counts
            }
        }

        register_allocator!($type);
    };
}

macro_rules! curve {
    ($type:ident, $name:literal, ($from:ident, $to:ident, $t:ident) => $value:expr) => {
        plugin!($type, $name);

        impl Curve for $type {
            fn sparsity(&self, $from: Sparsity, $to: Sparsity, $t: f64) -> f64 {
                let ($from, $to) = ($from.value(), $to.value());
                $value
            }
        }

        register_curve!($type);
    };
}

/// Fills layers one after the other.
fn fill(layers: &[LayerUnits<'_>], keep: usize) -> Vec<usize> {
    let mut counts: Vec<_> = layers.iter().map(|l| l.least).collect();
    let mut missing = keep - counts.iter().sum::<usize>();
    for (layer, count) in layers.iter().zip(&mut counts) {
        let more = missing.min(layer.alive() - *count);
        (*count, missing) = (*count + more, missing - more);
    }
    counts
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Shares in proportion to a number of each layer.
fn shared(
    layers: &[LayerUnits<'_>],
    keep: usize,
    weight: impl Fn(&LayerUnits<'_>) -> f64,
) -> Result<Vec<usize>, AllocationError> {
    in_proportion(&layers.iter().map(|l| Share::new(weight(l), l)).collect::<Vec<_>>(), keep)
}

allocator!(Right, "mutant.right", (layers, keep) => shared(layers, keep, |l| l.units() as f64));
allocator!(FirstComes, "mutant.first_comes", (layers, keep) => Ok(fill(layers, keep)));
allocator!(FirstStays, "mutant.first_stays", (layers, keep) => {
    let mut shares: Vec<_> = layers.iter().map(|l| Share::new(l.units() as f64, l)).collect();
    // Right would be the layer whose `place` is 0.
    shares[0].least = shares[0].most.min(keep - shares[1..].iter().map(|s| s.least).sum::<usize>());
    in_proportion(&shares, keep)
});
allocator!(ByMean, "mutant.by_mean", (layers, keep) => {
    let mean = |l: &LayerUnits<'_>| l.scores.alive_scores().map(f64::from).sum::<f64>() / l.alive() as f64;
    let all: f64 = layers.iter().map(mean).sum();
    shared(layers, keep, |l| (mean(l) / all).abs())
});
allocator!(Panicking, "mutant.panicking", (layers, _keep) => panic!("no idea what to do with {} layers", layers.len()));
allocator!(Settling, "mutant.settling", (layers, keep) => {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let by = 1.0 + CALLS.fetch_add(1, Ordering::Relaxed).min(500) as f64 / 500.0;
    shared(layers, keep, |l| (l.units() as f64).powf(by))
});

/// Keeps what it has seen first, and goes by it ever after.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Remembering {
    #[serde(skip)]
    first: OnceLock<usize>,
}

impl Plugin for Remembering {
    const NAME: &'static str = "mutant.remembering";
    const SUMMARY: &'static str = "Wrong on purpose.";
}

impl Allocator for Remembering {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let first = *self.first.get_or_init(|| layers[0].units());
        shared(layers, keep, |l| (l.units() + first) as f64)
    }
}

register_allocator!(Remembering);

/// With a field that a recipe cannot give, since it is where the recipe says which plugin it is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Named {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

impl Plugin for Named {
    const NAME: &'static str = "mutant.named";
    const SUMMARY: &'static str = "Wrong on purpose.";
}

impl Curve for Named {
    fn sparsity(&self, from: Sparsity, to: Sparsity, t: f64) -> f64 {
        from.value() * (1.0 - t) + to.value() * t
    }
}

register_curve!(Named);

allocator!(OneShort, "mutant.one_short", (layers, keep) => {
    let mut counts = fill(layers, keep);
    if let Some(count) = counts.iter_mut().find(|count| **count > 1) { *count -= 1; }
    Ok(counts)
});
allocator!(Emptying, "mutant.emptying", (layers, keep) => {
    let mut missing = keep;
    Ok(layers.iter().map(|l| { let n = missing.min(l.alive()); missing -= n; n }).collect())
});
allocator!(Overfull, "mutant.overfull", (layers, keep) => {
    Ok(layers.iter().enumerate().map(|(i, _)| if i == 0 { keep } else { 0 }).collect())
});
allocator!(Timid, "mutant.timid", (layers, keep) => Err(AllocationError::Unreachable {
    keep, least: layers.len(), most: layers.len(), allow_empty_helps: false,
}));
allocator!(Moody, "mutant.moody", (layers, keep) => {
    let mut turned: Vec<_> = layers.to_vec();
    let by = CALLS.fetch_add(1, Ordering::Relaxed) % layers.len();
    turned.rotate_left(by);
    let mut counts = fill(&turned, keep);
    counts.rotate_right(by);
    Ok(counts)
});
allocator!(Fickle, "mutant.fickle", (layers, keep) => {
    // Fills from the front or from the back, as the total is odd or even.
    if keep.is_multiple_of(2) { return Ok(fill(layers, keep)); }
    let reversed: Vec<_> = layers.iter().rev().copied().collect();
    Ok(fill(&reversed, keep).into_iter().rev().collect())
});

curve!(Line, "mutant.line", (from, to, t) => from * (1.0 - t) + to * t);
// Right at both ends of most schedules, and off by the last bit at some.
curve!(LastBit, "mutant.last_bit", (from, to, t) => from + (to - from) * t);
curve!(Startled, "mutant.startled", (from, to, t) => {
    assert!(t < 0.99 || t == 1.0, "not so near to the end");
    from * (1.0 - t) + to * t
});
curve!(Worn, "mutant.worn", (from, to, t) => {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let wear = if t > 0.0 && t < 1.0 { 1e-13 * CALLS.fetch_add(1, Ordering::Relaxed).min(100) as f64 } else { 0.0 };
    from * (1.0 - t) + to * t - wear
});
curve!(Late, "mutant.late", (from, to, t) => from + (to - from) * 0.99 * t);
curve!(Bumpy, "mutant.bumpy", (from, to, t) => from * (1.0 - t) + to * t + 0.1 * (to - from) * (t * 6.0 * std::f64::consts::PI).sin()
    * f64::from(t > 0.0 && t < 1.0));
curve!(Unstable, "mutant.unstable", (from, to, t) => {
    let wobble = if t > 0.0 && t < 1.0 { 1e-13 * CALLS.fetch_add(1, Ordering::Relaxed) as f64 } else { 0.0 };
    from * (1.0 - t) + to * t - wobble
});
curve!(Undefined, "mutant.undefined", (from, to, t) => from + (to - from) * (t * (to - from) / (to - from)));

/// What the checks find wrong; each failure names the plugin.
fn failures<P: Register, K: PluginKind + ?Sized>(checks: &[Check<K>]) -> Vec<Failure> {
    let plugins = Plugins::empty().with::<P>();
    let subject = Subject::new(&plugins, P::NAME);
    let failures: Vec<_> = checks.iter().filter_map(|c| c.run(&subject).err()).collect();
    assert!(failures.iter().all(|f| f.plugin == P::NAME && f.to_string().contains(P::NAME)));
    failures
}

fn caught_allocator<P: Register + Allocator>() -> Vec<&'static str> {
    failures::<P, _>(&allocator_checks()).iter().map(|f| f.check).collect()
}

fn caught_curve<P: Register + Curve>() -> Vec<&'static str> {
    failures::<P, _>(&curve_checks()).iter().map(|f| f.check).collect()
}

#[test]
fn right_plugins_pass() {
    assert_allocator::<Right>();
    assert_curve::<Line>();
}

#[test]
fn each_wrong_plugin_is_caught_by_the_check_for_it() {
    for (caught, check) in [
        (caught_allocator::<OneShort>(), "counts_meet_total_and_bounds"),
        (caught_allocator::<Emptying>(), "counts_meet_total_and_bounds"),
        (caught_allocator::<Overfull>(), "counts_meet_total_and_bounds"),
        (caught_allocator::<Timid>(), "reachable_without_limits"),
        (caught_allocator::<Moody>(), "same_inputs_same_counts"),
        (caught_allocator::<Fickle>(), "more_sparsity_keeps_no_more"),
        (caught_allocator::<FirstComes>(), "order_of_layers_does_not_matter"),
        (caught_allocator::<FirstStays>(), "order_of_layers_does_not_matter"),
        (caught_allocator::<ByMean>(), "counts_meet_total_and_bounds"),
        (caught_allocator::<Panicking>(), "counts_meet_total_and_bounds"),
        (caught_allocator::<Settling>(), "same_inputs_same_counts"),
        (caught_allocator::<Remembering>(), "same_inputs_same_counts"),
        (caught_curve::<Named>(), "configuration_round_trip"),
        (caught_curve::<LastBit>(), "ends_are_exact"),
        (caught_curve::<Startled>(), "never_leaves_the_range_or_falls"),
        (caught_curve::<Worn>(), "same_inputs_same_sparsity"),
        (caught_curve::<Late>(), "ends_are_exact"),
        (caught_curve::<Bumpy>(), "never_leaves_the_range_or_falls"),
        (caught_curve::<Unstable>(), "same_inputs_same_sparsity"),
        (caught_curve::<Undefined>(), "ends_are_exact"),
    ] {
        assert!(caught.contains(&check), "{check} in {caught:?}");
    }
}

#[test]
fn a_panic_is_a_failure_that_says_where() {
    let found = failures::<Startled, _>(&curve_checks());
    let text = found.iter().map(ToString::to_string).find(|f| f.contains("it panicked")).unwrap_or_default();
    for part in ["curve \"mutant.startled\" fails never_leaves", "at progress 0.99", "not so near to the end"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let found = failures::<Panicking, _>(&allocator_checks());
    assert!(found.iter().any(|f| f.case.contains("remove") && f.got.contains("no idea what to do with 1 layers")));
}
