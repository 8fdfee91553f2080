//! The product form: the input unrolled, a line for each output position (im2col), and a [`Plan`].

use crate::conv::shape::{Axis, ConvShape};
use crate::formats::csr::{Indices, NARROW};
use crate::kernels::level::Level;
use crate::kernels::output::Activation;
use crate::kernels::workspace::{PlanId, Workspace};
use crate::{Csr, Element, Plan, Sparse, SparseError};

/// Output positions that are unrolled at a time.
const LINES: usize = 32;

/// A plan for each group.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    axes: [Axis; 2],
    channels: usize,
    plans: Vec<Plan>,
}

impl Product {
    /// Prepares the weights of a matrix whose shape is that of the convolution.
    pub(crate) fn new<T: Element>(
        matrix: &Sparse<T>,
        shape: &ConvShape,
        axes: [Axis; 2],
        batch: usize,
        level: Level,
    ) -> Result<Self, SparseError> {
        let most = batch.saturating_mul(axes[0].output).saturating_mul(axes[1].output).min(LINES);
        let plans = if shape.groups == 1 {
            vec![Plan::with_level(matrix, most, level)?]
        } else {
            let parts = parts(matrix, shape.groups)?;
            let plan = |part: Csr<T>| Plan::with_level(&Sparse::Csr(part), most, level);
            parts.into_iter().map(plan).collect::<Result<_, _>>()?
        };
        Ok(Self { axes, channels: shape.channels, plans })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.plans.iter().map(Plan::bytes).sum()
    }

    /// Creates memory for the lines of a group and their results, and for each plan.
    pub(crate) fn workspace(&self, id: PlanId) -> Workspace {
        let most = |of: fn(&Plan) -> usize| self.plans.iter().map(|p| p.batch() * of(p)).max().unwrap_or(0);
        let parts = self.plans.iter().map(Plan::workspace).collect();
        Workspace::new(id, most(Plan::cols), most(Plan::rows), parts)
    }

    /// Convolves a batch whose slices have the lengths that the plan checked.
    pub(crate) fn run(
        &self,
        workspace: &mut Workspace,
        x: &[f32],
        batch: usize,
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) -> Result<(), SparseError> {
        let [height, width] = self.axes;
        let pixels = height.output * width.output;
        let groups = self.plans.len();
        let channels = self.channels / groups;
        let Workspace { inputs: lines, sums: results, parts, .. } = workspace;
        for (group, (plan, part)) in self.plans.iter().zip(parts).enumerate() {
            let (rows, cols) = (plan.rows(), plan.cols());
            let bias = bias.map(|b| &b[group * rows..][..rows]);
            let all = batch * pixels;
            for first in (0..all).step_by(plan.batch().max(1)) {
                let count = plan.batch().min(all - first);
                for (i, line) in lines.chunks_exact_mut(cols.max(1)).take(count).enumerate() {
                    let (sample, pixel) = ((first + i) / pixels, (first + i) % pixels);
                    let area = height.input * width.input;
                    let x = &x[(sample * self.channels + group * channels) * area..][..channels * area];
                    if channels > 0 {
                        unroll(x, [height, width], [pixel / width.output, pixel % width.output], line);
                    }
                }
                let results = &mut results[..count * rows];
                plan.run_in(part, &lines[..count * cols], count, bias, activation, results)?;
                for (i, values) in results.chunks_exact(rows.max(1)).enumerate() {
                    let (sample, pixel) = ((first + i) / pixels, (first + i) % pixels);
                    let y = &mut y[(sample * groups * rows + group * rows) * pixels..][..rows * pixels];
                    y.chunks_exact_mut(pixels).zip(values).for_each(|(y, &value)| y[pixel] = value);
                }
            }
        }
        Ok(())
    }
}

/// Collects the inputs that the taps of one output position meet, channel after channel.
fn unroll(x: &[f32], [height, width]: [Axis; 2], at: [usize; 2], line: &mut [f32]) {
    let (taps, area) = (height.kernel * width.kernel, height.input * width.input);
    for tap in 0..taps {
        let row = (at[0] * height.stride + height.tap(tap / width.kernel)).checked_sub(height.before);
        let col = (at[1] * width.stride + width.tap(tap % width.kernel)).checked_sub(width.before);
        let to = line[tap..].iter_mut().step_by(taps);
        match row.zip(col) {
            Some((row, col)) if row < height.input && col < width.input => {
                let from = x[row * width.input + col..].iter().step_by(area);
                to.zip(from).for_each(|(to, &from)| *to = from);
            }
            _ => to.for_each(|to| *to = 0.0),
        }
    }
}

/// Returns the rows of each group.
fn parts<T: Element>(matrix: &Sparse<T>, groups: usize) -> Result<Vec<Csr<T>>, SparseError> {
    let rows = matrix.rows() / groups;
    let mut parts = vec![(vec![0u32; rows + 1], Vec::new(), Vec::new()); groups];
    matrix.for_each(|row, col, value| {
        let (starts, indices, values) = &mut parts[row / rows];
        starts[row % rows + 1] += 1;
        indices.push(col as u32);
        values.push(value);
    });
    let csr = |(mut starts, indices, values): (Vec<u32>, Vec<u32>, Vec<T>)| {
        (0..rows).for_each(|row| starts[row + 1] += starts[row]);
        let narrow = matrix.cols() <= NARROW;
        let indices =
            if narrow { Indices::U16(indices.into_iter().map(|i| i as u16).collect()) } else { Indices::U32(indices) };
        Csr::new(rows, matrix.cols(), starts, indices, values)
    };
    parts.into_iter().map(csr).collect()
}
