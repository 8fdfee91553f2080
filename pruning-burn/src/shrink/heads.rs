//! The units that are heads of an attention, and the reasons why heads stay.

use crate::layers::layer_path;
use crate::shrink::groups::Solved;
use crate::trace::Heads;
use pruning_core::graph::{Dim, Label};
use std::collections::HashMap;

impl Solved<'_> {
    /// Returns the sets of labels that are heads, each with the channels of a head if known.
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

    /// Returns why the first selected attention keeps its heads: the path of one of its layers, and the reason.
    pub(crate) fn heads_stay(&self, meant: impl Fn(&str) -> bool) -> Option<(&str, String)> {
        let path = |heads: &Heads| Some(self.analysis.trace.params[heads.param?].path());
        let found = self.analysis.heads.iter().filter_map(|heads| Some((heads, path(heads)?)));
        let (heads, path) = found.into_iter().find(|(_, path)| meant(path))?;
        let Dim::Free { labels, .. } = &heads.axis else { return None };
        let why = match labels.iter().find_map(|&l| self.groups.why(l)) {
            Some(why) => why.to_string(),
            None if labels.len() < 2 => "the attention has one head".to_string(),
            None => "its heads are not made by the targets".to_string(),
        };
        Some((layer_path(path), why))
    }
}
