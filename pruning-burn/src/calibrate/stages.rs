//! The order in which a forward comes to its layers: [`stages`].

use crate::calibrate::CalibrationError;
use crate::calibrate::products::find;
use crate::layers::{Layer, layers, places};
use crate::trace::{Scope, Trace};
use burn::module::Module;
use std::collections::BTreeSet;

/// Returns the parameters that see each input, in the order in which a forward comes to them.
pub(crate) fn stages<M: Module>(
    model: &M,
    forward: impl FnOnce(&M, &mut Scope),
) -> Result<Vec<BTreeSet<String>>, CalibrationError> {
    let trace = Trace::record(model, forward).map_err(|source| CalibrationError::Trace { batch: 0, source })?;
    let all = layers(model)?;
    let inputs = find(&trace, &of_trace(&trace, &all)).inputs;
    Ok(inputs.iter().map(|input| input.readers.keys().map(|&i| all[i].path.clone()).collect()).collect())
}

/// The layer of each parameter of a trace, with its index.
pub(super) fn of_trace<'a>(trace: &Trace, all: &'a [Layer]) -> Vec<Option<(usize, &'a Layer)>> {
    let places = places(all);
    let layer = |paths: &[String]| paths.iter().find_map(|path| places.get(path.as_str())).map(|&i| (i, &all[i]));
    trace.parameters().map(layer).collect()
}
