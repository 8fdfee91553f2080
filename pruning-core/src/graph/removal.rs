//! The positions that are removed along with given positions: [`AxisGraph::removal`].

use crate::graph::solve::coordinates;
use crate::graph::{AxisGraph, Dim, Label, Member};

/// The positions on every axis of a graph that are removed because given positions of its parameters are.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Whether a position is removed, by label.
    gone: Vec<bool>,
}

/// An error for positions that cannot be removed together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// A position that must stay would be removed too.
    #[error("a position that must stay would be removed too: {why}")]
    Pinned {
        /// The reason why it must stay.
        why: String,
    },
    /// The entries of a split axis that would be removed are neither whole parts nor the same positions of each part.
    #[error("the removed entries are neither whole heads (or groups) nor the same positions of each")]
    Uneven,
}

impl Removal {
    /// Returns whether the position with this label is removed.
    #[must_use]
    pub fn takes(&self, label: Label) -> bool {
        self.gone[label as usize]
    }

    /// Returns the number of positions of an axis that stay.
    #[must_use]
    pub fn left(&self, dim: &Dim) -> usize {
        match dim {
            Dim::Fixed(size) => *size,
            Dim::Free { labels, .. } => labels.iter().filter(|&&l| !self.takes(l)).count(),
        }
    }

    /// Returns the positions of an axis that stay, in ascending order.
    #[must_use]
    pub fn kept(&self, dim: &Dim) -> Vec<usize> {
        match dim {
            Dim::Fixed(size) => (0..*size).collect(),
            Dim::Free { labels, .. } => (0..labels.len()).filter(|&p| !self.takes(labels[p])).collect(),
        }
    }
}

impl AxisGraph {
    /// Follows the removal of some positions of parameters through the graph.
    ///
    /// Positions that are joined with them are removed too, and split or merged axes lose their parts accordingly.
    ///
    /// This function makes no choice, unlike [`solve`](Self::solve): the given positions decide.
    ///
    /// # Errors
    /// A pinned position would be removed, or a split axis would not lose whole parts.
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
        assert_eq!(error.to_string(), "a position that must stay would be removed too: an output");
        assert!(graph.removal([(member(a, 0), &[2][..])]).is_ok());
    }
}
