//! A recorded model that runs with sparse weights: [`SparseModel`].

use crate::sparse::SparseModelError;
use crate::sparse::autotune;
use crate::sparse::layer::Layer;
use crate::sparse::options::Options;
use crate::sparse::program::Program;
use crate::sparse::report::SparseReport;
use crate::trace::{ReplayBackend, Trace, Values};
use burn::backend::Flex;
use burn::module::Module;
use burn_ir::{CustomOpIr, HandleKind, OperationIr, TensorIr, TensorStatus};
use burn_router::{CustomOpRegistry, TensorInterpreter};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
        autotune::compile(programs, options)
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

/// An operation that counts the tensors of its interpreter.
const COUNT: &str = "count";

/// A pass that is ready to run.
pub(super) struct Pass {
    pub(super) inputs: Vec<TensorIr>,
    pub(super) operations: Vec<OperationIr>,
    pub(super) program: Program,
    /// What the custom operations do, by their names.
    pub(super) layers: Vec<(String, Layer)>,
    /// Which product an operation of `operations` belongs to, while that is measured.
    pub(super) products: Vec<Option<usize>>,
    custom: CustomOpRegistry<Flex>,
    /// What the operation [`COUNT`] found.
    counted: Arc<AtomicUsize>,
    /// Interpreters that have the constants already. One that a panic stopped does not come back.
    idle: Mutex<Vec<TensorInterpreter<Flex>>>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<_> = self.layers.iter().map(|(id, _)| id).collect();
        f.debug_struct("Pass").field("operations", &self.operations.len()).field("layers", &layers).finish()
    }
}

impl Pass {
    /// A program whose custom operations are the layers, by the number in their names. `products` says for each of its operations
    /// which product it belongs to.
    pub(super) fn new(program: Program, layers: Vec<(String, Layer)>, products: &[Option<usize>]) -> Self {
        let mut custom = CustomOpRegistry::new();
        for (id, layer) in &layers {
            let layer = Arc::new(layer.clone());
            custom.register(id, move |handles, op, _| {
                let x = handles.get_float_tensor::<Flex>(&op.inputs[0]);
                handles.register_float_tensor::<Flex>(&op.outputs[0].id, layer.run(x));
            });
        }
        let counted = Arc::new(AtomicUsize::new(0));
        let counter = counted.clone();
        custom.register(COUNT, move |handles, _, _| counter.store(handles.num_handles(), Ordering::Relaxed));
        let (operations, places) = program.with_lifetimes();
        let products = places.iter().map(|place| place.and_then(|p| products.get(p).copied().flatten())).collect();
        Self {
            inputs: program.inputs.clone(),
            operations,
            program,
            layers,
            products,
            custom,
            counted,
            idle: Mutex::default(),
        }
    }

    fn handles(&self) -> Vec<(usize, usize)> {
        let count = OperationIr::Custom(CustomOpIr::new(COUNT, &[], &[]));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = idle.iter_mut().map(|interpreter| {
            interpreter.register_op(count.clone());
            (self.counted.load(Ordering::Relaxed), self.program.constants.len())
        });
        counts.collect()
    }

    pub(super) fn run(&self, inputs: Values) -> Result<Values, SparseModelError> {
        self.run_watched(inputs, |interpreter, op, _| interpreter.register_op(op))
    }

    /// Runs it, each operation by `step`, which is given the product that it belongs to.
    pub(super) fn run_watched(
        &self,
        inputs: Values,
        mut step: impl FnMut(&mut TensorInterpreter<Flex>, OperationIr, Option<usize>),
    ) -> Result<Values, SparseModelError> {
        let mut handles = Vec::with_capacity(self.inputs.len());
        for (index, tensor) in inputs.into_dispatch().enumerate() {
            let failed = |reason| SparseModelError::Backend { index, reason };
            handles.push(<Flex as ReplayBackend>::take(tensor).map_err(failed)?);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut interpreter = idle.unwrap_or_else(|| self.program.interpreter(&self.custom));
        for (ir, handle) in self.inputs.iter().zip(handles) {
            interpreter.register_tensor_to_device(ir.id, handle);
        }
        // Inputs that nothing uses are dropped by the first operations.
        for (op, product) in self.operations.iter().zip(&self.products) {
            step(&mut interpreter, op.clone(), *product);
        }
        let mut outputs = Values::new();
        for (place, ir) in self.program.outputs.iter().enumerate() {
            let again = self.program.outputs[place + 1..].iter().any(|later| later.id == ir.id);
            let stays = again || self.program.constants.contains_key(&ir.id);
            let status = if stays { TensorStatus::ReadOnly } else { TensorStatus::ReadWrite };
            let value: HandleKind<Flex> = interpreter.get_tensor(&TensorIr { status, ..ir.clone() });
            outputs.push(<Flex as ReplayBackend>::put(value), ir.shape.as_slice().to_vec(), ir.dtype);
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(interpreter);
        Ok(outputs)
    }
}
