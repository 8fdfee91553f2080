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
/// Weights of half precision are widened; sums are in single precision. Zero weights are skipped: what they would meet adds nothing,
/// even if it is infinite or NaN. Padding is zeros, which weights do meet: an infinite weight makes NaN of them.
///
/// There are two ways. *Direct* (Park et al. 2017, arXiv:1608.01409): a weight times a run of the padded input, added to a run of
/// outputs in registers; nothing is unrolled, and where there is neither padding nor stride, as in the usual kernel of 1 x 1, nothing
/// is copied. *Product*: the input unrolled (im2col), and a [`Plan`](crate::Plan). Direct it is, unless an output has so few
/// positions that most of its registers would be empty.
///
/// With the feature `rayon`, a call works in parallel in the current thread pool. Results do not depend on the number of threads, nor
/// do those of a sample, within a way, on the batch. They do depend, within rounding, on the instruction set.
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
    /// Of [`run`](Self::run).
    workspace: Workspace,
}

#[derive(Clone, Debug)]
enum Form {
    Direct(Direct),
    Product(Product),
}

/// How a convolution is done.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without unrolling the input.
    Direct,
    /// By products with the unrolled input.
    Product,
}

impl ConvPlan {
    /// Prepares a convolution for batches of up to `batch` samples.
    ///
    /// # Shapes
    /// `matrix` `[outputs, channels / groups * kernel height * kernel width]`: the weights of a layer, which have this order already.
    ///
    /// # Errors
    /// The convolution is none (see [`ConvShape::output`]), the matrix has other columns, groups do not divide its rows, or memory
    /// could not hold the input or the output: the padded input of a sample has at most `u32::MAX` elements.
    pub fn new<T: Element>(matrix: &Sparse<T>, shape: &ConvShape, batch: usize) -> Result<Self, SparseError> {
        let best = Level::available().first().copied().unwrap_or(Level::Scalar);
        Self::with_level(matrix, shape, batch, best, None)
    }

    /// As [`new`](Self::new), with the instruction set and, if it is given, the way.
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

    /// The convolution, but for its weights.
    #[must_use]
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Channels, height and width of the output.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        [self.outputs, self.output[0], self.output[1]]
    }

    /// The most samples of a call.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of the prepared weights; a [`Workspace`] comes on top.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Direct(direct) => direct.bytes(),
            Form::Product(product) => product.bytes(),
        }
    }

    /// Memory for one call at a time, whatever its batch.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        match &self.form {
            Form::Direct(direct) => direct.workspace(self.id),
            Form::Product(product) => product.workspace(self.id),
        }
    }

    /// As [`run_in`](Self::run_in), in memory of its own, which the first call allocates.
    ///
    /// # Errors
    /// A slice has another length, or the batch is larger than planned.
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

    /// `y = activation(x * W + bias)`. Nothing is allocated, but for what a thread pool does, and once where it has more threads than
    /// the one that the workspace was made in.
    ///
    /// # Shapes
    /// `x` `[batch, channels, height, width]`, `bias` `[outputs]`, `y` `[batch, outputs, output height, output width]`.
    ///
    /// # Errors
    /// A slice has another length, or the batch is larger than planned.
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

/// The way that is the faster one: products where more than two of five lanes of a direct one would be empty, since they fill lanes
/// from other samples, if there are enough of those, and enough output channels to pay for unrolling the input. From
/// `cargo bench -p pruning-core --bench convolution -- --ways` on one Zen 3 core.
fn best(rows: usize, shape: &ConvShape, axes: [Axis; 2], batch: usize, level: Level) -> Way {
    let pixels = axes[0].output * axes[1].output;
    let lanes = Stage::new(axes, false).positions().next_multiple_of(level.lanes());
    let empty = 5 * pixels < 3 * lanes;
    let enough = shape.groups == 1 && rows >= 64 && (pixels == 1 || batch.saturating_mul(pixels) >= 8);
    if empty && enough { Way::Product } else { Way::Direct }
}
