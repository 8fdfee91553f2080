//! Removing what a plan removes: [`apply`].

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

/// How [`apply`] makes sure that the smaller model computes what the masked one does.
#[derive(Clone, Debug)]
#[must_use]
pub struct Checks {
    equivalence: bool,
    tolerance: Option<f64>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { equivalence: true, tolerance: None }
    }
}

impl Checks {
    /// Creates the checks that [`apply`] makes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows the masked and the smaller model to be further apart, relative to the largest output, or less far.
    ///
    /// By default it is a thousandth, and a twentieth where outputs have 16 bits.
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Leaves out the run beside the masked model, for a forward that jumps: top-k, argmax and rounding turn the rounding of
    /// sums into other choices. The recorded operations are compared all the same.
    pub fn without_equivalence(mut self) -> Self {
        self.equivalence = false;
        self
    }

    /// Removes the channels of a plan like [`apply`], with these checks.
    ///
    /// # Errors
    /// Those of [`apply`].
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

/// What [`apply`] did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// How far the smaller model is from the masked one.
    pub equivalence: Equivalence,
    /// How long both checks took.
    pub check_time: Duration,
}

/// Removes the channels of a plan from every parameter of the model, running statistics included.
///
/// `set` sets the fields of [`ShrinkPlan::fields`], which no visitor reaches; it may do nothing if there are none.
/// Parameters keep their ids, and a model that trains goes on training; an optimizer needs its state cut as well, by
/// [`cut_optimizer`](super::cut_optimizer), or a new one. Masks of the plan, attached by [`mask`](super::mask()), are folded
/// in.
///
/// Two checks make sure that the smaller model computes what the masked one does. `forward`, the same as for
/// [`Trace::record`](crate::trace::Trace::record), is recorded on the model and on the smaller one, and all operations are compared: kinds, scalars and captured
/// values must stay, and sizes must become what follows from the plan. Then it is run on copies of the masked and of the
/// smaller model whose biases, scales and statistics are random, with random floats in the place of the example's.
///
/// # Errors
/// The plan is for another model, a field is not set, a mask would be lost, or the smaller model does not run as planned.
/// The model is what it was.
pub fn apply<M: Module>(
    plan: &ShrinkPlan,
    model: &mut M,
    set: impl FnOnce(&mut M, &mut Fields),
    forward: impl Fn(&M, &mut Scope),
) -> Result<Applied, ShrinkError> {
    Checks::new().apply(plan, model, set, forward)
}

/// Lets the caller set the fields of the plan, and nothing else.
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
