//! Whether the inputs are there that the plugins of a recipe look at.

use crate::PruneError;
use crate::fingerprint::{Difference, Fingerprint};
use crate::layers::Layer;
use crate::score::criterion::collected;
use crate::score::statistics::{Reads, Statistic};
use crate::score::{Criterion, CriterionError, CriterionInputs, Need};
use burn::module::Module;
use pruning_core::plugin::Configured;
use pruning_core::recipe::Recipe;

/// Checks that no two plugins mean different inputs by one name.
pub(crate) fn at_odds(recipe: &Recipe<dyn Criterion>) -> Result<(), PruneError> {
    let needs = recipe.criterion.needs();
    let needs = recipe.grow.iter().fold(needs, |needs, grow| needs | grow.criterion.needs());
    match needs.at_odds() {
        None => Ok(()),
        Some((one, other)) => Err(PruneError::InputsAtOdds { input: one, shape: other.shape() }),
    }
}

/// Checks that all is there that a criterion looks at, as it declares it, and that a calibration was collected from this model.
pub(crate) fn needed<M: Module>(
    criterion: &Configured<dyn Criterion>,
    inputs: Option<&CriterionInputs>,
    model: &M,
) -> Result<(), PruneError> {
    let (needs, name) = (criterion.needs(), || criterion.name().to_string());
    for input in needs.iter() {
        match inputs.and_then(|inputs| inputs.shape(input)) {
            None => return Err(PruneError::MissingInputs { criterion: name(), needs: needs.clone() }),
            Some(held) if held != input.shape() => {
                return Err(PruneError::InputShape { criterion: name(), input, held });
            }
            Some(_) => {}
        }
    }
    belongs(inputs, model)
}

/// Checks that a calibration among the inputs was collected from this model, and that its weights have not changed since.
pub(crate) fn belongs<M: Module>(inputs: Option<&CriterionInputs>, model: &M) -> Result<(), PruneError> {
    let Some(statistics) = inputs.and_then(CriterionInputs::statistics) else { return Ok(()) };
    match statistics.model().differs(&Fingerprint::of(model)) {
        None => Ok(()),
        Some(Difference::Shape { path, expected, found }) => {
            Err(PruneError::OtherCalibration { path, expected, found })
        }
        Some(Difference::Values { path }) => Err(PruneError::StaleCalibration { path }),
    }
}

/// An input of a parameter as numbers in double precision, and how the weight reads them.
pub(crate) fn statistic(inputs: &CriterionInputs, need: Need, layer: &Layer) -> Result<Statistic, CriterionError> {
    if let Some((values, found)) = inputs.get(need, &layer.path) {
        if *found != layer.shape {
            let (expected, found) = (layer.shape.as_slice().into(), found.into());
            return Err(CriterionError::InputShape { input: need, expected, found });
        }
        let values = values.clone().into_data().iter::<f64>().collect();
        return Ok(Statistic { values, reads: Reads::Columns });
    }
    collected(inputs, need, &layer.path, &layer.layout)
}
