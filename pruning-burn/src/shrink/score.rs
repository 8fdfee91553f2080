//! Scores of units that lie on several axes of several parameters.

use crate::host::Numbers;
use crate::layers::Layer;
use crate::shrink::groups::Solved;
use pruning_core::graph::{Group, Member};
use pruning_core::mask::Bits;
use pruning_core::score::{Order, Reduction};

/// How element scores gather into unit scores.
struct Gather {
    reduction: Reduction,
    order: Order,
    sums: Vec<f64>,
    counts: Vec<usize>,
}

impl Gather {
    fn element(&self, score: f32) -> f64 {
        let score = f64::from(score);
        let score = if self.order == Order::Absolute { score.abs() } else { score };
        match self.reduction {
            Reduction::Norm(p) if p.value() == 1.0 => score.abs(),
            Reduction::Norm(p) if p.value() == 2.0 => score * score,
            Reduction::Norm(p) if p.value().is_finite() => score.abs().powf(p.value()),
            Reduction::Norm(_) => score.abs(),
            _ => score,
        }
    }

    fn largest(&self) -> bool {
        matches!(self.reduction, Reduction::Max)
            || matches!(self.reduction, Reduction::Norm(p) if p.value().is_infinite())
    }

    /// Entries `[outer, axis, inner]` of one parameter, `unit` saying which unit a position of the axis belongs to.
    fn add(&mut self, scores: &[f32], unit: &[u32], inner: usize) {
        let largest = self.largest();
        let axis = unit.len();
        if axis == 0 || inner == 0 {
            return;
        }
        // Partial sums by position, so that units are looked up once.
        let start = if largest { f64::NEG_INFINITY } else { 0.0 };
        let mut at = vec![start; axis];
        let absolute = self.order == Order::Absolute;
        match self.reduction {
            _ if largest => {
                for (row, run) in scores.chunks_exact(inner).enumerate() {
                    let here = &mut at[row % axis];
                    *here = run.iter().fold(*here, |m, &s| m.max(self.element(s)));
                }
            }
            // The usual ones, with nothing left to decide for each element.
            Reduction::Norm(p) if p.value() == 2.0 => sums(scores, &mut at, inner, |s| s * s),
            Reduction::Norm(p) if p.value() == 1.0 => sums(scores, &mut at, inner, f64::abs),
            Reduction::Sum | Reduction::Mean if absolute => sums(scores, &mut at, inner, f64::abs),
            Reduction::Sum | Reduction::Mean => sums(scores, &mut at, inner, |s| s),
            _ => {
                for (row, run) in scores.chunks_exact(inner).enumerate() {
                    at[row % axis] += run.iter().map(|&s| self.element(s)).sum::<f64>();
                }
            }
        }
        let each = scores.len() / axis;
        for (&unit, value) in unit.iter().zip(at).filter(|(u, _)| **u != u32::MAX) {
            let sum = &mut self.sums[unit as usize];
            *sum = if largest { sum.max(value) } else { *sum + value };
            self.counts[unit as usize] += each;
        }
    }

    fn finish(self) -> Vec<f32> {
        let done = |(sum, count): (f64, usize)| match self.reduction {
            Reduction::Mean => sum / count.max(1) as f64,
            Reduction::Norm(p) if p.value().is_finite() && p.value() != 1.0 => sum.powf(1.0 / p.value()),
            _ => sum,
        };
        // The largest numbers of a unit may add up past what a 32-bit float holds.
        let limit = |score: f64| (score.clamp(f64::from(f32::MIN), f64::from(f32::MAX))) as f32;
        self.sums.into_iter().zip(self.counts).map(done).map(limit).collect()
    }
}

/// Adds up runs of `inner` entries, one after the other for each position of the axis and again from the first one.
fn sums(scores: &[f32], at: &mut [f64], inner: usize, of: impl Fn(f64) -> f64 + Copy) {
    for block in scores.chunks_exact(at.len() * inner) {
        if inner == 1 {
            at.iter_mut().zip(block).for_each(|(sum, &s)| *sum += of(f64::from(s)));
        } else {
            at.iter_mut().zip(block.chunks_exact(inner)).for_each(|(sum, run)| *sum += sum_of(run, of));
        }
    }
}

/// A sum in lanes, which need not wait for each other.
fn sum_of(run: &[f32], of: impl Fn(f64) -> f64 + Copy) -> f64 {
    let (chunks, rest) = run.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &s)| *lane += of(f64::from(s)));
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&s| of(f64::from(s))).sum::<f64>()
}

/// A parameter with a score for each element.
pub(crate) struct Scored {
    /// Index of the layer.
    pub(crate) layer: usize,
    /// In memory order.
    pub(crate) scores: Numbers,
    /// What its mask keeps, if it carries one.
    pub(crate) mask: Option<Bits>,
}

/// One score for each unit of a group: the reduction of all its elements in the scored parameters, along the axes that count.
pub(crate) fn unit_scores(
    solved: &Solved<'_>,
    group: &Group,
    counts: impl Fn(&Member) -> bool,
    all: &[Layer],
    scored: &[Scored],
    (reduction, order): (Reduction, Order),
) -> Vec<f32> {
    let largest = Gather { reduction, order, sums: Vec::new(), counts: Vec::new() }.largest();
    let start = if largest { f64::NEG_INFINITY } else { 0.0 };
    let units = group.units.len();
    let mut gather = Gather { reduction, order, sums: vec![start; units], counts: vec![0; units] };
    for (m, member) in group.members.iter().enumerate().filter(|(_, member)| counts(member)) {
        let path = solved.path(member.param);
        let Some(found) = scored.iter().find(|s| all[s.layer].path == path) else { continue };
        let shape = &all[found.layer].shape;
        let unit = units_along(group, m, shape[member.axis]);
        gather.add(found.scores.as_slice(), &unit, shape[member.axis + 1..].iter().product());
    }
    gather.finish()
}

/// The unit of each position of a member's axis; `u32::MAX` for those of none.
pub(crate) fn units_along(group: &Group, member: usize, size: usize) -> Vec<u32> {
    let mut unit = vec![u32::MAX; size];
    for (u, found) in group.units.iter().enumerate() {
        found.positions[member].iter().for_each(|&p| unit[p] = u as u32);
    }
    unit
}

/// Units of which something is left: those that keep an entry in one of the masked parameters, or lie in none.
pub(crate) fn alive_units(group: &Group, masked: &[(usize, &[usize], &Bits)]) -> Option<Bits> {
    if masked.is_empty() {
        return None;
    }
    let mut alive = vec![false; group.units.len()];
    for &(m, shape, bits) in masked {
        let axis = group.members[m].axis;
        let unit = units_along(group, m, shape[axis]);
        let inner: usize = shape[axis + 1..].iter().product();
        for entry in bits.iter_ones() {
            let u = unit[entry / inner % shape[axis]];
            if u != u32::MAX {
                alive[u as usize] = true;
            }
        }
    }
    Some(Bits::from_bools(&alive))
}
