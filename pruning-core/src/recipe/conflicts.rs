//! Keys of a recipe that exclude each other: what competes within rows.

use crate::budget::Compare;
use crate::recipe::RecipeDraft;
use crate::recipe::problem::Problems;
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

/// The granularities that are given, each with its place.
fn granularities<K: ?Sized>(draft: &RecipeDraft<K>) -> impl Iterator<Item = (String, Granularity)> + '_ {
    let own = draft.overrides.iter().enumerate();
    let own = own.filter_map(|(i, o)| Some((format!("override.{i}.granularity"), o.granularity?)));
    draft.granularity.map(|g| ("granularity".to_string(), g)).into_iter().chain(own)
}
