//! The removal of a plan's channels from a model: [`apply`].

use crate::shrink::confirm::confirm;
use crate::shrink::cut::cut;
use crate::shrink::equivalence::{Equivalence, check};
use crate::shrink::parameters::Parameters;
use crate::shrink::{Fields, ShrinkError, size_fields};
use crate::trace::Scope;
use burn::module::Module;
use pruning_core::caught;
use pruning_core::graph::ShrinkPlan;
use std::time::{Duration, Instant};

/// The checks that [`apply`] makes before it replaces a model by the smaller one.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{Checks, Fields, Shrinker};
/// use pruning_burn::trace::{Scope, Trace};
/// # use pruning_burn::{Pruner, plugin::Plugins};
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// # let device = Device::flex();
/// let mut model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
/// # let x = Tensor::<2>::ones([1, 8], &device);
/// let forward = |model: &Vec<Linear>, scope: &mut Scope| {
///     let x = scope.input(&x);
///     scope.output(model[1].forward(model[0].forward(x)));
/// };
/// let trace = Trace::record(&model, forward)?;
/// # let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
/// # let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
/// let checks = Checks::new().with_tolerance(1e-4);
/// let applied = checks.apply(&plan, &mut model, |_: &mut Vec<Linear>, _: &mut Fields| {}, forward)?;
/// assert!(applied.equivalence.difference().is_some_and(|difference| difference.max_rel <= 1e-4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Checks {
    pub(super) equivalence: bool,
    pub(super) tolerance: Option<f64>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { equivalence: true, tolerance: None }
    }
}

impl Checks {
    /// Creates the default checks: both of them, with the default tolerance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the largest difference allowed between the masked and the smaller model, relative to the largest output.
    ///
    /// The default is 1/1000, or 1/20 if outputs have 16 bits.
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Leaves out the comparison with the outputs of the masked model.
    ///
    /// Use it for a discontinuous forward: top-k, argmax and rounding turn rounding errors of sums into other choices. The
    /// recorded operations are still compared.
    pub fn without_equivalence(mut self) -> Self {
        self.equivalence = false;
        self
    }

    /// Removes the channels of a plan like [`apply`], with these checks.
    ///
    /// # Errors
    /// Fails like [`apply`].
    pub fn apply<M: Module>(
        &self,
        plan: &ShrinkPlan,
        model: &mut M,
        set: impl FnOnce(&mut M, &mut Fields),
        forward: impl Fn(&M, &mut Scope),
    ) -> Result<Applied, ShrinkError> {
        let mut smaller = cut(plan, model)?;
        set_fields(plan, &mut smaller, set)?;
        let start = Instant::now();
        let checked = confirm(plan, model, &smaller, &forward).and_then(|recorded| match self.equivalence {
            true => check(plan, model, &smaller, &recorded, self.tolerance, &forward),
            false => Ok(Equivalence::NotChecked { why: "it was left out".to_string() }),
        });
        let equivalence = checked.map_err(|error| error.naming(|| size_fields(model, plan)))?;
        let check_time = start.elapsed();
        *model = smaller;
        Ok(Applied { equivalence, check_time })
    }
}

/// The result of [`apply`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// The result of the comparison between the masked and the smaller model.
    pub equivalence: Equivalence,
    /// The duration of both checks.
    pub check_time: Duration,
}

/// Removes the channels of a plan from every parameter of the model, running statistics included.
///
/// `set` sets the fields of [`ShrinkPlan::fields`], which no visitor reaches; it may do nothing if there are none. Parameters keep
/// their ids, so training can continue. The state of an optimizer must be cut as well, with
/// [`cut_optimizer`](super::cut_optimizer), or the optimizer replaced. Masks of the plan, attached by [`mask`](super::mask()), are
/// folded in.
///
/// Two checks make sure that the smaller model computes what the masked one does. `forward`, the same as for
/// [`Trace::record`](crate::trace::Trace::record), is recorded on the model and on the smaller one, and all operations are compared:
/// kinds, scalars and captured values must stay, and sizes must be those that the plan predicts. Then it is run on copies of the masked and the smaller model
/// with random biases, scales and statistics, and with random floats in place of the example's.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{self, Fields, Shrinker};
/// use pruning_burn::trace::{Scope, Trace};
/// # use pruning_burn::{Pruner, plugin::Plugins};
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// # let device = Device::flex();
/// let mut model = vec![LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device)];
/// # let x = Tensor::<2>::ones([1, 8], &device);
/// let forward = |model: &Vec<Linear>, scope: &mut Scope| {
///     let x = scope.input(&x);
///     scope.output(model[1].forward(model[0].forward(x)));
/// };
/// let trace = Trace::record(&model, forward)?;
/// # let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
/// # let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
/// let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
/// let set = |_: &mut Vec<Linear>, _: &mut Fields| {};          // linear layers have no fields to set
/// shrink::apply(&plan, &mut model, set, forward)?;
/// assert_eq!(model[0].weight.dims(), [8, 8]);
/// assert_eq!(model[1].weight.dims(), [8, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The plan is for another model, a field is not set, a mask would be lost, or the smaller model does not run as planned. On an
/// error the model does not change.
pub fn apply<M: Module>(
    plan: &ShrinkPlan,
    model: &mut M,
    set: impl FnOnce(&mut M, &mut Fields),
    forward: impl Fn(&M, &mut Scope),
) -> Result<Applied, ShrinkError> {
    Checks::new().apply(plan, model, set, forward)
}

/// Lets the caller set the fields of the plan. Any other change is an error.
pub(crate) fn set_fields<M: Module>(
    plan: &ShrinkPlan,
    smaller: &mut M,
    set: impl FnOnce(&mut M, &mut Fields),
) -> Result<(), ShrinkError> {
    let (mut fields, parameters) = (Fields::new(&plan.fields), Parameters::of(smaller));
    caught(|| set(smaller, &mut fields)).map_err(|message| ShrinkError::SetterPanicked { message })?;
    fields.all_set()?;
    match parameters.changed(smaller) {
        Some(path) => Err(ShrinkError::Changed { path }),
        None => Ok(()),
    }
}
