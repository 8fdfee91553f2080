//! The making of plans from a recipe and a trace: [`Shrinker`].

use crate::amounts::Amounts;
use crate::device::DeviceClass;
use crate::layers::{Layer, layers};
use crate::recipe::Recipe;
use crate::reports::Choice;
use crate::score::CriterionInputs;
use crate::score::needed::needed;
use crate::shrink::ShrinkError;
use crate::shrink::choose::{Chooser, CostTarget, Removed, refused};
use crate::shrink::coupled::{candidates, scored};
use crate::shrink::groups::Solved;
use crate::shrink::owners::{HeadSize, Owner, check_named, fits, owners, why_fixed};
use crate::targets::Selection;
use crate::trace::{AxisRules, Trace};
use burn::module::Module;
use burn::tensor::Device;
use pruning_core::budget::{Amount, RankedUnits};
use pruning_core::graph::{Cut, Dim, Factor, GroupCut, ShrinkPlan, Totals};
use pruning_core::recipe::Budget;
use pruning_core::score::{Axis, Granularity};
use std::collections::{BTreeMap, HashSet};

/// The multiple to which counts of channels are rounded to suit the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoundTo {
    /// A fixed multiple.
    Multiple(usize),
    /// The multiple that suits the model's device: 8 on a CPU (a vector register of 32-bit floats), 16 on a GPU (a tile of a matrix unit).
    Device,
}

/// A planner that chooses the channels or heads to remove by a recipe.
///
/// The granularity of the recipe must be `channel` or `head`.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{CostTarget, RoundTo, Shrinker};
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
/// assert_eq!((plan.before.parameters, plan.after.parameters), (212, 108));
///
/// let shrinker = Shrinker::new(&pruner).with_target(CostTarget::Macs(0.3)).with_round_to(RoundTo::Multiple(4));
/// let plan = shrinker.plan(&model, &trace, None)?;
/// assert_eq!(plan.shape_after("1.weight"), Some(vec![4, 4]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Shrinker {
    recipe: Recipe,
    target: Option<CostTarget>,
    round_to: Option<RoundTo>,
    min_keep: usize,
    rules: AxisRules,
}

impl Shrinker {
    /// Creates a planner for a recipe, or for that of a `&Pruner`.
    ///
    /// It uses the criterion, reduction, allocator, sparsity, granularity, targets and overrides. By default the weights of all
    /// layers that make or read a channel score it, targets or not; with `channel_score = "own"` only those of the targets that make
    /// it. See [`ChannelScore`](crate::score::ChannelScore).
    pub fn new(recipe: impl Into<Recipe>) -> Self {
        Self { recipe: recipe.into(), target: None, round_to: None, min_keep: 1, rules: AxisRules::new() }
    }

    /// Sets a target cost, which replaces the recipe's sparsity.
    ///
    /// The plan removes as much as it takes to reach this fraction of parameters or MACs.
    pub fn with_target(mut self, target: CostTarget) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets the multiple to which the number of kept channels is rounded. Heads are multiples of their size already.
    pub fn with_round_to(mut self, round_to: RoundTo) -> Self {
        self.round_to = Some(round_to);
        self
    }

    /// Sets the least number of units that each group keeps, 1 by default. A smaller group keeps all.
    pub fn with_min_keep(mut self, units: usize) -> Self {
        self.min_keep = units;
        self
    }

    /// Sets rules for operations that have none.
    pub fn with_rules(mut self, rules: AxisRules) -> Self {
        self.rules = rules;
        self
    }

    /// Plans the removal for a model.
    ///
    /// `inputs` are those that the criterion needs; `None` if it uses only the weights.
    ///
    /// # Errors
    /// The recipe does not fit, an input that the criterion needs is missing, or a target cannot be reached.
    pub fn plan<'a, M: Module>(
        &self,
        model: &M,
        trace: &Trace,
        inputs: impl Into<Option<&'a CriterionInputs>>,
    ) -> Result<ShrinkPlan, ShrinkError> {
        let inputs = inputs.into();
        let recipe = &self.recipe;
        let granularity = recipe.granularity;
        if !granularity.is_structural() {
            return Err(ShrinkError::Granularity { granularity: granularity.to_string() });
        }
        let all = &layers(model)?;
        // The trace determines the heads, so no head size need divide the channels of a layer.
        let mut recipe_of_heads = recipe.clone();
        let all_of = recipe_of_heads.overrides.iter_mut().filter_map(|o| o.granularity.as_mut());
        for g in all_of.chain([&mut recipe_of_heads.granularity]) {
            if let (true, Granularity::Head { size, .. }) = (*g == granularity, g) {
                *size = None;
            }
        }
        let selection = &Selection::new(&recipe_of_heads, all)?;
        // One solution serves all groups, so a plan cannot mix heads and channels.
        if let Some(other) = selection.targets.iter().find(|t| t.granularity != recipe_of_heads.granularity) {
            let granularity = format!("{} of an override, beside {granularity},", other.granularity);
            return Err(ShrinkError::Granularity { granularity });
        }
        let shared = match recipe.budget {
            Budget::Sparsity(sparsity) => Amount::OfTotal(sparsity),
            Budget::Count(count) => Amount::Count(count),
        };
        let amounts = &Amounts { shared, own: &Amount::OfTotal };
        let request = Request { trace, all, selection, granularity, amounts, inputs, only: None };
        Ok(self.planned(model, &request)?.plan)
    }

    pub(crate) fn planned<M: Module>(&self, model: &M, request: &Request<'_>) -> Result<Planned, ShrinkError> {
        let Request { trace, all, selection, granularity, amounts, inputs, only } = *request;
        let recipe = &self.recipe;
        let multiple = self.multiple(&model.devices())?;
        if self.min_keep == 0 {
            return Err(ShrinkError::MinKeep);
        }
        needed(&recipe.criterion, inputs, model)?;
        let (solved, axis, owners) = owned(trace, &self.rules, all, selection, granularity)?;
        let heads = matches!(granularity, Granularity::Head { .. });
        check_named(recipe, &solved, all, selection, &owners, (axis, heads))?;
        let makers = makers(&solved, all, &owners);
        let fixed = selection.targets.iter().filter(|t| !makers.iter().flatten().any(|layer| *layer == t.layer));
        let fixed = fixed.map(|t| (t.layer, why_fixed(&solved, &all[t.layer], axis))).collect();
        let (owners, makers): (Vec<_>, Vec<_>) =
            owners.into_iter().zip(makers).filter(|(owner, _)| only.is_none_or(|layer| owner.layer == layer)).unzip();
        let scored = scored(model, recipe, &solved, all, selection, &owners, inputs)?;
        let candidates = candidates(&solved, (recipe, amounts.own), all, &scored, &owners, self.min_keep);
        let criterion = recipe.criterion.name();
        let chooser = Chooser {
            solved: &solved,
            owners: &owners,
            ranked: RankedUnits::new(&candidates).map_err(|error| refused(criterion, error))?,
            rules: amounts.rules(recipe),
            multiple,
            min_keep: self.min_keep,
            criterion,
        };
        let removed = match self.target {
            None => chooser.run()?,
            Some(target) => chooser.solve(target)?,
        };
        let mut plan = plan_of(&solved, &owners, &removed)?;
        plan.rules = self.rules.by_name.clone();
        let choices = owners.iter().zip(makers).zip(removed.chosen);
        let choice = |((owner, layers), chosen): ((&Owner, _), _)| Choice { layer: owner.layer, layers, chosen };
        Ok(Planned { plan, choices: choices.map(choice).collect(), fixed })
    }

    fn multiple(&self, devices: &[Device]) -> Result<usize, ShrinkError> {
        match self.round_to {
            None => Ok(1),
            Some(RoundTo::Multiple(0)) => Err(ShrinkError::Multiple),
            Some(RoundTo::Multiple(multiple)) => Ok(multiple),
            Some(RoundTo::Device) => {
                let class = devices.first().map(DeviceClass::of);
                Ok(if class == Some(DeviceClass::Cpu) { 8 } else { 16 })
            }
        }
    }
}

/// The request for a plan: the targets, and how much of them is removed.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) all: &'a [Layer],
    pub(crate) selection: &'a Selection,
    /// The granularity of all targets in the selection.
    pub(crate) granularity: Granularity,
    pub(crate) amounts: &'a Amounts<'a>,
    pub(crate) inputs: Option<&'a CriterionInputs>,
    /// Restricts the plan to the groups that are counted at this layer.
    pub(crate) only: Option<usize>,
}

/// A plan together with its effect on the targets.
pub(crate) struct Planned {
    pub(crate) plan: ShrinkPlan,
    /// The choice in each group.
    pub(crate) choices: Vec<Choice>,
    /// The targets whose channels stay, each with the reason.
    pub(crate) fixed: Vec<(usize, String)>,
}

/// Returns the groups of a trace whose units are the channels of the targets.
pub(crate) fn owned<'a>(
    trace: &'a Trace,
    rules: &AxisRules,
    all: &[Layer],
    selection: &Selection,
    granularity: Granularity,
) -> Result<(Solved<'a>, Axis, Vec<Owner>), ShrinkError> {
    let (prefer, axis, head) = match granularity {
        Granularity::Channel { axis } => (Factor::Inner, axis, None),
        Granularity::Head { size, axis } => (Factor::Outer, axis, Some(HeadSize(size))),
        other => return Err(ShrinkError::Granularity { granularity: other.to_string() }),
    };
    let solved = Solved::new(trace, rules, prefer)?;
    fits(trace, all)?;
    let owners = owners(&solved, all, selection, axis, head)?;
    Ok((solved, axis, owners))
}

/// Returns for each group the layers of its targets, by their indices in the model.
pub(crate) fn makers(solved: &Solved<'_>, all: &[Layer], owners: &[Owner]) -> Vec<Vec<usize>> {
    let at = |param: usize| all.iter().position(|l| l.path == solved.path(param));
    owners.iter().map(|owner| owner.members.iter().filter_map(|(param, _)| at(*param)).collect()).collect()
}

fn plan_of(solved: &Solved<'_>, owners: &[Owner], removed: &Removed) -> Result<ShrinkPlan, ShrinkError> {
    let (chosen, removed) = (&removed.chosen, &removed.labels);
    let trace = solved.analysis.trace;
    let gone = solved.gone(removed);
    let mut parameters = BTreeMap::new();
    for (param, traced) in trace.params.iter().enumerate() {
        let Some(index) = solved.analysis.index[param] else { continue };
        let mut keep = BTreeMap::new();
        for (axis, dim) in solved.analysis.graph.dims(index).iter().enumerate() {
            let Dim::Free { labels, .. } = dim else { continue };
            if labels.iter().any(|&l| gone(l)) {
                keep.insert(axis, (0..labels.len()).filter(|&p| !gone(labels[p])).collect());
            }
        }
        if !keep.is_empty() {
            let aliases = traced.paths[1..].to_vec();
            parameters.insert(traced.path().to_string(), Cut::new(traced.shape.clone(), keep).with_aliases(aliases));
        }
    }
    let groups = owners.iter().zip(chosen).map(|(owner, chosen)| {
        let group = &solved.groups.groups[owner.group];
        let own = group.members.iter().position(|m| solved.path(m.param) == owner.path).unwrap_or(0);
        let axes = group.members.iter().map(|m| solved.axis(m.param, m.axis).to_string()).collect();
        GroupCut::new(&owner.path, axes, chosen.units, chosen.kept_units).with_size(group.units[0].positions[own].len())
    });
    let groups = groups.collect();
    let (before, after): (Totals, Totals) = (solved.totals(&HashSet::new()), solved.totals(removed));
    let plan = ShrinkPlan::new(parameters, solved.fields(removed), groups, before, after, solved.products(removed))?;
    Ok(plan.with_batch(trace.batch()))
}
