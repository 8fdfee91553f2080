//! Recorded passes that are ready to run: [`Pass`].

use crate::sparse::SparseModelError;
use crate::sparse::layer::Layer;
use crate::sparse::program::Program;
use crate::trace::{ReplayBackend, Values};
use burn::backend::Flex;
use burn_ir::{CustomOpIr, HandleKind, OperationIr, TensorIr, TensorStatus};
use burn_router::{CustomOpRegistry, TensorInterpreter};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// An operation that counts the tensors of its interpreter.
const COUNT: &str = "count";

/// A pass that is ready to run.
pub(super) struct Pass {
    pub(super) inputs: Vec<TensorIr>,
    pub(super) operations: Vec<OperationIr>,
    pub(super) program: Program,
    /// The layers of the custom operations, by their names.
    pub(super) layers: Vec<(String, Layer)>,
    /// The product that each of `operations` belongs to, while products are measured.
    pub(super) products: Vec<Option<usize>>,
    custom: CustomOpRegistry<Flex>,
    /// The count by the operation [`COUNT`].
    counted: Arc<AtomicUsize>,
    /// The waiting interpreters, with registered constants. A panicked one does not return.
    idle: Mutex<Vec<TensorInterpreter<Flex>>>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<_> = self.layers.iter().map(|(id, _)| id).collect();
        f.debug_struct("Pass").field("operations", &self.operations.len()).field("layers", &layers).finish()
    }
}

impl Pass {
    /// Creates a pass from a program whose custom operations are the layers, by name.
    ///
    /// `products` gives for each operation the product that it belongs to.
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

    pub(super) fn handles(&self) -> Vec<(usize, usize)> {
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

    /// Runs the pass; `step` runs each operation and is given its product.
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
        // The first operations drop inputs without a use.
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
