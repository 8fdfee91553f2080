//! Where the units of a granularity lie in memory: [`Band`].

use crate::score::MatrixLayout;
use crate::score::granularity::{Axis, Granularity};
use std::ops::Range;

/// Lines of memory, one after the other, that pass through the same units at the same places.
///
/// What is the same for all lines is done once for each band, and what differs straight through memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
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
}

impl Band {
    /// Memory index of each line.
    pub(crate) fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.lines).map(move |line| self.start + line * self.len)
    }

    /// The units of a line, in order, with the places they take.
    #[inline(always)]
    pub(crate) fn segments(self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let Self { len, skip, width, unit, step, .. } = self;
        let segment = move |k: usize| (k * width).saturating_sub(skip)..(width - skip + k * width).min(len);
        (0..(skip + len).div_ceil(width)).map(move |k| (unit + k * step, segment(k)))
    }
}

impl Granularity {
    /// All elements of a parameter, in memory order. A unit may be in several bands.
    pub(crate) fn bands(self, layout: &MatrixLayout) -> impl Iterator<Item = Band> {
        let layout = *layout;
        let (outer, rows, inner) = (layout.outer(), layout.rows(), layout.inner());
        let columns = (outer, rows * inner);
        let runs = (rows, inner);
        // Lines of a plane with their length; how many make a band; how wide a unit is in them.
        let this = self.in_layout(&layout);
        let ((lines, len), height, width) = match this {
            // Heads are blocks by now.
            Self::Element | Self::Nm { .. } | Self::Head { .. } => ((1, layout.len()), 1, 1),
            Self::Channel { axis: Axis::Output } => (columns, outer, inner),
            Self::Channel { axis: Axis::Input } if inner == layout.kernel() => (columns, 1, rows * inner),
            Self::Channel { axis: Axis::Input } => (runs, rows, layout.kernel()),
            Self::Block { rows, cols } if inner == 1 => (columns, cols, rows),
            Self::Block { rows, cols } => (runs, rows, cols),
        };
        let step = match this {
            Self::Block { cols, .. } if inner == 1 => layout.cols().div_ceil(cols),
            _ => 1,
        };
        let planes = if layout.is_empty() { 0 } else { layout.len() / (lines * len) };
        (0..planes).flat_map(move |plane| {
            (0..lines).step_by(height.max(1)).map(move |line| {
                let start = (plane * lines + line) * len;
                let (row, col) = layout.position(start);
                let unit = self.unit(&layout, row, col);
                Band { start, lines: height.min(lines - line), len, skip: plane * inner % width, width, unit, step }
            })
        })
    }
}
