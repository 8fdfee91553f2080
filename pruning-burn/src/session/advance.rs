//! One step of a session: what it does to a model.

use super::{Session, targets};
use crate::attach::put;
use crate::layers::{Layer, layers};
use crate::select::{Amounts, Selection, select};
use crate::snapshot::{Kept, Snapshot};
use crate::{Inputs, PruneError, grow};
use burn::module::Module;
use pruning_core::{Amount, Bits, Budget, Event, Initialization, Report, Update};
use std::collections::BTreeMap;

impl Session {
    pub(super) fn advance<M: Module>(
        &mut self,
        model: &mut M,
        inputs: Option<&Inputs>,
    ) -> Result<Option<Report>, PruneError> {
        let recipe = self.pruner.recipe();
        let passed = match &self.snapshot {
            None if recipe.initialization == (Initialization::Rewind { step: self.step }) => {
                Some(Kept::new(Snapshot::of(model), self.snapshot_file.as_deref())?)
            }
            _ => None,
        };
        let (report, grown) = match (self.due(), self.due_update()) {
            (Some(event), _) => {
                let snapshot = self.snapshot.as_ref().or(passed.as_ref());
                let report = self.prune(model, &event, snapshot, inputs)?;
                self.fresh = None;
                (Some(report), BTreeMap::new())
            }
            (None, Some(update)) => {
                let (report, grown) = self.update(model, &update, inputs)?;
                (Some(report), grown)
            }
            (None, None) => (None, BTreeMap::new()),
        };
        self.snapshot = self.snapshot.take().or(passed);
        self.grown = grown;
        self.step += 1;
        Ok(report)
    }

    fn update<M: Module>(
        &self,
        model: &mut M,
        update: &Update,
        inputs: Option<&Inputs>,
    ) -> Result<(Report, BTreeMap<String, Bits>), PruneError> {
        let recipe = self.pruner.recipe();
        let all = layers(model);
        let selection = self.selection(&all)?;
        let Some(grow) = &recipe.grow else { return Ok((Report::default(), BTreeMap::new())) };
        let updated = grow::update(model, recipe, grow, (&all, &selection), update, inputs)?;
        *model = updated.model;
        Ok((updated.report, updated.grown))
    }

    /// That this is the model of the session, with its masks on.
    pub(crate) fn check<M: Module>(&self, model: &M) -> Result<(), PruneError> {
        self.selection(&layers(model)).map(drop)
    }

    /// The targets, which must be those of the start and carry masks.
    fn selection(&self, all: &[Layer]) -> Result<Selection, PruneError> {
        let selection = Selection::new(self.pruner.recipe(), all)?;
        let now = targets(&selection, all);
        let differs = |a: &[String], b: &[String]| a.iter().find(|path| !b.contains(path)).cloned();
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
        event: &Event,
        snapshot: Option<&Kept>,
        inputs: Option<&Inputs>,
    ) -> Result<Report, PruneError> {
        let recipe = self.pruner.recipe();
        let all = layers(model);
        let selection = self.selection(&all)?;
        let own = |target| recipe.schedule.own_amount(event, target);
        let shared = match recipe.budget {
            Budget::Sparsity(sparsity) => recipe.schedule.amount(event, sparsity),
            Budget::Count(count) => Amount::Count(count),
        };
        let amounts = Amounts { shared, own: &own };
        let (masks, mut report) = select(model, &self.pruner, &all, &selection, &amounts, inputs)?;
        let mut pruned = put(model, &all, masks);
        match recipe.initialization {
            Initialization::Keep | Initialization::RewindRate { .. } => {}
            Initialization::Rewind { step } => {
                pruned = snapshot.ok_or(PruneError::NoSnapshot { step })?.restore(pruned)?;
            }
            Initialization::Reinitialize => {
                pruned = self.fresh.as_ref().ok_or(PruneError::NoFreshWeights)?.restore(pruned)?;
            }
        }
        *model = pruned;
        report.step = Some(event.step);
        report.round = Some((event.round, event.rounds));
        Ok(report)
    }
}
