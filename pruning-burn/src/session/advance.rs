//! One step of a session: what it does to a model.

use crate::PruneError;
use crate::amounts::Amounts;
use crate::layers::{Layer, MASK, layers};
use crate::mask::attach::sound;
use crate::pruner::masked::masked;
use crate::pruner::select::select;
use crate::score::CriterionInputs;
use crate::session::grow;
use crate::session::{Session, targets};
use crate::snapshot::{Kept, Snapshot};
use crate::targets::Selection;
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param, ParamId};
use burn::tensor::Tensor;
use pruning_core::budget::{Amount, Sparsity};
use pruning_core::mask::Bits;
use pruning_core::recipe::Budget;
use pruning_core::report::Report;
use pruning_core::schedule::{Event, Initialization, Update};
use std::collections::{BTreeMap, HashMap, HashSet};

impl Session {
    pub(super) fn advance<M: Module>(
        &mut self,
        model: &mut M,
        inputs: Option<&CriterionInputs>,
    ) -> Result<Option<Report>, PruneError> {
        let recipe = self.pruner.recipe();
        let (due, due_update) = (self.due(), self.due_update());
        let passes = self.snapshot.is_none() && recipe.initialization == (Initialization::Rewind { step: self.step });
        // Nothing is kept or changed before it is clear that this is the model of the session.
        if due.is_none() && due_update.is_none() && !passes {
            self.recognize(model)?;
            self.grown = BTreeMap::new();
            self.step = self.step.saturating_add(1);
            return Ok(None);
        }
        let all = layers(model)?;
        let selection = self.selection(&all)?;
        let passed = match passes {
            true => Some(Kept::new(Snapshot::of(model), self.snapshot_file.as_deref())?),
            false => None,
        };
        let (report, grown) = match (due, due_update) {
            (Some(event), _) => {
                let snapshot = self.snapshot.as_ref().or(passed.as_ref());
                let report = self.prune(model, (&all, &selection), &event, snapshot, inputs)?;
                self.fresh = None;
                (Some(report), BTreeMap::new())
            }
            (None, Some(update)) => {
                let (report, grown) = self.update(model, (&all, &selection), &update, inputs)?;
                (Some(report), grown)
            }
            (None, None) => (None, BTreeMap::new()),
        };
        self.snapshot = self.snapshot.take().or(passed);
        self.grown = grown;
        self.step = self.step.saturating_add(1);
        Ok(report)
    }

    fn update<M: Module>(
        &self,
        model: &mut M,
        targets: (&[Layer], &Selection),
        update: &Update,
        inputs: Option<&CriterionInputs>,
    ) -> Result<(Report, BTreeMap<String, Bits>), PruneError> {
        let recipe = self.pruner.recipe();
        let Some(grow) = &recipe.grow else { return Ok((Report::default(), BTreeMap::new())) };
        let updated = grow::update(model, recipe, grow, targets, update, inputs)?;
        *model = updated.model;
        Ok((updated.report, updated.grown))
    }

    /// That the targets of the session are in this model and carry masks. It reads no names and no numbers, so that a step with nothing due takes
    /// no time; what is wrong is told by the whole check.
    fn recognize<M: Module>(&self, model: &M) -> Result<(), PruneError> {
        let mut carrying = Carrying::default();
        walk::visit(model, &mut carrying);
        match self.ids.iter().zip(&self.targets).find(|(id, _)| !carrying.masked.contains(id)) {
            None => Ok(()),
            Some((_, path)) => self.check(model).and(Err(PruneError::AnotherModel { path: path.clone() })),
        }
    }

    /// That this is the model of the session, with its masks on.
    pub(crate) fn check<M: Module>(&self, model: &M) -> Result<(), PruneError> {
        self.selection(&layers(model)?).map(drop)
    }

    /// The targets, which must be those of the start and carry masks.
    fn selection(&self, all: &[Layer]) -> Result<Selection, PruneError> {
        let selection = Selection::new(self.pruner.recipe(), all)?;
        let now = targets(&selection, all);
        let differs = |a: &[String], b: &[String]| {
            let known: HashSet<&String> = b.iter().collect();
            a.iter().find(|path| !known.contains(path)).cloned()
        };
        if let Some(path) = differs(&now, &self.targets).or_else(|| differs(&self.targets, &now)) {
            return Err(PruneError::TargetsChanged { path });
        }
        if let Some(target) = selection.targets.iter().find(|t| all[t.layer].keep.is_none()) {
            return Err(PruneError::NotAttached { path: all[target.layer].path.clone() });
        }
        if let Some((target, _)) = selection.targets.iter().zip(&self.ids).find(|(t, id)| all[t.layer].id != **id) {
            return Err(PruneError::AnotherModel { path: all[target.layer].path.clone() });
        }
        Ok(selection)
    }

    fn prune<M: Module>(
        &self,
        model: &mut M,
        (all, selection): (&[Layer], &Selection),
        event: &Event,
        snapshot: Option<&Kept>,
        inputs: Option<&CriterionInputs>,
    ) -> Result<Report, PruneError> {
        let recipe = self.pruner.recipe();
        if recipe.sequential {
            return Err(PruneError::Sequential);
        }
        // Asked beforehand, since a curve may fail.
        let mut owned = HashMap::new();
        for target in selection.targets.iter().filter_map(|t| t.own) {
            owned.insert(target.value().to_bits(), recipe.schedule.own_amount(event, target)?);
        }
        let own = |target: Sparsity| owned.get(&target.value().to_bits()).copied().unwrap_or(Amount::OfTotal(target));
        let shared = match recipe.budget {
            Budget::Sparsity(sparsity) => recipe.schedule.amount(event, sparsity)?,
            Budget::Count(count) => Amount::Count(count),
        };
        let amounts = Amounts { shared, own: &own };
        let (masks, mut report) = select(model, &self.pruner, all, selection, &amounts, inputs)?;
        let mut pruned = masked(model, &self.pruner, (all, selection), masks, &mut report, inputs)?;
        match recipe.initialization {
            Initialization::Keep | Initialization::RewindRate { .. } => {}
            Initialization::Rewind { step } => {
                pruned = snapshot.ok_or(PruneError::NoSnapshot { step })?.restore(pruned)?;
                sound(&pruned)?;
            }
            Initialization::Reinitialize => {
                pruned = self.fresh.as_ref().ok_or(PruneError::NoFreshWeights)?.restore(pruned)?;
                sound(&pruned)?;
            }
        }
        *model = pruned;
        report.step = Some(event.step);
        report.round = Some((event.round, event.rounds));
        Ok(report)
    }
}

/// The parameters that carry one of our masks, by their ids.
#[derive(Default)]
struct Carrying {
    masked: HashSet<ParamId>,
    /// The parameter that was visited last: its reparameterization comes next.
    last: Option<ParamId>,
}

impl Visit for Carrying {
    fn visit_carried(&mut self, name: &str) {
        if name == MASK[0] {
            self.masked.extend(self.last);
        }
    }

    fn visit_float<const D: usize>(&mut self, _: &Position, param: &Param<Tensor<D>>) {
        self.last = Some(param.id);
    }
}
