//! The input in the form that the kernel reads: zeros around it, and every tap at a fixed distance from the output.
//!
//! Output `(i, j)` is position `p = i * pitch + j`. A stride above one splits the padded input into phases, one for each remainder of
//! a coordinate, so that the next output is the next element of its phase: a tap is `offset + p`, whatever the stride. The zeros to
//! the right of a line are those to the left of the next one, so that fewer positions stand between two lines.

use crate::conv::shape::{Axis, ConvShape};
use crate::kernels::workspace::LINE;

/// The place of the input for the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    axes: [Axis; 2],
    phases: [Vec<Phase>; 2],
    /// The distance from a line of outputs to the next.
    pub(crate) pitch: usize,
    /// The distance from a phase of a channel to the next.
    plane: usize,
    /// Whether the kernel reads the input in place, without a copy.
    pub(crate) in_place: bool,
    /// The largest quotient of a tap, for each axis.
    reach: [usize; 2],
}

/// The elements of an axis whose padded coordinates have one remainder by the stride.
#[derive(Clone, Debug)]
struct Phase {
    remainder: usize,
    /// Those that are not padding, and the coordinate of the first of them.
    from: usize,
    to: usize,
    source: usize,
}

impl Phase {
    fn all(axis: &Axis, needed: usize) -> Vec<Self> {
        let mut remainders: Vec<_> = (0..axis.kernel.min(axis.stride)).map(|k| axis.tap(k) % axis.stride).collect();
        remainders.sort_unstable();
        remainders.dedup();
        let phase = |remainder: usize| {
            let at = |coordinate: usize| coordinate.saturating_sub(remainder).div_ceil(axis.stride).min(needed);
            let (from, to) = (at(axis.before), at(axis.before + axis.input));
            Self { remainder, from, to, source: (from * axis.stride + remainder).saturating_sub(axis.before) }
        };
        remainders.into_iter().map(phase).collect()
    }
}

impl Stage {
    /// Creates the stage of a convolution; it needs no copy where the input has the right form already, if that is allowed.
    pub(crate) fn new(axes: [Axis; 2], in_place: bool) -> Self {
        let reach = axes.map(|a| a.tap(a.kernel - 1) / a.stride);
        let needed = [axes[0].output + reach[0], axes[1].output + reach[1]];
        let phases = [Phase::all(&axes[0], needed[0]), Phase::all(&axes[1], needed[1])];
        let as_is = |a: &Axis| a.stride == 1 && a.padded == a.input;
        let in_place = in_place && axes.iter().all(as_is);
        let shared = phases[1].iter().map(|p| p.from.min(needed[1] - p.to)).min().unwrap_or(0).min(reach[1]);
        let pitch = needed[1] - shared;
        // Planes begin on a line of the cache, an odd number of them apart: at powers of two they would share few sets of it.
        let plane = if in_place { axes[0].input * pitch } else { (needed[0] * pitch).div_ceil(LINE) | 1 };
        let plane = if in_place { plane } else { plane * LINE };
        Self { axes, phases, pitch, plane, in_place, reach }
    }

    /// Returns the positions from the first output to the last.
    pub(crate) fn positions(&self) -> usize {
        let [height, width] = self.axes.map(|a| a.output);
        if height == 0 { 0 } else { (height - 1) * self.pitch + width }
    }

    /// Returns the distance from a channel to the next.
    pub(crate) fn channel(&self) -> usize {
        self.plane * self.phases[0].len() * self.phases[1].len()
    }

    /// Returns where a tap of a channel lies for the first output.
    pub(crate) fn offset(&self, channel: usize, tap: [usize; 2]) -> usize {
        let [(i, y), (j, x)] = [0, 1].map(|axis| {
            let at = self.axes[axis].tap(tap[axis]);
            let remainder = at % self.axes[axis].stride;
            let phase = self.phases[axis].iter().position(|p| p.remainder == remainder);
            (phase.unwrap_or(0), at / self.axes[axis].stride)
        });
        (channel * self.phases[0].len() * self.phases[1].len() + i * self.phases[1].len() + j) * self.plane
            + y * self.pitch
            + x
    }

    /// Returns the floats of a channel that a tile of `positions` positions meets.
    pub(crate) fn touched(&self, positions: usize) -> usize {
        let line = positions + self.reach[1];
        let spread = self.reach[0] * self.pitch + line;
        spread.min(self.axes[0].kernel * line) * self.phases[0].len() * self.phases[1].len()
    }

    /// Copies a channel to its place; padding, which is zero, stays.
    pub(crate) fn fill(&self, source: &[f32], channel: &mut [f32]) {
        let [height, width] = &self.axes;
        if self.pitch == width.input && self.axes.iter().all(|a| a.stride == 1 && a.padded == a.input) {
            channel[..source.len()].copy_from_slice(source);
            return;
        }
        let mut planes = channel.chunks_exact_mut(self.plane);
        for rows in &self.phases[0] {
            for cols in &self.phases[1] {
                let Some(plane) = planes.next() else { return };
                let len = cols.to.saturating_sub(cols.from);
                if len == 0 {
                    continue;
                }
                for i in rows.from..rows.to {
                    let y = rows.source + (i - rows.from) * height.stride;
                    let line = &source[y * width.input..][cols.source..width.input];
                    let to = &mut plane[i * self.pitch + cols.from..][..len];
                    if width.stride == 1 {
                        to.copy_from_slice(&line[..len]);
                    } else {
                        to.iter_mut().zip(line.iter().step_by(width.stride)).for_each(|(to, &from)| *to = from);
                    }
                }
            }
        }
    }
}

impl ConvShape {
    /// Elements of a channel of the input.
    pub(crate) fn area(&self) -> usize {
        self.input[0] * self.input[1]
    }
}
