//! Allocators and curves that are wrong on purpose: each must be caught by the check that is for it.

use super::*;
use crate::{AllocationError, LayerUnits, Plugin, Sparsity, register_allocator, register_curve};
use serde::{Deserialize, Serialize};
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

allocator!(Right, "mutant.right", (layers, keep) => Ok(fill(layers, keep)));
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
curve!(Late, "mutant.late", (from, to, t) => from + (to - from) * 0.99 * t);
curve!(Bumpy, "mutant.bumpy", (from, to, t) => from * (1.0 - t) + to * t + 0.1 * (to - from) * (t * 6.0 * std::f64::consts::PI).sin()
    * f64::from(t > 0.0 && t < 1.0));
curve!(Unstable, "mutant.unstable", (from, to, t) => {
    let wobble = if t > 0.0 && t < 1.0 { 1e-13 * CALLS.fetch_add(1, Ordering::Relaxed) as f64 } else { 0.0 };
    from * (1.0 - t) + to * t - wobble
});
curve!(Undefined, "mutant.undefined", (from, to, t) => from + (to - from) * (t * (to - from) / (to - from)));

fn caught_allocator<P: Register + Allocator>() -> Vec<&'static str> {
    let plugins = Plugins::empty().with::<P>();
    let subject = Subject::new(&plugins, P::NAME);
    allocator_checks().iter().filter_map(|c| c.run(&subject).err()).map(|f| f.check).collect()
}

fn caught_curve<P: Register + Curve>() -> Vec<&'static str> {
    let plugins = Plugins::empty().with::<P>();
    let subject = Subject::new(&plugins, P::NAME);
    curve_checks().iter().filter_map(|c| c.run(&subject).err()).map(|f| f.check).collect()
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
        (caught_curve::<Late>(), "ends_are_exact"),
        (caught_curve::<Bumpy>(), "never_leaves_the_range_or_falls"),
        (caught_curve::<Unstable>(), "same_inputs_same_sparsity"),
        (caught_curve::<Undefined>(), "ends_are_exact"),
    ] {
        assert!(caught.contains(&check), "{check} in {caught:?}");
    }
}
