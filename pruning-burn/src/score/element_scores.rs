//! Scores of the elements of targets, as their criterion gives them: [`score`].

use crate::PruneError;
use crate::host;
use crate::host::{Numbers, to_matrix};
use crate::layers::Layer;
use crate::score::criterion::scored;
use crate::score::{Criterion, CriterionInputs, LayerView};
use crate::targets::Selection;
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use pruning_core::budget::ChooseError;
use pruning_core::mask::Bits;
use pruning_core::plugin::Configured;
use std::collections::BTreeMap;

/// An error of ranking, with the criterion whose scores cannot be ranked.
pub(crate) fn blamed(criterion: &Configured<dyn Criterion>, error: ChooseError) -> PruneError {
    match error {
        ChooseError::NonFinite { path, source } => {
            PruneError::Criterion { path, criterion: criterion.name().to_string(), source: Box::new(source.into()) }
        }
        error => error.into(),
    }
}

struct Scoring<'a> {
    criterion: &'a Configured<dyn Criterion>,
    all: &'a [Layer],
    /// Path to layer and place in the result.
    wanted: BTreeMap<&'a str, (usize, usize)>,
    alive: &'a [Option<Bits>],
    inputs: Option<&'a CriterionInputs>,
    update: usize,
    scores: Vec<Option<(Tensor<2>, f64)>>,
    error: Option<PruneError>,
}

impl Scoring<'_> {
    fn score<const D: usize>(
        &self,
        base: Tensor<D>,
        layer: &Layer,
        alive: Option<&Bits>,
    ) -> Result<(Tensor<2>, f64), PruneError> {
        let base = base.without_autodiff();
        let base = match alive {
            None => base,
            Some(bits) => {
                let keep = host::keep_on(bits, &base.device()).reshape(base.shape()).float();
                let dtype = base.dtype();
                base * keep.cast(dtype)
            }
        };
        let weight = to_matrix(base, &layer.layout);
        let failed = |source| PruneError::Criterion {
            path: layer.path.clone(),
            criterion: self.criterion.name().to_string(),
            source: Box::new(source),
        };
        let view = LayerView {
            path: &layer.path,
            kind: &layer.kind,
            shape: &layer.shape,
            layout: layer.layout,
            weight,
            inputs: self.inputs,
            needs: self.criterion.needs(),
            update: self.update,
        };
        let (scores, factor) = scored(&**self.criterion, &view).map_err(failed)?;
        let scores = if matches!(scores.dtype(), DType::F32 | DType::F64) { scores } else { scores.cast(DType::F32) };
        Ok((scores, f64::from(factor)))
    }
}

impl Visit for Scoring<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_some() || self.error.is_some() {
            return;
        }
        if let Some(&(layer, place)) = self.wanted.get(at.path().as_str()) {
            match self.score(param.base(), &self.all[layer], self.alive[place].as_ref()) {
                Ok(scores) => self.scores[place] = Some(scores),
                Err(error) => self.error = Some(error),
            }
        }
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
    let targets = selection.targets.iter().enumerate();
    let mut scoring = Scoring {
        criterion,
        all,
        wanted: targets.map(|(place, t)| (all[t.layer].path.as_str(), (t.layer, place))).collect(),
        alive,
        inputs,
        update,
        scores: selection.targets.iter().map(|_| None).collect(),
        error: None,
    };
    walk::visit(module, &mut scoring);
    match scoring.error {
        Some(error) => Err(error),
        None => {
            let layouts = selection.targets.iter().map(|t| all[t.layer].layout);
            let (scores, factors): (Vec<_>, Vec<_>) = scoring.scores.into_iter().flatten().unzip();
            // Within the range of 32-bit floats: a layer beyond it keeps its own ranking at least.
            let single = |factor: f64| factor.clamp(f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)) as f32;
            let numbers = host::read(scores.into_iter().zip(layouts).collect()).into_iter().zip(factors);
            Ok(numbers.map(|(numbers, factor)| (numbers.scaled(factor), single(factor))).collect())
        }
    }
}
