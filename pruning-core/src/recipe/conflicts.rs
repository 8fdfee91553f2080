//! Keys of a recipe that exclude each other: what competes within rows, and what a reconstruction goes with.

use crate::budget::Compare;
use crate::recipe::RecipeDraft;
use crate::recipe::problem::Problems;
use crate::schedule::Initialization;
use crate::score::Granularity;

/// Adds a problem for each granularity that has no rows to compete in, and for growing, which knows no rows.
pub(super) fn rows<K: ?Sized>(draft: &RecipeDraft<K>, problems: &mut Problems) {
    if draft.compare != Compare::Row {
        return;
    }
    for (path, granularity) in granularities(draft).filter(|(_, g)| *g != Granularity::Element) {
        let message = format!(
            "compare = \"row\" is for single weights, and granularity is {granularity}: keep one of the two keys"
        );
        let path = if path == "granularity" { "compare".to_string() } else { path };
        problems.add(path, message);
    }
    if draft.grow.is_some() {
        let message =
            "grow changes places over the whole layer, and compare = \"row\" within rows: keep one of the two keys";
        problems.add("compare", message);
    }
}

/// Adds a problem for each key that a reconstruction does not go with, or that means nothing without one.
pub(super) fn reconstruction<K: ?Sized>(draft: &RecipeDraft<K>, problems: &mut Problems) {
    let Some(found) = &draft.reconstruct else {
        if draft.sequential {
            let message = "true: nothing is reconstructed, one layer after the other or at once; give reconstruct, or remove this key";
            problems.add("sequential", message);
        }
        return;
    };
    if draft.grow.is_some() {
        let message = "weights that change places later would undo it: remove this key, or grow";
        problems.add("reconstruct", message);
    }
    if matches!(draft.initialization, Initialization::Rewind { .. } | Initialization::Reinitialize) {
        let message = "the initialization sets the weights back that it has just computed: remove one of the two keys";
        problems.add("reconstruct", message);
    }
    let Some(found) = found.as_ref().ok().filter(|found| found.chooses()) else { return };
    let name = found.name();
    if draft.compare == Compare::Row {
        let message =
            format!("reconstruct = {name:?} chooses the weights itself, so that compare = \"row\" has no effect");
        problems.add("compare", message);
    }
    for (path, granularity) in granularities(draft) {
        if granularity.is_structural() || matches!(granularity, Granularity::Block { .. }) {
            let message = format!(
                "reconstruct = {name:?} chooses single weights or N:M itself, and granularity is {granularity}: keep one of the two keys"
            );
            let path = if path == "granularity" { "reconstruct".to_string() } else { path };
            problems.add(path, message);
        }
    }
}

/// The granularities that are given, each with its place.
fn granularities<K: ?Sized>(draft: &RecipeDraft<K>) -> impl Iterator<Item = (String, Granularity)> + '_ {
    let own = draft.overrides.iter().enumerate();
    let own = own.filter_map(|(i, o)| Some((format!("override.{i}.granularity"), o.granularity?)));
    draft.granularity.map(|g| ("granularity".to_string(), g)).into_iter().chain(own)
}
