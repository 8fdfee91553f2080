//! Recorded models that run with sparse weights: [`SparseModel`].

use crate::sparse::SparseModelError;
use crate::sparse::autotune;
use crate::sparse::dense::{Shared, dense};
use crate::sparse::options::Options;
use crate::sparse::pass::Pass;
use crate::sparse::program::Program;
use crate::sparse::report::SparseReport;
use crate::trace::{Trace, Values};
use burn::module::Module;
use burn_ir::TensorIr;

/// A recorded model with its weights, whose products run sparse where that is faster, on the CPU (Burn's Flex backend).
///
/// It stands alone: neither running it nor loading it from a file needs the module or its type. Threads can share it. There is a recorded
/// pass for each shape of inputs; passes share weights that they use in the same way.
#[derive(Debug)]
pub struct SparseModel {
    pub(super) passes: Vec<Pass>,
    pub(super) report: SparseReport,
}

impl SparseModel {
    /// Compiles recorded passes of a model, with sparse weights where they are faster.
    ///
    /// The weights may carry masks. Every product with a constant weight is timed in place, while the whole pass runs on random inputs,
    /// dense and sparse in turn. A layer becomes sparse if that is faster by 3 % or more; if the pass as a whole is slower then, all of it
    /// stays dense. Pairs of runs decide both, until it is certain which is faster (with one error in a hundred ties) or the budget is
    /// spent. Then the median of the pairs decides, layer by layer, and the report says so. Compiling takes the preparation of the
    /// weights, and for each pass at most the budget and three runs.
    ///
    /// # Errors
    /// There is no trace, or the model is not the recorded one or is not on Flex.
    pub fn compile<'a, M: Module>(
        traces: impl IntoIterator<Item = &'a Trace>,
        model: &M,
        options: &Options,
    ) -> Result<Self, SparseModelError> {
        // The masks are applied once, so that passes share the result.
        let model = model.valid().materialize();
        let programs: Vec<Program> =
            traces.into_iter().map(|trace| Program::new(trace, &model)).collect::<Result<_, _>>()?;
        if programs.is_empty() {
            return Err(SparseModelError::NoPass);
        }
        let (passes, report) = autotune::compile(programs, options)?;
        Ok(Self { passes, report })
    }

    /// Compiles the same passes with other options, without the module.
    ///
    /// Sparse products become operations of Burn first; then those of them become sparse that the options choose. So a model that
    /// [`apply_to_traces`](crate::shrink::apply_to_traces) made, or one from a file that was measured on another machine, is measured here.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use pruning_burn::sparse::{Options, SparseModel};
    /// use pruning_burn::trace::{Trace, Values};
    ///
    /// let device = Device::flex();
    /// let model = LinearConfig::new(8, 4).init(&device);
    /// let x = Tensor::<2>::ones([1, 8], &device);
    /// let trace = Trace::record(&model, |model, scope| {
    ///     let x = scope.input(&x);
    ///     scope.output(model.forward(x));
    /// })?;
    /// let dense = SparseModel::compile([&trace], &model, &Options::dense())?;
    /// let sparse = dense.recompile(&Options::every_product())?;
    /// assert!(sparse.report().passes[0].layers[0].sparse);
    /// assert!(!sparse.recompile(&Options::dense())?.report().passes[0].layers[0].sparse);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A weight cannot be sparse.
    pub fn recompile(&self, options: &Options) -> Result<Self, SparseModelError> {
        let mut shared = Shared::default();
        let rows = |number: usize| self.report.passes.get(number).map_or(&[][..], |pass| &pass.layers);
        let programs = self.passes.iter().enumerate().map(|(number, pass)| dense(pass, rows(number), &mut shared));
        let (passes, report) = autotune::compile(programs.collect(), options)?;
        Ok(Self { passes, report })
    }

    /// Runs the pass that was recorded for inputs of these shapes.
    ///
    /// # Errors
    /// No pass has inputs of these shapes and kinds, or the inputs are not on Flex.
    pub fn run(&self, inputs: Values) -> Result<Values, SparseModelError> {
        let Some(pass) = self.passes.iter().find(|pass| inputs.fit(&pass.inputs)) else {
            let known = self.passes.iter().map(|pass| describe(&pass.inputs)).collect();
            return Err(SparseModelError::Inputs { found: inputs.describe(), known });
        };
        pass.run(inputs)
    }

    /// Returns the number of operations of each recorded pass.
    ///
    /// Only operations that depend on inputs count, and a product counts once with its bias and ReLU.
    #[must_use]
    pub fn operations(&self) -> Vec<usize> {
        self.passes.iter().map(|pass| pass.program.operations.len()).collect()
    }

    /// Returns for each waiting interpreter the number of tensors that it holds, and of those that stay.
    #[doc(hidden)]
    #[must_use]
    pub fn handles(&self) -> Vec<(usize, usize)> {
        self.passes.iter().flat_map(Pass::handles).collect()
    }

    /// Returns the report on each layer.
    #[must_use]
    pub fn report(&self) -> &SparseReport {
        &self.report
    }
}

fn describe(inputs: &[TensorIr]) -> String {
    let each: Vec<_> = inputs.iter().map(|t| format!("{:?} {:?}", t.shape.as_slice(), t.dtype)).collect();
    each.join(", ")
}
