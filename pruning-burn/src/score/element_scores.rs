//! Scores of the elements of targets, as their criterion gives them: of all at once by [`score`], of one by [`Scoring`].

use crate::PruneError;
use crate::host;
use crate::host::Numbers;
use crate::layers::Layer;
use crate::score::criterion::scored;
use crate::score::weights::Weights;
use crate::score::{Criterion, CriterionInputs, LayerView};
use crate::targets::Selection;
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use pruning_core::budget::ChooseError;
use pruning_core::mask::Bits;
use pruning_core::plugin::Configured;

/// An error of ranking, with the criterion whose scores cannot be ranked.
pub(crate) fn blamed(criterion: &Configured<dyn Criterion>, error: ChooseError) -> PruneError {
    match error {
        ChooseError::NonFinite { path, source } => {
            PruneError::Criterion { path, criterion: criterion.name().to_string(), source: Box::new(source.into()) }
        }
        error => error.into(),
    }
}

/// What the scores of each target depend on.
pub(crate) struct Scoring<'a, M> {
    pub(crate) weights: &'a Weights<'a, M>,
    pub(crate) criterion: &'a Configured<dyn Criterion>,
    pub(crate) all: &'a [Layer],
    pub(crate) selection: &'a Selection,
    pub(crate) alive: &'a [Option<Bits>],
    pub(crate) inputs: Option<&'a CriterionInputs>,
    /// The number of the update of dynamic sparse training, or 0 in a pruning.
    pub(crate) update: usize,
}

impl<M: Module> Scoring<'_, M> {
    /// Reads the weights of the target at a place, and returns the scores of its elements in memory order, and their factor.
    pub(crate) fn read(&self, place: usize) -> Result<(Numbers, f32), PruneError> {
        let (scores, factor) = self.score(place)?;
        let layout = self.layer(place).layout;
        let numbers = host::read(vec![(scores, layout)]).swap_remove(0);
        Ok((numbers.scaled(f64::from(factor)), factor))
    }

    fn layer(&self, place: usize) -> &Layer {
        &self.all[self.selection.targets[place].layer]
    }

    fn score(&self, place: usize) -> Result<(Tensor<2>, f32), PruneError> {
        let layer = self.layer(place);
        let view = LayerView {
            path: &layer.path,
            kind: &layer.kind,
            shape: &layer.shape,
            layout: layer.layout,
            weight: self.weights.read(place, layer, self.alive[place].as_ref())?,
            inputs: self.inputs,
            needs: self.criterion.needs(),
            update: self.update,
        };
        let failed = |source| PruneError::Criterion {
            path: layer.path.clone(),
            criterion: self.criterion.name().to_string(),
            source: Box::new(source),
        };
        let (scores, factor) = scored(&**self.criterion, &view).map_err(failed)?;
        let scores = if matches!(scores.dtype(), DType::F32 | DType::F64) { scores } else { scores.cast(DType::F32) };
        Ok((scores, factor))
    }
}

/// Element scores of the targets, in the memory order of their parameters; `update` is 0 in a pruning.
pub(crate) fn score<M: Module>(
    module: &M,
    criterion: &Configured<dyn Criterion>,
    all: &[Layer],
    selection: &Selection,
    alive: &[Option<Bits>],
    inputs: Option<&CriterionInputs>,
    update: usize,
) -> Result<Vec<(Numbers, f32)>, PruneError> {
    let weights = &Weights::new(module, all, selection);
    let scoring = Scoring { weights, criterion, all, selection, alive, inputs, update };
    let scored = (0..selection.targets.len()).map(|place| scoring.score(place)).collect::<Result<Vec<_>, _>>()?;
    let (scores, factors): (Vec<_>, Vec<_>) = scored.into_iter().unzip();
    let layouts = selection.targets.iter().map(|t| all[t.layer].layout);
    // One read for all: every read waits for the device.
    let numbers = host::read(scores.into_iter().zip(layouts).collect()).into_iter().zip(factors);
    Ok(numbers.map(|(numbers, factor)| (numbers.scaled(f64::from(factor)), factor)).collect())
}
