//! A recorded model that runs with sparse weights: [`SparseModel`].

use crate::sparse::SparseModelError;
use crate::sparse::autotune;
use crate::sparse::options::Options;
use crate::sparse::pass::Pass;
use crate::sparse::program::Program;
use crate::sparse::report::SparseReport;
use crate::trace::{Trace, Values};
use burn::module::Module;
use burn_ir::TensorIr;

/// A recorded model whose products run with sparse weights where that is faster, on the CPU (Burn's Flex backend).
///
/// It is a value of its own: the module is not needed any more, nor is its type, also not to load it from a file. It can be shared
/// between threads. For each shape of inputs there is a recorded pass; weights are there once for all of them, and once for each way
/// in which they are used.
#[derive(Debug)]
pub struct SparseModel {
    pub(super) passes: Vec<Pass>,
    pub(super) report: SparseReport,
}

impl SparseModel {
    /// Compiles recorded passes of a model with its weights, which may carry masks: every product with a constant weight is tried
    /// with that weight sparse and stays so where it is faster.
    ///
    /// Times are taken in place, while the whole pass runs on made-up inputs, dense and sparse in turn. A layer becomes sparse if that
    /// is faster by 3 % or more; if the pass as a whole is slower then, all of it stays dense. Both are decided by pairs of runs, until it
    /// is certain which is faster (one of a hundred ties is called so wrongly) or the budget is spent. What is not certain by then goes by
    /// the middle of the pairs, layer by layer, and the report says so. All of it takes the preparation of the weights, and for each
    /// pass at most the budget and three runs.
    ///
    /// # Errors
    /// There is no trace, or the model is not the one that was recorded or not on Flex.
    pub fn compile<'a, M: Module>(
        traces: impl IntoIterator<Item = &'a Trace>,
        model: &M,
        options: &Options,
    ) -> Result<Self, SparseModelError> {
        // Once, so that passes share what comes of masks.
        let model = model.valid().materialize();
        let programs: Vec<Program> =
            traces.into_iter().map(|trace| Program::new(trace, &model)).collect::<Result<_, _>>()?;
        if programs.is_empty() {
            return Err(SparseModelError::NoPass);
        }
        let (passes, report) = autotune::compile(programs, options)?;
        Ok(Self { passes, report })
    }

    /// Runs the pass that was recorded for inputs of these shapes.
    ///
    /// # Errors
    /// The inputs are of other shapes or kinds than any pass, or not on Flex.
    pub fn run(&self, inputs: Values) -> Result<Values, SparseModelError> {
        let Some(pass) = self.passes.iter().find(|pass| inputs.fit(&pass.inputs)) else {
            let known = self.passes.iter().map(|pass| describe(&pass.inputs)).collect();
            return Err(SparseModelError::Inputs { found: inputs.describe(), known });
        };
        pass.run(inputs)
    }

    /// How many operations each recorded pass has: those that depend on inputs, a product with its bias and ReLU as one.
    #[must_use]
    pub fn operations(&self) -> Vec<usize> {
        self.passes.iter().map(|pass| pass.program.operations.len()).collect()
    }

    /// For each interpreter that waits for the next call: tensors it holds, and those of them that stay.
    #[doc(hidden)]
    #[must_use]
    pub fn handles(&self) -> Vec<(usize, usize)> {
        self.passes.iter().flat_map(Pass::handles).collect()
    }

    /// What became of each layer.
    #[must_use]
    pub fn report(&self) -> &SparseReport {
        &self.report
    }
}

fn describe(inputs: &[TensorIr]) -> String {
    let each: Vec<_> = inputs.iter().map(|t| format!("{:?} {:?}", t.shape.as_slice(), t.dtype)).collect();
    each.join(", ")
}
