//! Calibrating and pruning in one call, in one pass or layer after layer: [`Pruner::prune_with`].

use crate::amounts::Amounts;
use crate::calibrate::{Calibration, CalibrationError, stages};
use crate::layers::layers;
use crate::pruner::masked::masked;
use crate::pruner::select::select;
use crate::score::CriterionInputs;
use crate::targets::{Selection, Target};
use crate::trace::Scope;
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::Sparsity;
use pruning_core::report::Report;
use std::collections::BTreeSet;

impl Pruner {
    /// Collects what the recipe needs from batches, and prunes.
    ///
    /// It is [`Calibration::collect`] and [`prune`](Self::prune) in one. If the recipe says `sequential`, layers are calibrated, pruned and
    /// reconstructed one after the other, each on what the layers before it now put out; layers that share their input go together. How much
    /// each layer loses is decided once, on the model as it was. That takes a run of the batches for each step.
    ///
    /// ```
    /// # use burn::{nn::{Linear, LinearConfig}, tensor::{Device, Distribution, Tensor}};
    /// # use pruning_burn::{score::{Criterion, CriterionError, LayerView, Need, Needs}, plugin::Plugin};
    /// # #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
    /// # #[serde(default, deny_unknown_fields)]
    /// # struct Seen {}
    /// # impl Plugin for Seen {
    /// #     const NAME: &'static str = "acme.seen";
    /// #     const SUMMARY: &'static str = "Weights by what they see.";
    /// # }
    /// # impl Criterion for Seen {
    /// #     fn needs(&self) -> Needs { Need::INPUT_NORM.into() }
    /// #     fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
    /// #         Ok(layer.weight().abs() * layer.input(Need::INPUT_NORM)?)
    /// #     }
    /// # }
    /// # pruning_burn::register_criterion!(Seen);
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// # let device = Device::flex();
    /// let mut model = LinearConfig::new(8, 4).init(&device);
    /// let batches = [Tensor::<2>::random([64, 8], Distribution::Default, &device)];
    /// let pruner = Pruner::from_toml("sparsity = 0.5\ncriterion = \"acme.seen\"", &Plugins::linked())?;
    /// let report = pruner.prune_with(&mut model, &batches, |model: &Linear, batch, scope| {
    ///     let x = scope.input(batch);
    ///     scope.output(model.forward(x));
    /// })?;
    /// assert_eq!(report.kept(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Calibration::collect`] and [`prune`](Self::prune); `sequential` with channels or heads. The model is unchanged.
    pub fn prune_with<M: Module, I: IntoIterator + Clone>(
        &self,
        model: &mut M,
        batches: I,
        forward: impl Fn(&M, I::Item, &mut Scope),
    ) -> Result<Report, PruneError> {
        if self.needs().is_empty() {
            return self.prune(model, None);
        }
        let collected = |model: &M, wanted: &dyn Fn(&str) -> bool| {
            let calibration = Calibration::collect_of(model, &self.needs(), batches.clone(), &forward, wanted);
            calibration.map(|calibration| CriterionInputs::from(&calibration)).map_err(failed)
        };
        let all = layers(model)?;
        let selection = Selection::new(self.recipe(), &all)?;
        let inputs = collected(model, &|_| true)?;
        let amounts = Amounts { shared: self.amount(), own: &pruning_core::budget::Amount::OfTotal };
        let (masks, mut report) = select(model, self, &all, &selection, &amounts, Some(&inputs))?;
        if !self.recipe().sequential {
            *model = masked(model, self, (&all, &selection), masks, &mut report, Some(&inputs))?;
            return Ok(report);
        }
        if let Some(target) = selection.targets.iter().find(|target| target.granularity.is_structural()) {
            return Err(PruneError::SequentialStructures { path: all[target.layer].path.clone() });
        }
        let mut batch = batches.clone().into_iter();
        let order = match batch.next() {
            Some(batch) => stages(model, |model, scope| forward(model, batch, scope)).map_err(failed)?,
            None => Vec::new(),
        };
        let mut pruned = model.clone();
        let mut open: BTreeSet<usize> = selection.targets.iter().map(|target| target.layer).collect();
        for stage in order {
            let now = layers(&pruned)?;
            let here: BTreeSet<usize> =
                (0..now.len()).filter(|i| stage.contains(&now[*i].path) && open.remove(i)).collect();
            if here.is_empty() {
                continue;
            }
            let inputs = collected(&pruned, &|path| here.iter().any(|&i| now[i].path == path))?;
            let targets = selection.targets.iter().filter(|target| here.contains(&target.layer));
            // As many of each layer as was decided at first.
            let targets = targets.map(|target| {
                let keep = masks.iter().find(|(layer, _)| *layer == target.layer).map(|(_, keep)| keep);
                let removed = keep.map_or(0.0, |keep| 1.0 - keep.count_ones() as f64 / keep.len().max(1) as f64);
                Target { own: Sparsity::new(removed.clamp(0.0, 1.0 - f64::EPSILON)).ok(), ..target.clone() }
            });
            let part = Selection { targets: targets.collect(), dense: Vec::new(), skipped: Vec::new() };
            let (chosen, _) = select(&pruned, self, &now, &part, &amounts, Some(&inputs))?;
            let mut told = Report::default();
            pruned = masked(&pruned, self, (&now, &part), chosen, &mut told, Some(&inputs))?;
            for warning in told.warnings {
                report.add_warning(warning);
            }
        }
        // Layers that the forward does not come to: the error of those is that of a pruning in one pass.
        let rest: Vec<_> = masks.into_iter().filter(|(layer, _)| open.contains(layer)).collect();
        if rest.is_empty() {
            *model = pruned;
            return Ok(report);
        }
        let mut told = Report::default();
        *model = masked(&pruned, self, (&layers(&pruned)?, &selection), rest, &mut told, Some(&inputs))?;
        Ok(report)
    }
}

fn failed(source: CalibrationError) -> PruneError {
    PruneError::Calibration { source: Box::new(source) }
}
