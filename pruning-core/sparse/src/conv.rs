//! Convolutions with sparse weights.

mod direct;
mod product;
mod shape;
mod stage;
#[cfg(test)]
mod tests;

pub use shape::ConvShape;

use crate::error::{check_len, check_most};
use crate::kernels::level::Level;
use crate::kernels::output::Activation;
use crate::kernels::workspace::{PlanId, Workspace};
use crate::{Element, Sparse, SparseError};
use direct::Direct;
use product::Product;
use shape::Axis;
use stage::Stage;

/// A two-dimensional convolution with one sparse weight, prepared for batches up to a size, as [`Plan`](crate::Plan) is for products.
///
/// Weights of half precision are widened; sums are in single precision. Zero weights are skipped: an input that only they would meet adds
/// nothing, even if it is infinite or NaN. Padding is zeros, and weights do meet it: an infinite weight times padding is NaN.
///
/// A convolution runs in one of two ways. *Direct* (Park et al. 2017, arXiv:1608.01409) adds a weight times a run of the padded input to
/// a run of outputs in registers. Nothing is unrolled, and without padding and stride, as in the usual kernel of 1 x 1, nothing is
/// copied. *Product* unrolls the input (im2col) and runs a [`Plan`](crate::Plan). The direct way is used, unless an output has so few
/// positions that most of its registers would be empty.
///
/// With the feature `rayon`, a call works in parallel in the current thread pool. Results do not depend on the number of threads. Within
/// a way, the result of a sample does not depend on the batch. Results do depend, within rounding, on the instruction set.
///
/// ```
/// use pruning_sparse::{Activation, ConvPlan, ConvShape, Dense, Format, Sparse};
/// // One channel of 3 x 3, a kernel of 2 x 2 with two weights left.
/// let weights = Dense::new(1, 4, vec![1.0f32, 0.0, 0.0, -1.0])?;
/// let shape = ConvShape::new(1, [3, 3], [2, 2]);
/// let mut plan = ConvPlan::new(&Sparse::from_dense(&weights, Format::Csr16)?, &shape, 1)?;
/// let x = [1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 0.0, 1.0, 9.0];
/// let mut y = [0.0; 4];
/// plan.run(&x, 1, Some(&[0.5]), Activation::Relu, &mut y)?;
/// assert_eq!(y, [0.0, 0.0, 3.5, 0.0]);
/// # Ok::<(), pruning_sparse::SparseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvPlan {
    id: PlanId,
    shape: ConvShape,
    outputs: usize,
    output: [usize; 2],
    batch: usize,
    form: Form,
    /// The workspace of [`run`](Self::run).
    workspace: Workspace,
}

#[derive(Clone, Debug)]
enum Form {
    Direct(Direct),
    Product(Product),
}

/// The way in which a convolution is computed.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The input is not unrolled.
    Direct,
    /// The unrolled input is multiplied with the weights.
    Product,
}

impl ConvPlan {
    /// Prepares a convolution for batches of up to `batch` samples.
    ///
    /// # Shapes
    /// `matrix` `[outputs, channels / groups * kernel height * kernel width]`: the weights of a layer have this order already.
    ///
    /// # Errors
    /// The convolution is invalid (see [`ConvShape::output`]), the matrix has other columns, groups do not divide its rows, or memory
    /// could not hold the input or the output: the padded input of a sample has at most `u32::MAX` elements.
    pub fn new<T: Element>(matrix: &Sparse<T>, shape: &ConvShape, batch: usize) -> Result<Self, SparseError> {
        let best = Level::available().first().copied().unwrap_or(Level::Scalar);
        Self::with_level(matrix, shape, batch, best, None)
    }

    /// Prepares a convolution like [`new`](Self::new), with a given instruction set and, optionally, a given way.
    #[doc(hidden)]
    pub fn with_level<T: Element>(
        matrix: &Sparse<T>,
        shape: &ConvShape,
        batch: usize,
        level: Level,
        way: Option<Way>,
    ) -> Result<Self, SparseError> {
        let level = level.check()?;
        let axes = shape.check(matrix.rows(), matrix.cols(), batch)?;
        let way = way.unwrap_or_else(|| best(matrix.rows(), shape, axes, batch, level));
        let form = match way {
            Way::Direct => Form::Direct(Direct::new(matrix, shape, axes, batch, level)?),
            Way::Product => Form::Product(Product::new(matrix, shape, axes, batch, level)?),
        };
        let (shape, outputs, output) = (shape.clone(), matrix.rows(), axes.map(|a| a.output));
        Ok(Self { id: PlanId::new(), shape, outputs, output, batch, form, workspace: Workspace::default() })
    }

    /// Returns the convolution without its weights.
    #[must_use]
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Returns channels, height and width of the output.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        [self.outputs, self.output[0], self.output[1]]
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
            Form::Direct(direct) => direct.bytes(),
            Form::Product(product) => product.bytes(),
        }
    }

    /// Creates memory for one call at a time, of any batch up to the planned one.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        match &self.form {
            Form::Direct(direct) => direct.workspace(self.id),
            Form::Product(product) => product.workspace(self.id),
        }
    }

    /// Convolves like [`run_in`](Self::run_in), in memory of its own, which the first call allocates.
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

    /// Computes `y = activation(x * W + bias)` in a workspace.
    ///
    /// Nothing is allocated, except by the thread pool, and once if the pool has more threads than the pool that the workspace was
    /// created in.
    ///
    /// # Shapes
    /// `x` `[batch, channels, height, width]`, `bias` `[outputs]`, `y` `[batch, outputs, output height, output width]`.
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
        check_len("inputs", batch * self.shape.channels * self.shape.area(), x.len())?;
        check_len("outputs", batch * self.outputs * self.output[0] * self.output[1], y.len())?;
        check_len("biases", self.outputs, bias.map_or(self.outputs, <[f32]>::len))?;
        if !workspace.is_of(self.id) {
            *workspace = self.workspace();
        }
        match &self.form {
            Form::Direct(direct) => direct.run(workspace, x, batch, bias, activation, y),
            Form::Product(product) => product.run(workspace, x, batch, bias, activation, y)?,
        }
        Ok(())
    }
}

/// Returns the faster way.
///
/// Products fill lanes from other samples, so they win where more than two of five lanes of a direct one would be empty, if there are
/// enough samples, and enough output channels to pay for unrolling the input. The limits are from `cargo bench -p pruning-core --bench
/// convolution -- --ways` on one Zen 3 core.
fn best(rows: usize, shape: &ConvShape, axes: [Axis; 2], batch: usize, level: Level) -> Way {
    let pixels = axes[0].output * axes[1].output;
    let lanes = Stage::new(axes, false).positions().next_multiple_of(level.lanes());
    let empty = 5 * pixels < 3 * lanes;
    let enough = shape.groups == 1 && rows >= 64 && (pixels == 1 || batch.saturating_mul(pixels) >= 8);
    if empty && enough { Way::Product } else { Way::Direct }
}
