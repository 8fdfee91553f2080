//! The masks of a model that may be larger than memory, chosen one layer at a time: [`Choices`].

use crate::amounts::Amounts;
use crate::layers::{Layer, layers};
use crate::pruner::alone::{candidate, elements};
use crate::reports::{Choice, layers_of, report_of, untraced};
use crate::score::CriterionInputs;
use crate::score::element_scores::{Scoring, blamed};
use crate::score::needed::needed;
use crate::score::weights::Weights;
use crate::targets::{Selection, alive};
use crate::{PruneError, Pruner};
use burn::module::Module;
use pruning_core::budget::{Amount, Candidate, ChooseError, Chosen, Quota, RankedUnits};
use pruning_core::mask::{Bits, Mask};
use pruning_core::report::Report;
use pruning_core::score::{ScoreError, TakeElements, Units};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The masks that a recipe chooses for a model, one layer at a time: see [`Pruner::choose`].
///
/// How much each layer keeps is known. The mask of a layer is made when it is asked for, from the weights of that layer alone. The masks are
/// those of [`Pruner::prune`] bit for bit. Several threads may ask.
#[derive(Debug)]
pub struct Choices<'a, M> {
    pruner: Pruner,
    all: Vec<Layer>,
    selection: Selection,
    alive: Vec<Option<Bits>>,
    inputs: Option<&'a CriterionInputs>,
    weights: Weights<'a, M>,
    quotas: Vec<Quota>,
    /// Whether all are compared in double precision.
    double: bool,
    told: Mutex<Vec<Option<Told>>>,
}

/// What is reported of a layer.
#[derive(Clone, Debug)]
struct Told {
    /// Without its elements.
    chosen: Chosen,
    /// The number of elements.
    kept: usize,
}

impl Pruner {
    /// Chooses how much each layer of a model keeps, and gives the masks one after the other. Nothing is attached.
    ///
    /// It is for models larger than memory: no more than the scores of two layers are in memory at a time. A budget that layers share is
    /// counted exactly, by two passes over their weights; the mask of a layer then reads its weights once more. (Weights in double precision
    /// take up to five passes, and the allocator `budget` holds all scores.) A parameter should be lazy, and made anew by each visit of the
    /// model, so that what was read is dropped. An ordinary model is in memory anyway, and gets the same masks.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"\nallocator = \"global\"";
    /// let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
    /// let mut model = LinearConfig::new(20, 10).init(&Device::flex());
    /// let choices = pruner.choose(&model, None)?;
    /// let mask = choices.mask("weight")?.unwrap();
    /// assert_eq!(mask.kept(), 20);
    /// assert!(choices.mask("bias")?.is_none());
    /// let report = choices.report()?;
    /// assert_eq!(report, pruner.prune(&mut model, None)?);
    /// assert_eq!(pruning_burn::mask::masks(&model).get("weight"), Some(&mask));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`prune`](Self::prune); a parameter cannot be read. Channels and heads of a pruner with a trace, `sequential` and
    /// `reconstruct` are errors: they do more than choosing the mask of one layer after the other.
    pub fn choose<'a, M: Module + Sync>(
        &self,
        model: &'a M,
        inputs: impl Into<Option<&'a CriterionInputs>>,
    ) -> Result<Choices<'a, M>, PruneError> {
        let (all, inputs) = (layers(model)?, inputs.into());
        let selection = Selection::new(self.recipe(), &all)?;
        if self.recipe().sequential {
            return Err(PruneError::Sequential);
        }
        if let Some(reconstruction) = &self.recipe().reconstruct {
            return Err(PruneError::ReconstructedChoice { reconstruction: reconstruction.name().to_string() });
        }
        if let Some(target) = selection.targets.iter().find(|target| target.granularity.is_structural())
            && self.masks_groups() == Some(true)
        {
            return Err(PruneError::TracedChoice { path: all[target.layer].path.clone() });
        }
        needed(&self.recipe().criterion, inputs, model)?;
        let (alive, weights) = (alive(&all, &selection), Weights::new(model, &all, &selection));
        let told = Mutex::new(vec![None; selection.targets.len()]);
        let pruner = self.clone();
        let mut choices =
            Choices { pruner, all, selection, alive, inputs, weights, quotas: Vec::new(), double: false, told };
        (choices.quotas, choices.double) = choices.share()?;
        Ok(choices)
    }
}

impl<M: Module + Sync> Choices<'_, M> {
    /// Returns the paths of the parameters that get a mask, in the order of the model.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &str> {
        self.selection.targets.iter().map(|target| self.all[target.layer].path.as_str())
    }

    /// Reads a parameter and returns its mask; `None` if the recipe does not prune it.
    ///
    /// # Errors
    /// The parameter cannot be read, or its criterion cannot score it.
    pub fn mask(&self, path: &str) -> Result<Option<Mask>, PruneError> {
        let Some(place) = self.weights.place(path) else { return Ok(None) };
        let chosen = self.chosen(place)?;
        Ok(Some(Mask::new(self.layer(place).shape.clone(), chosen.keep)?))
    }

    /// Returns the report that [`Pruner::prune`] gives. A parameter whose mask nobody has asked for is read.
    ///
    /// # Errors
    /// Those of [`mask`](Self::mask).
    pub fn report(&self) -> Result<Report, PruneError> {
        let untold: Vec<usize> =
            self.told().iter().enumerate().filter(|(_, t)| t.is_none()).map(|(at, _)| at).collect();
        untold.into_iter().try_for_each(|place| self.chosen(place).map(drop))?;
        let (all, selection, told) = (&self.all, &self.selection, self.told());
        let of = || selection.targets.iter().zip(told.iter().flatten());
        let choices = of().map(|(target, told)| Choice {
            layer: target.layer,
            layers: vec![target.layer],
            chosen: told.chosen.clone(),
        });
        let kept = |layer| of().find(|(target, _)| target.layer == layer).map_or(0, |(_, told)| told.kept);
        let layers = layers_of(all, selection.targets.iter(), &choices.collect::<Vec<_>>(), kept);
        let mut report = report_of(all, selection, layers);
        report.warnings.extend(untraced(all, selection));
        Ok(report)
    }

    fn layer(&self, place: usize) -> &Layer {
        &self.all[self.selection.targets[place].layer]
    }

    fn told(&self) -> MutexGuard<'_, Vec<Option<Told>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shares the budget out, with the scores of two layers in memory.
    fn share(&self) -> Result<(Vec<Quota>, bool), PruneError> {
        let (failed, uses) = (Failed::default(), self.pruner.uses());
        let candidates: Vec<_> =
            (0..self.selection.targets.len()).map(|place| self.candidate(place, &uses, &failed)).collect();
        let quotas = RankedUnits::new(&candidates).and_then(|ranked| {
            let quotas = ranked.quotas(&self.amounts().rules(self.pruner.recipe()))?;
            Ok((quotas, ranked.is_double()))
        });
        quotas.map_err(|error| self.blame(&failed, error))
    }

    fn chosen(&self, place: usize) -> Result<Chosen, PruneError> {
        let failed = Failed::default();
        let candidate = self.candidate(place, &BTreeMap::new(), &failed);
        let rules = self.amounts().rules(self.pruner.recipe());
        let chosen = candidate.keep(self.quotas[place], &rules, self.double);
        let chosen = chosen.map_err(|error| self.blame(&failed, error))?;
        let mut told = Told { chosen: chosen.clone(), kept: chosen.keep.count_ones() };
        told.chosen.keep = Bits::zeros(0);
        self.told()[place] = Some(told);
        Ok(chosen)
    }

    fn amounts(&self) -> Amounts<'static> {
        Amounts { shared: self.pruner.amount(), own: &Amount::OfTotal }
    }

    /// A target, whose scores are read each time.
    fn candidate<'c>(&'c self, place: usize, uses: &BTreeMap<String, usize>, failed: &'c Failed) -> Candidate<'c> {
        let Self { pruner, all, selection, alive, inputs, weights, .. } = self;
        let (recipe, granularity) = (pruner.recipe(), selection.targets[place].granularity);
        let (criterion, path) = (&recipe.criterion, &self.layer(place).path);
        let scoring = Scoring { weights, criterion, all, selection, alive, inputs: *inputs, update: 0 };
        let read = move |take: &mut TakeElements<'_>| {
            let (numbers, factor) = scoring.read(place).map_err(|error| failed.note(path, error))?;
            take(elements(&numbers), factor);
            Ok(())
        };
        let units = Units::read_again(granularity, self.layer(place).layout, alive[place].as_ref(), read);
        candidate(recipe, (all, selection, place), &self.amounts(), uses, units)
    }

    /// The error behind an error of the host's part.
    fn blame(&self, failed: &Failed, error: ChooseError) -> PruneError {
        let ours = match &error {
            ChooseError::Scores { path, .. } => failed.errors().remove(path),
            _ => None,
        };
        ours.unwrap_or_else(|| blamed(&self.pruner.recipe().criterion, error))
    }
}

/// Why layers could not be scored, by path: the host's part knows no criteria.
#[derive(Default)]
struct Failed(Mutex<BTreeMap<String, PruneError>>);

impl Failed {
    fn errors(&self) -> MutexGuard<'_, BTreeMap<String, PruneError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, path: &str, error: PruneError) -> ScoreError {
        let unread = ScoreError::unread(&error);
        self.errors().insert(path.to_string(), error);
        unread
    }
}
