//! Where the units of a granularity lie in memory: [`Band`].

use crate::mask::Bits;
use crate::score::MatrixLayout;
use crate::score::granularity::{Axis, Granularity};
use std::ops::Range;

/// A band of memory lines, one after the other, that pass through the same units at the same places.
///
/// What is the same for all lines is computed once for each band; the rest is read straight through memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band<'a> {
    /// Memory index of the first line.
    pub(crate) start: usize,
    /// Lines in the band.
    pub(crate) lines: usize,
    /// Elements of a line.
    pub(crate) len: usize,
    // A line begins so far into its first unit, and each unit is so wide in it.
    skip: usize,
    width: usize,
    // The first unit, and how far the number of the next one is.
    unit: usize,
    step: usize,
    // The units of a line one by one, where they have no such pattern.
    runs: Option<&'a [Run]>,
}

/// A unit and the places that it takes in a line.
pub(crate) type Run = (usize, Range<usize>);

impl<'a> Band<'a> {
    /// Creates a band of these runs.
    pub(crate) fn of_runs(lines: usize, len: usize, runs: &'a [Run]) -> Self {
        Self { start: 0, lines, len, skip: 0, width: 1, unit: 0, step: 0, runs: Some(runs) }
    }

    /// Returns the memory index of each line.
    pub(crate) fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.lines).map(move |line| self.start + line * self.len)
    }

    /// Adds the units of which at least one of these elements is set.
    pub(crate) fn alive(self, elements: &Bits, units: &mut Bits) {
        let mut line = Bits::zeros(self.len);
        self.starts().for_each(|start| line.unite(elements, start));
        for (unit, _) in self.segments().filter(|(_, segment)| line.any(segment.clone())) {
            units.set(unit, true);
        }
    }

    /// Returns the units of a line in order, with the places that they take.
    #[inline(always)]
    pub(crate) fn segments(self) -> impl Iterator<Item = Run> + 'a {
        let Self { len, skip, width, unit, step, runs, .. } = self;
        let segment = move |k: usize| (k * width).saturating_sub(skip)..(width - skip + k * width).min(len);
        let count = runs.map_or((skip + len).div_ceil(width), <[Run]>::len);
        (0..count).map(move |k| runs.map_or_else(|| (unit + k * step, segment(k)), |runs| runs[k].clone()))
    }
}

impl Granularity {
    /// Returns all elements of a parameter, in memory order. A unit may be in several bands.
    pub(crate) fn bands<'a>(self, layout: &MatrixLayout) -> impl Iterator<Item = Band<'a>> {
        let layout = *layout;
        let (outer, rows, inner) = (layout.outer(), layout.rows(), layout.inner());
        let columns = (outer, rows * inner);
        let runs = (rows, inner);
        // Lines of a plane with their length; how many make a band; how wide a unit is in them; how far the number of the next one is.
        let this = self.in_layout(&layout);
        let ((lines, len), height, width, step) = match this {
            // Heads are blocks by now.
            Self::Element | Self::Nm { .. } | Self::Head { .. } => ((1, layout.len()), 1, 1, 1),
            Self::Channel { axis: Axis::Output } => (columns, outer, inner, 1),
            // The kernel comes last in memory, so that all weights are lines along its axis.
            Self::Kernel { axis } => {
                let (size, stride) = layout.along_kernel(axis);
                let lines = layout.len() / (size * stride);
                ((lines, size * stride), lines, stride, 1)
            }
            Self::Channel { axis: Axis::Input } if inner == layout.kernel() => (columns, 1, rows * inner, 1),
            Self::Channel { axis: Axis::Input } => (runs, rows, layout.kernel(), 1),
            // Whole rows and whole columns, such as heads, in the lines of an axis of the parameter.
            Self::Block { rows, cols } if cols >= layout.cols() => (columns, outer, rows.saturating_mul(inner), 1),
            Self::Block { rows: all, cols } if all >= rows && cols.is_multiple_of(inner) => {
                ((1, layout.len()), 1, (cols / inner).saturating_mul(rows * inner), 1)
            }
            Self::Block { rows, cols } if inner == 1 => (columns, cols, rows, layout.cols().div_ceil(cols)),
            Self::Block { rows, cols } => (runs, rows, cols, 1),
        };
        let planes = if layout.is_empty() { 0 } else { layout.len() / (lines * len) };
        (0..planes).flat_map(move |plane| {
            (0..lines).step_by(height.max(1)).map(move |line| {
                let start = (plane * lines + line) * len;
                let (row, col) = layout.position(start);
                let unit = self.unit(&layout, row, col);
                let skip = plane * inner % width;
                Band { start, lines: height.min(lines - line), len, skip, width, unit, step, runs: None }
            })
        })
    }
}
