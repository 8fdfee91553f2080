//! Removing what a plan removes: [`apply`].

use crate::PruneError;
use crate::host;
use crate::layers::{Layer, layers, names, places};
use crate::shrink::confirm::confirm;
use crate::shrink::equivalence::{Equivalence, check};
use crate::shrink::mask::{kept_elements, place_of};
use crate::shrink::parameters::Parameters;
use crate::shrink::{Fields, ShrinkError, size_fields};
use crate::trace::Scope;
use crate::walk::{self, Map, Position};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_core::caught;
use pruning_core::graph::{Cut, ShrinkPlan};
use std::collections::BTreeMap;
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

/// A smaller copy, whose fields are not set yet.
pub(crate) fn cut<M: Module>(plan: &ShrinkPlan, model: &M) -> Result<M, ShrinkError> {
    plan.check()?;
    let all = layers(model)?;
    let places = places(&all);
    for (path, cut) in &plan.parameters {
        place_of(&all, &places, path, cut)?;
    }
    only_masks_of(plan, &all)?;
    let mut cuts: BTreeMap<String, &Cut> = BTreeMap::new();
    for (path, cut) in &plan.parameters {
        cuts.insert(path.clone(), cut);
        cuts.extend(cut.aliases.iter().map(|alias| (alias.clone(), cut)));
    }
    let trains = all.iter().any(|l| l.autodiff);
    // `valid` gives running statistics a place of their own, which cutting would otherwise take from the model.
    let smaller = walk::map(model.valid().materialize(), &mut Slice { cuts });
    Ok(if trains { smaller.train() } else { smaller })
}

/// Masks can be folded in if all that they remove goes anyway.
fn only_masks_of(plan: &ShrinkPlan, all: &[Layer]) -> Result<(), ShrinkError> {
    if let Some((layer, name)) = all.iter().find_map(|l| l.foreign().map(|name| (l, name))) {
        return Err(PruneError::WouldFold { path: layer.path.clone(), name: name.clone() }.into());
    }
    let whole = |l: &&Layer| l.keep.as_ref().is_some_and(|k| k.dims()[0] == l.layout.len());
    let masked: Vec<_> = all.iter().filter(whole).collect();
    let keep: Vec<_> = masked.iter().filter_map(|l| l.keep.clone()).collect();
    for (layer, bits) in masked.into_iter().zip(host::bits(&keep)) {
        let cut = plan.parameters.iter().find(|(path, _)| names(layer).any(|n| n == *path));
        let left = cut.map(|(_, cut)| kept_elements(cut));
        let lost = (0..bits.len()).any(|i| !bits.get(i) && left.as_ref().is_none_or(|left| left.get(i)));
        if lost {
            return Err(ShrinkError::Masked { path: layer.path.clone() });
        }
    }
    Ok(())
}

/// Keeps some positions of some axes.
pub(crate) fn sliced<const D: usize>(tensor: Tensor<D>, cut: &Cut) -> Tensor<D> {
    let device = tensor.device();
    cut.keep.iter().fold(tensor, |tensor, (&axis, keep)| {
        let positions = indices(keep.iter().map(|&p| p as i64).collect(), &device);
        let mut shape = tensor.dims();
        let (outer, size) = (shape[..axis].iter().product::<usize>(), shape[axis]);
        let inner = shape[axis + 1..].iter().product::<usize>();
        shape[axis] = keep.len();
        // As matrices where that is possible, for which Burn's kernels copy rows and not entries.
        match (outer, inner) {
            (1, _) => tensor.reshape([size, inner]).select(0, positions).reshape(shape),
            (_, 1) => tensor.reshape([outer, size]).select(1, positions).reshape(shape),
            _ => tensor.select(axis, positions),
        }
    })
}

fn indices(positions: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let len = positions.len();
    Tensor::from_data(TensorData::new(positions, [len]), device)
}

struct Slice<'a> {
    cuts: BTreeMap<String, &'a Cut>,
}

impl Map for Slice<'_> {
    fn map_float<const D: usize>(&mut self, at: &Position, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.cuts.get(&at.path()) {
            None => param,
            Some(cut) => param.map(|tensor| sliced(tensor, cut)),
        }
    }
}
