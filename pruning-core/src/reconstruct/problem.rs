//! One layer to reconstruct: [`LayerProblem`].

use crate::mask::Bits;
use crate::reconstruct::ReconstructionError;

/// A layer that is pruned, as a reconstruction sees it: a matrix, rows = output units, columns = fan-in.
///
/// Matrices are row by row. A grouped convolution is one problem for each group.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LayerProblem<'a> {
    /// The path of the weight, for errors.
    pub path: &'a str,
    /// The number of output units.
    pub rows: usize,
    /// The fan-in.
    pub cols: usize,
    /// The weights `[rows, cols]` before this pruning.
    pub weight: &'a [f64],
    /// The weights `[rows, cols]` that the pruning keeps. Whole rows and columns may be gone.
    pub keep: &'a Bits,
    /// The weights `[rows, cols]` that no earlier pruning removed; `None` if nothing was pruned before.
    ///
    /// A reconstruction that chooses may choose from these.
    pub alive: Option<&'a Bits>,
    /// The pattern `(n, m)` of a reconstruction that chooses: `n` of every `m` consecutive columns stay, and `m` divides `cols`.
    pub pattern: Option<(usize, usize)>,
    /// The Gram matrix `[cols, cols]` of the inputs: the sum of `x x^T` over the rows of the calibration, divided by their number.
    pub gram: &'a [f64],
    /// The mean `[cols]` of the inputs.
    pub mean: Option<&'a [f64]>,
    /// The biases `[rows]`; `None` for a layer without.
    pub bias: Option<&'a [f64]>,
}

impl<'a> LayerProblem<'a> {
    /// Creates a problem of which nothing was pruned before, without pattern, mean and bias.
    #[must_use]
    pub fn new(path: &'a str, rows: usize, cols: usize, weight: &'a [f64], keep: &'a Bits, gram: &'a [f64]) -> Self {
        Self { path, rows, cols, weight, keep, alive: None, pattern: None, gram, mean: None, bias: None }
    }

    /// Sets the weights that no earlier pruning removed.
    #[must_use]
    pub fn with_alive(mut self, alive: Option<&'a Bits>) -> Self {
        self.alive = alive;
        self
    }

    /// Sets the pattern `(n, m)` of a reconstruction that chooses.
    #[must_use]
    pub fn with_pattern(mut self, pattern: Option<(usize, usize)>) -> Self {
        self.pattern = pattern;
        self
    }

    /// Sets the mean of the inputs.
    #[must_use]
    pub fn with_mean(mut self, mean: Option<&'a [f64]>) -> Self {
        self.mean = mean;
        self
    }

    /// Sets the biases.
    #[must_use]
    pub fn with_bias(mut self, bias: Option<&'a [f64]>) -> Self {
        self.bias = bias;
        self
    }

    /// Checks lengths and numbers, so that a reconstruction can rely on them.
    pub(crate) fn check(&self) -> Result<(), ReconstructionError> {
        let path = || self.path.to_string();
        let (rows, cols) = (self.rows, self.cols);
        let sized = |what, expected: Option<usize>, found: usize| match expected {
            Some(expected) if expected == found => Ok(()),
            _ => Err(ReconstructionError::Shape { path: path(), what, rows, cols, found }),
        };
        let len = rows.checked_mul(cols);
        sized("weights", len, self.weight.len())?;
        sized("mask", len, self.keep.len())?;
        self.alive.map_or(Ok(()), |alive| sized("earlier mask", len, alive.len()))?;
        sized("Gram matrix", cols.checked_mul(cols), self.gram.len())?;
        self.mean.map_or(Ok(()), |mean| sized("mean", Some(cols), mean.len()))?;
        self.bias.map_or(Ok(()), |bias| sized("bias", Some(rows), bias.len()))?;

        let numbers = [("weights", Some(self.weight)), ("Gram matrix", Some(self.gram)), ("mean", self.mean)];
        for (what, values) in numbers.into_iter().chain([("bias", self.bias)]) {
            if let Some((index, value)) = values.unwrap_or(&[]).iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(ReconstructionError::NotFinite { path: path(), what, index, value: value.to_string() });
            }
        }
        if let Some(column) = (0..cols).find(|c| self.gram[c * cols + c] < 0.0) {
            let value = self.gram[column * cols + column];
            return Err(ReconstructionError::NegativeDiagonal { path: path(), column, value });
        }
        // Up to the rounding of single precision, in which others sum.
        let entry = |row: usize, column: usize| self.gram[row * cols + column];
        let odd = |row: usize, column: usize| {
            let difference = (entry(row, column) - entry(column, row)).abs();
            difference > 0.0 && difference > 1e-4 * (entry(row, row) * entry(column, column)).sqrt()
        };
        if let Some((row, column)) = (0..cols).flat_map(|i| (0..i).map(move |j| (j, i))).find(|&(i, j)| odd(i, j)) {
            let (value, mirrored) = (entry(row, column), entry(column, row));
            return Err(ReconstructionError::NotSymmetric { path: path(), row, column, value, mirrored });
        }
        let revived = self.alive.and_then(|alive| self.keep.iter_ones().find(|&i| !alive.get(i)));
        if let Some(i) = revived {
            return Err(ReconstructionError::Revived { path: path(), row: i / cols, column: i % cols });
        }
        match self.pattern {
            Some((n, m)) if n == 0 || n > m || !cols.is_multiple_of(m) => {
                Err(ReconstructionError::Pattern { path: path(), n, m, cols })
            }
            _ => Ok(()),
        }
    }
}
