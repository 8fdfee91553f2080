//! What goes along when given positions of parameters go: [`AxisGraph::removal`].

use crate::graph::solve::coordinates;
use crate::graph::{AxisGraph, Dim, Label, Member};

/// Positions that go, on every axis of a graph, because given positions of its parameters do.
#[derive(Clone, Debug)]
pub struct Removal {
    /// By label.
    gone: Vec<bool>,
}

/// Positions that cannot go together as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// A position goes along that must stay.
    #[error("a position that goes along must stay: {why}")]
    Pinned {
        /// Why it must stay.
        why: String,
    },
    /// Of an axis that is split, entries go that are no whole positions of either part.
    #[error("entries go that are neither whole heads (or groups) nor the same positions of each")]
    Uneven,
}

impl Removal {
    /// Whether the position with this label goes.
    #[must_use]
    pub fn takes(&self, label: Label) -> bool {
        self.gone[label as usize]
    }

    /// Number of positions of an axis that stay.
    #[must_use]
    pub fn left(&self, dim: &Dim) -> usize {
        match dim {
            Dim::Fixed(size) => *size,
            Dim::Free { labels, .. } => labels.iter().filter(|&&l| !self.takes(l)).count(),
        }
    }

    /// Positions of an axis that stay, ascending.
    #[must_use]
    pub fn kept(&self, dim: &Dim) -> Vec<usize> {
        match dim {
            Dim::Fixed(size) => (0..*size).collect(),
            Dim::Free { labels, .. } => (0..labels.len()).filter(|&p| !self.takes(labels[p])).collect(),
        }
    }
}

impl AxisGraph {
    /// Follows the removal of some positions of parameters through the graph: what is joined with them goes, and what is
    /// split or merged goes by its parts.
    ///
    /// No choice is made here, unlike in [`solve`](Self::solve): the given positions decide.
    ///
    /// # Errors
    /// Something goes along that is pinned, or a split axis does not lose whole parts.
    pub fn removal<'a>(
        &self,
        positions: impl IntoIterator<Item = (Member, &'a [usize])>,
    ) -> Result<Removal, RemovalError> {
        let mut labels = self.labels.clone();
        let roots: Vec<Label> = (0..labels.len() as Label).map(|l| labels.root(l)).collect();
        let root = |label: Label| roots[label as usize] as usize;
        let mut gone = vec![false; roots.len()];
        for (member, removed) in positions {
            let Dim::Free { labels, .. } = &self.params[member.param][member.axis] else { continue };
            removed.iter().for_each(|&p| gone[root(labels[p])] = true);
        }
        let mut changed = true;
        while changed {
            changed = false;
            for split in &self.splits {
                // Entries that are left at each position of each factor.
                let mut left: Vec<Vec<usize>> = split.factors.iter().map(|f| vec![0; f.len()]).collect();
                for (entry, &whole) in split.whole.iter().enumerate() {
                    let goes = coordinates(split, entry).any(|(_, _, label)| gone[root(label)]);
                    if goes && !gone[root(whole)] {
                        gone[root(whole)] = true;
                        changed = true;
                    }
                    if !gone[root(whole)] {
                        coordinates(split, entry).for_each(|(factor, position, _)| left[factor][position] += 1);
                    }
                }
                for (factor, left) in split.factors.iter().zip(&left) {
                    for (&label, _) in factor.iter().zip(left).filter(|(_, left)| **left == 0) {
                        changed |= !std::mem::replace(&mut gone[root(label)], true);
                    }
                }
            }
        }
        for split in &self.splits {
            let by_parts = |entry| coordinates(split, entry).any(|(_, _, label)| gone[root(label)]);
            if split.whole.iter().enumerate().any(|(entry, &whole)| gone[root(whole)] && !by_parts(entry)) {
                return Err(RemovalError::Uneven);
            }
        }
        for &set in roots.iter().filter(|&&set| gone[set as usize]) {
            let pinned = labels.pinned(set);
            if pinned != 0 {
                return Err(RemovalError::Pinned { why: labels.why(pinned).to_string() });
            }
        }
        Ok(Removal { gone: roots.iter().map(|&set| gone[set as usize]).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(param: usize, axis: usize) -> Member {
        Member { param, axis }
    }

    #[test]
    fn heads_and_positions_of_heads_follow_from_the_entries_that_go() {
        let mut graph = AxisGraph::new();
        let param = graph.param(&[6, 4]);
        let whole = graph.dims(param)[0].clone();
        let parts = graph.reshape(&[whole], &[2, 3], "heads");
        let sizes = |removed: &[usize]| {
            let removal = graph.removal([(member(param, 0), removed)])?;
            Ok::<_, RemovalError>((removal.left(&parts[0]), removal.left(&parts[1])))
        };
        assert_eq!(sizes(&[]), Ok((2, 3)));
        assert_eq!(sizes(&[3, 4, 5]), Ok((1, 3)));
        assert_eq!(sizes(&[1, 4]), Ok((2, 2)));
        assert_eq!(sizes(&[0, 1, 2, 4]), Ok((1, 2)));
        assert_eq!(sizes(&[1]), Err(RemovalError::Uneven));
    }

    #[test]
    fn what_is_pinned_or_joined_with_it_cannot_go() {
        let mut graph = AxisGraph::new();
        let (a, b) = (graph.param(&[3]), graph.param(&[3]));
        let (x, y) = (graph.dims(a)[0].clone(), graph.dims(b)[0].clone());
        graph.join(&x, &y, false, "added");
        let removal = graph.removal([(member(a, 0), &[1][..])]).unwrap();
        assert_eq!(removal.kept(&y), [0, 2]);
        graph.pin_at(&y, 1, "an output");
        let error = graph.removal([(member(a, 0), &[1][..])]).unwrap_err();
        assert_eq!(error.to_string(), "a position that goes along must stay: an output");
        assert!(graph.removal([(member(a, 0), &[2][..])]).is_ok());
    }
}
