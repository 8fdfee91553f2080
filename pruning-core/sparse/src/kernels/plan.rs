//! A product with one matrix, prepared once.

use crate::error::{check_len, check_memory, check_most};
use crate::kernels::dot::Rows;
use crate::kernels::level::Level;
use crate::kernels::output::{Activation, Output};
use crate::kernels::panels::Panels;
use crate::kernels::workspace::{PlanId, Workspace, aligned};
use crate::{Element, Sparse, SparseError};

/// A product `Y = X W^T` with one sparse `W`, prepared for batches up to a size.
///
/// A plan holds the weights in the order of use, and all the memory that a call needs.
///
/// Weights of half precision are widened; sums are in single precision. Zeros of `W` are skipped: a column of `X` that no weight of a row
/// uses adds nothing to it, even if it is infinite or NaN.
///
/// With the feature `rayon`, a call works on the rows in parallel, in the current thread pool. Results do not depend on the number of
/// threads. They do depend, within rounding, on the instruction set and on the batch of the plan.
///
/// ```
/// use pruning_sparse::{Activation, Dense, Format, Plan, Sparse};
/// let weights = Dense::new(2, 3, vec![0.0f32, 2.0, 0.0, 1.0, 0.0, -1.0])?;
/// let mut plan = Plan::new(&Sparse::from_dense(&weights, Format::Csr16)?, 2)?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let mut y = [0.0; 4];
/// plan.run(&x, 2, Some(&[0.5, 0.0]), Activation::Relu, &mut y)?;
/// assert_eq!(y, [4.5, 0.0, 10.5, 0.0]);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    id: PlanId,
    rows: usize,
    cols: usize,
    batch: usize,
    level: Level,
    form: Form,
    /// The workspace of [`run`](Self::run).
    workspace: Workspace,
}

#[derive(Clone, Debug)]
enum Form {
    Rows(Rows),
    Panels(Panels),
}

impl Plan {
    /// The batch size from which samples are multiplied in tiles; smaller batches go sample by sample.
    pub const TILED: usize = 4;

    /// Returns how many samples a plan for a batch multiplies at once: 1, 8, 16 or 32.
    ///
    /// Plans of one matrix with the same count hold the weights in the same form.
    #[must_use]
    pub const fn lanes(batch: usize) -> usize {
        match batch {
            0..Self::TILED => 1,
            Self::TILED..=8 => 8,
            9..=16 => 16,
            _ => 32,
        }
    }

    /// Prepares a product with a matrix for batches of up to `batch` samples.
    ///
    /// # Errors
    /// The matrix has more entries than 32 bits can count, or memory does not hold the inputs of a batch.
    pub fn new<T: Element>(matrix: &Sparse<T>, batch: usize) -> Result<Self, SparseError> {
        let best = Level::available().first().copied().unwrap_or(Level::Scalar);
        Self::with_level(matrix, batch, best)
    }

    /// Prepares a product like [`new`](Self::new), with a given instruction set.
    #[doc(hidden)]
    pub fn with_level<T: Element>(matrix: &Sparse<T>, batch: usize, level: Level) -> Result<Self, SparseError> {
        let level = level.check()?;
        check_memory("inputs of a batch", batch, matrix.cols())?;
        let form = match Self::lanes(batch) {
            1 => Form::Rows(Rows::new(matrix, level)?),
            lanes => Form::Panels(Panels::new(matrix, lanes)?),
        };
        let (id, workspace) = (PlanId::new(), Workspace::default());
        Ok(Self { id, rows: matrix.rows(), cols: matrix.cols(), batch, level, form, workspace })
    }

    /// Returns the number of rows: the output units.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns: the fan-in.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the largest batch of a call.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the bytes of the prepared weights; a [`Workspace`] takes further memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Rows(rows) => rows.bytes(),
            Form::Panels(panels) => panels.bytes(),
        }
    }

    /// Creates memory for one call at a time, of any batch up to the planned one.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        let (inputs, sums) = match &self.form {
            Form::Rows(rows) => (rows.scratch(self.batch), 0),
            Form::Panels(panels) => panels.scratch(self.batch),
        };
        Workspace::new(self.id, inputs, sums, Vec::new())
    }

    /// Multiplies like [`run_in`](Self::run_in), in memory of its own, which the first call allocates.
    ///
    /// # Errors
    /// A slice has the wrong length, or the batch is larger than planned.
    pub fn run(
        &mut self,
        x: &[f32],
        batch: usize,
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) -> Result<(), SparseError> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let done = self.run_in(&mut workspace, x, batch, bias, activation, y);
        self.workspace = workspace;
        done
    }

    /// Computes `y = activation(x W^T + bias)` in a workspace. Nothing is allocated, except by the thread pool.
    ///
    /// # Shapes
    /// `x` `[batch, cols]`, `bias` `[rows]`, `y` `[batch, rows]`, row after row.
    ///
    /// # Errors
    /// A slice has the wrong length, or the batch is larger than planned.
    pub fn run_in(
        &self,
        workspace: &mut Workspace,
        x: &[f32],
        batch: usize,
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) -> Result<(), SparseError> {
        check_most("batch", self.batch, batch)?;
        check_len("inputs", batch.saturating_mul(self.cols), x.len())?;
        check_len("outputs", batch.saturating_mul(self.rows), y.len())?;
        check_len("biases", self.rows, bias.map_or(self.rows, <[f32]>::len))?;
        if !workspace.is_of(self.id) {
            *workspace = self.workspace();
        }
        let y = Output::new(y, batch, self.rows);
        match &self.form {
            Form::Rows(rows) => rows.run(self.level, x, bias, activation, aligned(&mut workspace.inputs), y),
            Form::Panels(panels) => {
                let scratch = (aligned(&mut workspace.inputs), aligned(&mut workspace.sums));
                panels.run(self.level, x, bias, activation, scratch, y);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
