//! Which units are heads of an attention, and why heads stay.

use crate::layers::layer_path;
use crate::shrink::groups::Solved;
use crate::trace::Heads;
use pruning_core::graph::{Dim, Label};
use std::collections::HashMap;

impl Solved<'_> {
    /// The sets of labels that are heads, with the channels of one where they are known.
    pub(crate) fn heads(&self) -> HashMap<Label, Option<usize>> {
        let mut heads = HashMap::new();
        for found in &self.analysis.heads {
            let Dim::Free { labels, .. } = &found.axis else { continue };
            for &label in labels.iter() {
                heads.entry(self.groups.set_of(label)).or_insert(found.size);
            }
        }
        heads
    }

    /// Why the first attention that is meant keeps its heads: the path of a layer of it, and the reason.
    pub(crate) fn heads_stay(&self, meant: impl Fn(&str) -> bool) -> Option<(&str, String)> {
        let path = |heads: &Heads| Some(self.analysis.trace.params[heads.param?].path());
        let found = self.analysis.heads.iter().filter_map(|heads| Some((heads, path(heads)?)));
        let (heads, path) = found.into_iter().find(|(_, path)| meant(path))?;
        let Dim::Free { labels, .. } = &heads.axis else { return None };
        let why = match labels.iter().find_map(|&l| self.groups.why(l)) {
            Some(why) => why.to_string(),
            None if labels.len() < 2 => "the attention has one head".to_string(),
            None => "the targets are not what makes its heads".to_string(),
        };
        Some((layer_path(path), why))
    }
}
