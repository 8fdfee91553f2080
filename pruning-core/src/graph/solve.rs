//! Solving the graph: from joined labels to groups of units that are removed together.

use crate::graph::{AxisGraph, Dim, Label, Labels, ParamIndex, Split};
use std::collections::{HashMap, HashSet};

/// The factor of a split axis that is left free where both could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The outermost factor: whole heads, whole groups of a convolution.
    Outer,
    /// The innermost factor: the same positions of every head or group.
    Inner,
}

/// An axis of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The parameter.
    pub param: ParamIndex,
    /// The axis of the parameter.
    pub axis: usize,
}

/// A unit of removal: positions along the axes of the group's members that are removed together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unit {
    /// The label of the set.
    pub label: Label,
    /// The positions along each member of the group, ascending.
    pub positions: Vec<Vec<usize>>,
}

/// A group of units that lie on the same axes, and so compete with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The axes, sorted.
    pub members: Vec<Member>,
    /// The units, in the order of their first position.
    pub units: Vec<Unit>,
    /// Whether the units are factors of a split axis, such as heads.
    pub split: bool,
}

/// An axis of a parameter that keeps all or some of its positions for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pinned {
    /// The axis.
    pub member: Member,
    /// The number of its positions that stay.
    pub positions: usize,
    /// The reason why the first of them stays.
    pub why: String,
}

/// The solution of a dependency graph: groups of units, and what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Groups {
    /// The groups, by their first member.
    pub groups: Vec<Group>,
    /// The axes that stay, with reasons, by parameter and axis.
    pub pinned: Vec<Pinned>,
    /// The set of each label, for [`set_of`](Self::set_of).
    sets: Vec<Label>,
    /// Of each label, 0 or one more than the index of the reason why it stays.
    stays: Vec<u32>,
    reasons: Vec<String>,
}

impl Groups {
    /// Returns the set to which a label belongs: the [`Unit::label`] of its unit, if it has one.
    #[must_use]
    pub fn set_of(&self, label: Label) -> Label {
        self.sets[label as usize]
    }

    /// Returns the reason why a label stays; `None` for a label that can be removed.
    #[must_use]
    pub fn why(&self, label: Label) -> Option<&str> {
        let reason = self.stays.get(label as usize)?.checked_sub(1)?;
        self.reasons.get(reason as usize).map(String::as_str)
    }
}

/// Returns the coordinates of an entry of a split axis: factor, position along it, label.
pub(super) fn coordinates(split: &Split, entry: usize) -> impl Iterator<Item = (usize, usize, Label)> + '_ {
    let mut inner: usize = split.factors.iter().map(|f| f.len()).product();
    split.factors.iter().enumerate().map(move |(k, factor)| {
        inner /= factor.len();
        let position = entry / inner % factor.len();
        (k, position, factor[position])
    })
}

/// The positions of a unit along one axis.
type Part = (Member, Vec<usize>);

struct Solver {
    labels: Labels,
    /// Splits with two free factors or more.
    open: Vec<usize>,
}

impl Solver {
    /// Pins what follows from pinned positions, and joins the rest of a split with its only free factor.
    fn settle(&mut self, splits: &[Split]) {
        let mut joined = true;
        while joined {
            joined = false;
            let mut open = std::mem::take(&mut self.open);
            open.retain(|&s| {
                self.spread(&splits[s]);
                let factors = &splits[s].factors;
                let free: Vec<_> =
                    (0..factors.len()).filter(|&k| factors[k].iter().any(|&l| self.labels.pinned(l) == 0)).collect();
                if free.len() > 1 {
                    return true;
                }
                if let [k] = free[..] {
                    for (entry, &whole) in splits[s].whole.iter().enumerate() {
                        let factor = coordinates(&splits[s], entry).nth(k);
                        factor.into_iter().for_each(|(_, _, f)| self.labels.join(whole, f));
                    }
                }
                joined = true;
                false
            });
            self.open = open;
        }
    }

    /// An entry that stays keeps its position in every factor; one whose positions all stay does too.
    fn spread(&mut self, split: &Split) {
        let mut changed = true;
        while changed {
            changed = false;
            for (entry, &whole) in split.whole.iter().enumerate() {
                let pinned = self.labels.pinned(whole);
                if pinned != 0 {
                    for (_, _, label) in coordinates(split, entry) {
                        changed |= self.labels.pinned(label) == 0;
                        self.labels.pin(label, pinned);
                    }
                    continue;
                }
                let mut reason = 0;
                let stays = coordinates(split, entry).all(|(_, _, l)| {
                    reason = self.labels.pinned(l);
                    reason != 0
                });
                if stays {
                    self.labels.pin(whole, reason);
                }
            }
        }
    }
}

impl AxisGraph {
    /// Solves the graph: finds which sets of positions can be removed, and what stays.
    #[must_use]
    pub fn solve(&self, prefer: Factor) -> Groups {
        let mut flipped: Vec<usize> = Vec::new();
        loop {
            let mut solver = Solver { labels: self.labels.clone(), open: (0..self.splits.len()).collect() };
            let mut chosen = Vec::new();
            solver.settle(&self.splits);
            while let Some(&s) = solver.open.first() {
                chosen.push(s);
                let outer = (prefer == Factor::Outer) != flipped.contains(&s);
                self.choose(&mut solver, s, outer);
                solver.settle(&self.splits);
            }
            let stuck =
                |s: &usize, solver: &mut Solver| self.splits[*s].whole.iter().all(|&l| solver.labels.pinned(l) != 0);
            let failed: Vec<_> = chosen.into_iter().filter(|s| !flipped.contains(s) && stuck(s, &mut solver)).collect();
            if failed.is_empty() {
                return self.collect(solver.labels);
            }
            flipped.extend(failed);
        }
    }

    /// Leaves one factor of a split free, the outermost or innermost that still is.
    fn choose(&self, solver: &mut Solver, s: usize, outer: bool) {
        let factors = &self.splits[s].factors;
        let mut free: Vec<_> =
            (0..factors.len()).filter(|&k| factors[k].iter().any(|&l| solver.labels.pinned(l) == 0)).collect();
        if outer {
            free.reverse();
        }
        free.pop();
        let reason = solver.labels.reason("the other factor of a split axis is free");
        for k in free {
            factors[k].iter().for_each(|&l| solver.labels.pin(l, reason));
        }
    }

    fn collect(&self, mut labels: Labels) -> Groups {
        let mut unit_of: Vec<u32> = vec![u32::MAX; labels.len()];
        let mut units: Vec<(Label, Vec<Part>)> = Vec::new();
        let mut pinned = Vec::new();
        for (param, dims) in self.params.iter().enumerate() {
            for (axis, dim) in dims.iter().enumerate() {
                let member = Member { param, axis };
                let Dim::Free { labels: axis_labels, .. } = dim else { continue };
                let (mut stay, mut why) = (0, 0);
                for (position, &label) in axis_labels.iter().enumerate() {
                    let reason = labels.pinned(label);
                    if reason != 0 {
                        stay += 1;
                        why = if why == 0 { reason } else { why };
                        continue;
                    }
                    let root = labels.root(label);
                    let unit = &mut unit_of[root as usize];
                    if *unit == u32::MAX {
                        *unit = units.len() as u32;
                        units.push((root, Vec::new()));
                    }
                    let parts = &mut units[*unit as usize].1;
                    match parts.last_mut() {
                        Some((m, positions)) if *m == member => positions.push(position),
                        _ => parts.push((member, vec![position])),
                    }
                }
                if stay > 0 {
                    pinned.push(Pinned { member, positions: stay, why: labels.why(why).to_string() });
                }
            }
        }
        let factors = self.factor_sets(&mut labels);
        let mut index: HashMap<Vec<Member>, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let mut group = 0;
        for (label, parts) in units {
            let (members, positions): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            // Neighbors are of one group, nearly always.
            if groups.get(group).is_none_or(|g| g.members != members) {
                group = *index.entry(members).or_insert_with_key(|members| {
                    let (members, split) = (members.clone(), factors.contains(&label));
                    groups.push(Group { members, units: Vec::new(), split });
                    groups.len() - 1
                });
            }
            groups[group].units.push(Unit { label, positions });
        }
        groups.sort_by(|a, b| a.members.cmp(&b.members));
        let sets = (0..labels.len() as Label).map(|l| labels.root(l)).collect();
        let stays = (0..labels.len() as Label).map(|l| labels.pinned(l)).collect();
        Groups { groups, pinned, sets, stays, reasons: labels.into_reasons() }
    }

    /// Sets that are positions of a factor of a split axis.
    fn factor_sets(&self, labels: &mut Labels) -> HashSet<Label> {
        self.splits.iter().flat_map(|s| &s.factors).flat_map(|f| f.iter()).map(|&l| labels.root(l)).collect()
    }
}

#[cfg(test)]
mod tests;
