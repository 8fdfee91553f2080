//! Sets of labels that are removed together: a union-find with reasons for what stays.

/// The index of a label, which stands for one position of one axis.
pub type Label = u32;

/// Labels that are joined into sets. A pinned set is never removed, and has a reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    parent: Vec<Label>,
    /// Per root: 0, or one more than the index of a reason.
    pinned: Vec<u32>,
    reasons: Vec<String>,
}

impl Labels {
    pub(crate) fn fresh(&mut self, count: usize) -> Vec<Label> {
        let first = self.parent.len() as Label;
        self.parent.extend(first..first + count as Label);
        self.pinned.resize(self.parent.len(), 0);
        (first..first + count as Label).collect()
    }

    pub(crate) fn root(&mut self, label: Label) -> Label {
        let mut at = label;
        while self.parent[at as usize] != at {
            // Halving keeps the paths short without a second pass.
            let up = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = up;
            at = up;
        }
        at
    }

    /// Joins two sets. The lower label stays the root, so that sets are named by what was declared first.
    pub(crate) fn join(&mut self, a: Label, b: Label) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (low, high) = (a.min(b), a.max(b));
        self.parent[high as usize] = low;
        if self.pinned[low as usize] == 0 {
            self.pinned[low as usize] = self.pinned[high as usize];
        }
    }

    pub(crate) fn reason(&mut self, why: &str) -> u32 {
        let known = self.reasons.iter().rposition(|r| r == why);
        let index = known.unwrap_or_else(|| {
            self.reasons.push(why.to_string());
            self.reasons.len() - 1
        });
        index as u32 + 1
    }

    pub(crate) fn pin(&mut self, label: Label, reason: u32) {
        let root = self.root(label) as usize;
        if self.pinned[root] == 0 {
            self.pinned[root] = reason;
        }
    }

    /// Returns the number of the reason; 0 for a set that can be removed.
    pub(crate) fn pinned(&mut self, label: Label) -> u32 {
        let root = self.root(label);
        self.pinned[root as usize]
    }

    pub(crate) fn why(&self, reason: u32) -> &str {
        &self.reasons[reason as usize - 1]
    }

    pub(crate) fn into_reasons(self) -> Vec<String> {
        self.reasons
    }

    pub(crate) fn len(&self) -> usize {
        self.parent.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_set_keeps_the_reason_of_either_part() {
        let mut labels = Labels::default();
        let l = labels.fresh(4);
        let why = labels.reason("an output");
        labels.pin(l[2], why);
        labels.join(l[0], l[1]);
        assert_eq!(labels.pinned(l[0]), 0);
        labels.join(l[1], l[2]);
        let pinned = labels.pinned(l[0]);
        assert_eq!(labels.why(pinned), "an output");
        assert_eq!(labels.root(l[2]), l[0]);
        assert_eq!(labels.pinned(l[3]), 0);
    }
}
