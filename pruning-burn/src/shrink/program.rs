//! The removal of a plan's channels from recorded passes, for modules whose sizes cannot be set: [`apply_to_traces`].

use crate::shrink::confirm::removal;
use crate::shrink::cut::cut;
use crate::shrink::equivalence::{Copies, Equivalence, copies, judge, proves_nothing};
use crate::shrink::{Applied, Checks, ShrinkError};
use crate::sparse::{Options, SparseModel, example};
use crate::trace::{Analysis, AxisRules, Prediction, ReplayError, Tap, Trace, Unresizable, Values};
use burn::backend::{Flex, TensorMetadata};
use burn::module::Module;
use burn::tensor::TensorData;
use pruning_core::caught;
use pruning_core::graph::ShrinkPlan;
use std::cell::Cell;
use std::time::Instant;

/// Removes the channels of a plan from recorded passes of a model, and returns them as a program that runs without the module.
///
/// Use it where [`apply`](super::apply()) cannot set a size: in a private field, inside an enum, in a crate that is not yours. The module
/// itself does not change. The program has a pass for each trace, so record one for each shape of inputs that it must run on; the passes
/// share their weights. All products are dense; [`SparseModel::recompile`] makes those sparse that are faster so.
///
/// The labels of each trace give the new size of every tensor, and the arguments of operations that hold sizes: groups, ranges, repeats.
/// Numbers that the code computes from a size stay those of the dense model, as in the masked one: a division by the number of channels
/// makes `apply` fail, and here it is exact.
///
/// A plan can also remove what the code of a module needs, such as heads of Burn's own attention, if it is made with
/// [`AxisRules::without_code`].
///
/// Two checks make sure that the program computes what the masked model does. Each operation runs once, and its results must have the
/// predicted shapes. Then the passes and those of the masked model are replayed on random inputs (integers are zero, booleans false), with
/// random biases, scales and statistics. [`Checks::apply_to_traces`] sets the tolerance.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{self, Shrinker};
/// use pruning_burn::trace::{Scope, Trace, Values};
/// # use pruning_burn::{Pruner, plugin::Plugins};
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// # let device = Device::flex();
/// let model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
/// # let x = Tensor::<2>::ones([1, 8], &device);
/// let trace = Trace::record(&model, |model: &Vec<Linear>, scope: &mut Scope| {
///     let x = scope.input(&x);
///     scope.output(model[1].forward(model[0].forward(x)));
/// })?;
/// # let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
/// # let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
/// let (program, applied) = shrink::apply_to_traces(&plan, [&trace], &model)?;
/// assert!(applied.equivalence.difference().is_some());
/// assert_eq!(program.report().passes[0].layers[0].shape, [8, 8]);
/// let y: Tensor<2> = program.run(Values::new().with(x))?.get(0)?;
/// assert_eq!(y.dims(), [1, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The plan is for another model or another forward, there is no trace, a mask would be lost, an operation cannot run on what is left, or
/// the model is not on the CPU (Flex).
pub fn apply_to_traces<'a, M: Module>(
    plan: &ShrinkPlan,
    traces: impl IntoIterator<Item = &'a Trace>,
    model: &M,
) -> Result<(SparseModel, Applied), ShrinkError> {
    Checks::new().apply_to_traces(plan, traces, model)
}

impl Checks {
    /// Removes the channels of a plan from recorded passes like [`apply_to_traces`], with these checks.
    ///
    /// # Errors
    /// Fails like [`apply_to_traces`].
    pub fn apply_to_traces<'a, M: Module>(
        &self,
        plan: &ShrinkPlan,
        traces: impl IntoIterator<Item = &'a Trace>,
        model: &M,
    ) -> Result<(SparseModel, Applied), ShrinkError> {
        let smaller = cut(plan, model)?;
        let start = Instant::now();
        let random = self.equivalence.then(|| copies(plan, model)).transpose()?;
        let mut passes = Vec::new();
        let mut equivalence = None;
        for trace in traces {
            let pass = resized(plan, trace)?;
            let found = match &random {
                Some(random) => check(plan, trace, &pass, random, self.tolerance)?,
                None => Equivalence::not("it was left out"),
            };
            equivalence = Some(equivalence.map_or(found.clone(), |known: Equivalence| known.weaker(found)));
            passes.push(pass);
        }
        let check_time = start.elapsed();
        let program = SparseModel::compile(&passes, &smaller, &Options::dense())?;
        let equivalence = equivalence.unwrap_or_else(|| Equivalence::not("there is no pass"));
        Ok((program, Applied { equivalence, check_time }))
    }
}

impl Equivalence {
    /// Returns the one of two results that proves less.
    fn weaker(self, other: Self) -> Self {
        match (self.difference(), other.difference()) {
            (Some(a), Some(b)) if b.max_rel > a.max_rel => other,
            (Some(_), None) => other,
            _ => self,
        }
    }
}

/// Returns the pass in the sizes that the plan leaves.
fn resized(plan: &ShrinkPlan, trace: &Trace) -> Result<Trace, ShrinkError> {
    let analysis = Analysis::new(trace, &AxisRules::of(plan).without_code())?;
    let removal = removal(plan, &analysis)?;
    trace.resized(&Prediction::new(&analysis, &removal)).map_err(|Unresizable { index, operation, reason }| {
        let near = analysis.near(&trace.operations[index]).to_string();
        ShrinkError::Operation { operation, near, reason }
    })
}

/// Replays the dense, the masked and the smaller pass.
fn check<M: Module>(
    plan: &ShrinkPlan,
    dense: &Trace,
    pass: &Trace,
    models: &Copies<M>,
    tolerance: Option<f64>,
) -> Result<Equivalence, ShrinkError> {
    if let Some(nothing) = proves_nothing(plan, dense) {
        return Ok(nothing);
    }
    // Negative numbers may leave the domain of a function.
    judge([-1.0, 0.0], tolerance, |least| {
        let inputs = || example(&dense.inputs, least);
        let replay = |trace: &Trace, model: &M| -> Result<Vec<TensorData>, ReplayError> {
            Ok(trace.replay::<Flex, M>(model, inputs())?.into_data())
        };
        let Ok(first) = caught(|| replay(dense, &models.dense)) else { return Ok(None) };
        let masked = replay(dense, &models.masked)?;
        step_by_step(dense, pass, &models.cut, inputs())?;
        Ok(Some([first?, masked, replay(pass, &models.cut)?]))
    })
}

/// Runs a pass and compares the shape of each result with the predicted one.
fn step_by_step<M: Module>(dense: &Trace, pass: &Trace, model: &M, inputs: Values) -> Result<(), ShrinkError> {
    let results = |(operation, op): (usize, &burn_ir::OperationIr)| {
        op.outputs().cloned().map(|tensor| Tap { operation, after: true, tensor }).collect::<Vec<_>>()
    };
    let taps: Vec<Tap> = pass.operations.iter().enumerate().flat_map(results).collect();
    let failed = |operation: usize, reason: String| -> ShrinkError {
        // The operation of the dense trace that makes the same tensor.
        let made = pass.operations.get(operation).and_then(|op| op.outputs().next()).map(|t| t.id);
        let index = dense.operations.iter().position(|op| op.outputs().any(|t| Some(t.id) == made));
        let operation = dense.operation(index.unwrap_or(dense.operations.len()));
        let near = Analysis::costing(dense).ok().and_then(|a| Some(a.near(&dense.operations[index?]).to_string()));
        ShrinkError::Operation { operation, near: near.unwrap_or_else(|| "the inputs".to_string()), reason }
    };
    let done = Cell::new(0);
    let ran = caught(|| {
        pass.watch::<Flex, M, ShrinkError>(model, inputs, &taps, |number, tensor| {
            let Tap { operation, tensor: predicted, .. } = &taps[number];
            done.set(operation + 1);
            let (found, predicted) = (tensor.shape(), predicted.shape.as_slice());
            if found.as_slice() == predicted {
                return Ok(());
            }
            Err(failed(*operation, format!("its result has shape {:?} instead of {predicted:?}", found.as_slice())))
        })
    });
    ran.map_err(|message| failed(done.get(), message))?
}
