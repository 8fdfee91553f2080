use crate::factor::inverse_factor;
use crate::hessian::{DAMP, check_block, check_damp, damped, singular};
use crate::sweep::{Choose, sweep};
use pruning_core::mask::Bits;
use pruning_core::plugin::Plugin;
use pruning_core::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError, dead_columns};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The weights whose removal costs least go, block of columns by block, and those of later columns make up for them (SparseGPT).
///
/// With `H` the Gram matrix plus `damp * mean(diagonal)` on its diagonal, and `U` upper triangular with `U^T U = H^-1`, the columns are
/// swept in order. At the first column of a block, its weights of the lowest `w^2 / U_jj^2` over all rows are removed, by the weights as they
/// are by then; each removed weight `w` of column `j` adds `-w / U_jj * U_jk` to the weights of all columns `k > j` in its row. A pattern of
/// n:m is chosen in each row at every m-th column.
///
/// It keeps as many weights of the layer as the criterion's mask; of the criterion nothing else counts. Every block loses the same fraction.
///
/// # Shapes
/// Any; for n:m, `m` divides the columns.
///
/// # Needs
/// The Gram matrix of the inputs.
///
/// # Config
/// - `damp`: the damping, as a fraction of the mean of the diagonal, at least 0; default 0.1. More is better for few rows of calibration.
/// - `block`: the number of columns that are chosen and updated together, at least 1; default 128. For n:m it is rounded up to a multiple of
///   m, and changes the result by rounding alone.
///
/// ```
/// use pruning_core::mask::Bits;
/// use pruning_core::plugin::Plugins;
/// use pruning_core::reconstruct::{LayerProblem, Reconstruction, reconstruct};
/// # let mut plugins = Plugins::empty();
/// # pruning_reconstruction::register(&mut plugins);
/// let sparsegpt = plugins.build::<dyn Reconstruction>("sparsegpt", serde_json::json!({ "damp": 0.0 }))?;
/// // One of two weights is to go. The first costs 3/4 and the second, whose input is larger, 4.
/// let half = Bits::from_bools(&[true, false]);
/// let layer = LayerProblem::new("fc.weight", 1, 2, &[1.0, 1.0], &half, &[1.0, 1.0, 1.0, 4.0]);
/// let new = reconstruct(&*sparsegpt, &layer)?;
/// assert_eq!(new.keep, Some(Bits::from_bools(&[false, true])));
/// assert!((new.weight[1] - 1.25).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' `sparsegpt.py`, which finds a threshold by a sort and so removes one weight too many of some blocks; here counts are exact,
/// and ties go to the lower index. A column that was always zero there counts with a diagonal of 1 in the mean of the damping, and not at
/// all here; its weights go first, over all blocks. Their `percdamp` is 0.01.
///
/// # Errors
/// The damped Gram matrix is not positive definite.
///
/// # References
/// Elias Frantar, Dan Alistarh, "SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot", 2023, arXiv:2301.00774,
/// section 3 and algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SparseGpt {
    /// The damping, as a fraction of the mean of the diagonal.
    pub damp: f64,
    /// The number of columns that are chosen and updated together.
    pub block: usize,
}

impl Default for SparseGpt {
    fn default() -> Self {
        Self { damp: DAMP, block: 128 }
    }
}

impl Plugin for SparseGpt {
    const NAME: &'static str = "sparsegpt";
    const SUMMARY: &'static str = "The weights whose removal costs least go, block of columns by block, and those of later columns make up for them (SparseGPT).";
    const REFERENCES: &'static [&'static str] = &["Frantar & Alistarh 2023, arXiv:2301.00774"];

    fn validate(&self) -> Result<(), String> {
        check_damp(self.damp)?;
        check_block(self.block)
    }
}

impl Reconstruction for SparseGpt {
    fn chooses(&self) -> bool {
        true
    }

    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
        let cols = layer.cols;
        let hessian = damped(layer, self.damp, None);
        let factor = inverse_factor(hessian, cols).map_err(|column| singular(layer, self.damp, column))?;
        let cost = Cost::new(layer, &factor);
        let mut weight = layer.weight.to_vec();
        let mut keep = layer.alive.map_or_else(|| vec![true; weight.len()], Bits::to_bools);
        match layer.pattern {
            Some((n, m)) => {
                // A group is chosen from weights that are up to date: it must not go over the end of a block.
                let block = self.block.min(cols).next_multiple_of(m);
                sweep(&mut weight, &mut keep, (&factor, cols), block, &Groups { cost, n, m });
            }
            None => {
                let lowest = Lowest::new(layer, cost, &keep);
                sweep(&mut weight, &mut keep, (&factor, cols), self.block, &lowest);
            }
        }
        Ok(Reconstructed::new(weight).with_keep(Bits::from_bools(&keep)))
    }
}

/// What the removal of a weight costs: `w^2 / U_jj^2`, and less than nothing in a dead column.
struct Cost {
    scale: Vec<f64>,
    dead: Vec<bool>,
}

impl Cost {
    fn new(layer: &LayerProblem<'_>, factor: &[f64]) -> Self {
        let mut dead = vec![false; layer.cols];
        dead_columns(layer.gram, layer.cols).into_iter().for_each(|column| dead[column] = true);
        Self { scale: (0..layer.cols).map(|c| factor[c * layer.cols + c].powi(2).recip()).collect(), dead }
    }

    fn of(&self, column: usize, weight: f64) -> f64 {
        if self.dead[column] { -1.0 } else { weight * weight * self.scale[column] }
    }
}

/// Of each block the lowest costs over all rows.
struct Lowest {
    cost: Cost,
    /// The number of weights to remove before each column, of those that no earlier pruning removed.
    removed_before: Vec<usize>,
}

impl Lowest {
    fn new(layer: &LayerProblem<'_>, cost: Cost, alive: &[bool]) -> Self {
        let cols = layer.cols;
        // Of each column, in live and in dead columns.
        let mut counts = vec![[0; 2]; cols];
        for row in alive.chunks_exact(cols) {
            (0..cols).filter(|&c| row[c]).for_each(|c| counts[c][usize::from(cost.dead[c])] += 1);
        }
        let [live, dead] = counts.iter().fold([0, 0], |sum, count| [sum[0] + count[0], sum[1] + count[1]]);
        let remove = live + dead - layer.keep.count_ones();
        let from_dead = remove.min(dead);
        let mut before = [0; 2];
        let removed_before = counts.iter().chain([&[0; 2]]).map(|count| {
            let removed = share(remove - from_dead, before[0], live) + share(from_dead, before[1], dead);
            before = [before[0] + count[0], before[1] + count[1]];
            removed
        });
        Self { removed_before: removed_before.collect(), cost }
    }
}

/// Returns `total * part / whole`, rounded. Differences between growing parts never exceed those of the parts.
fn share(total: usize, part: usize, whole: usize) -> usize {
    // The product of two counts of weights can exceed 64 bits. The result is at most `total`.
    let (total, part, whole) = (total as u128, part as u128, whole.max(1) as u128);
    ((2 * total * part + whole) / (2 * whole)) as usize
}

impl Choose for Lowest {
    fn block(&self, columns: Range<usize>, weight: &[f64], keep: &mut [bool]) {
        let remove = self.removed_before[columns.end] - self.removed_before[columns.start];
        if remove == 0 {
            return;
        }
        let cols = self.cost.dead.len();
        let places =
            (0..keep.len() / cols).flat_map(|row| columns.clone().map(move |column| (row * cols + column, column)));
        let mut costs: Vec<_> =
            places.filter(|(i, _)| keep[*i]).map(|(i, column)| (self.cost.of(column, weight[i]), i)).collect();
        // Of equal costs, the lower index stays.
        costs.select_nth_unstable_by(remove - 1, |a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        costs[..remove].iter().for_each(|(_, i)| keep[*i] = false);
    }
}

/// Of every `m` columns of a row, all but the `n` highest costs.
struct Groups {
    cost: Cost,
    n: usize,
    m: usize,
}

impl Choose for Groups {
    fn column(&self, column: usize, weight: &[f64], keep: &mut [bool]) {
        if !column.is_multiple_of(self.m) {
            return;
        }
        let mut alive: Vec<_> = (column..column + self.m).filter(|&c| keep[c]).collect();
        // Stable: of equal costs, the lower column stays.
        alive.sort_by(|&a, &b| self.cost.of(b, weight[b]).total_cmp(&self.cost.of(a, weight[a])));
        alive.iter().skip(self.n).for_each(|&c| keep[c] = false);
    }
}

pruning_core::register_reconstruction!(SparseGpt);
