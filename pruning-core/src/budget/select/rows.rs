//! The highest scores of each row: how the units of a layer are selected that compete only within their output unit.

use crate::budget::select::Scores;
use crate::mask::Bits;
use crate::score::{MatrixLayout, rank_key};

/// The rows that are read together: the memory of a column holds the same rows side by side.
const BAND: usize = 32;

/// The highest score that a row loses: what one more unit of its own would keep.
struct Next {
    key: u32,
    row: usize,
    unit: usize,
}

impl Scores<'_> {
    /// Returns a mask of `keep` units in all, or of all that are alive if there are not more, with the same number in each row.
    ///
    /// A row that has fewer units alive keeps them all. The units that are left over go to the rows whose next score is the highest. Ties
    /// go to the lower column, and between rows to the lower row.
    pub(crate) fn keep_highest_of_rows(&self, layout: &MatrixLayout, keep: usize) -> Bits {
        debug_assert_eq!(layout.len(), self.len(), "one unit for each element");
        if let Some(source) = &self.source {
            let kept = Self::held(source, self.alive.as_deref(), |held| held.keep_highest_of_rows(layout, keep));
            return kept.unwrap_or_else(|| Bits::zeros(self.len()));
        }
        if keep >= self.alive_len {
            return self.keep_highest(keep);
        }
        let (each, left) = level(&self.alive_in_rows(layout), keep);
        let mut kept = Bits::zeros(self.len());
        let mut next = Vec::new();
        let mut band: Vec<Vec<(u32, usize)>> = vec![Vec::new(); BAND.min(layout.rows())];
        for first in (0..layout.rows()).step_by(BAND) {
            let rows = first..(first + BAND).min(layout.rows());
            for col in 0..layout.cols() {
                for (row, units) in rows.clone().zip(&mut band) {
                    let unit = layout.flat(row, col);
                    if self.alive.as_deref().is_none_or(|alive| alive.get(unit)) {
                        units.push((rank_key(self.values[unit] * self.factor, self.order), unit));
                    }
                }
            }
            for (row, units) in rows.zip(&mut band) {
                if units.len() > each {
                    // Within a row, a lower index in memory is a lower column.
                    let order = |a: &(u32, usize), b: &(u32, usize)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
                    let (_, &mut (key, unit), _) = units.select_nth_unstable_by(each, order);
                    next.push(Next { key, row, unit });
                    units.truncate(each);
                }
                units.drain(..).for_each(|(_, unit)| kept.set(unit, true));
            }
        }
        next.sort_unstable_by(|a, b| b.key.cmp(&a.key).then(a.row.cmp(&b.row)));
        next.truncate(left);
        next.iter().for_each(|next| kept.set(next.unit, true));
        kept
    }

    fn alive_in_rows(&self, layout: &MatrixLayout) -> Vec<usize> {
        let Some(alive) = self.alive.as_deref() else { return vec![layout.cols(); layout.rows()] };
        let mut counts = vec![0; layout.rows()];
        alive.iter_ones().for_each(|unit| counts[layout.position(unit).0] += 1);
        counts
    }
}

/// Returns how many units every row keeps that has as many, and how many are then left over: fewer than the rows that have more.
fn level(alive: &[usize], keep: usize) -> (usize, usize) {
    let mut alive = alive.to_vec();
    alive.sort_unstable();
    let mut left = keep;
    for (i, &count) in alive.iter().enumerate() {
        let rows = alive.len() - i;
        if left / rows < count {
            return (left / rows, left % rows);
        }
        left -= count;
    }
    (alive.last().copied().unwrap_or(0), 0)
}
