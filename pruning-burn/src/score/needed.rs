//! Whether the inputs are there that the plugins of a recipe look at.

use crate::PruneError;
use crate::score::{Criterion, CriterionInputs};
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

/// Checks that all is there that a criterion looks at, and as it declares it.
pub(crate) fn needed(
    criterion: &Configured<dyn Criterion>,
    inputs: Option<&CriterionInputs>,
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
    Ok(())
}
