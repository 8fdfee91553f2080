//! The state of a session as data.

use crate::layers::{layers, places};
use crate::mask::attach::paths;
use crate::snapshot::{Kept, Snapshot, Stored};
use crate::store::{SNAPSHOT, StoreError};
use crate::{PruneError, Pruner, Session};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    recipe: Value,
    step: usize,
    targets: Vec<String>,
    snapshot: bool,
    /// Where the snapshot is, or will be, if the session does not hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot_file: Option<PathBuf>,
}

/// The state of a session as text, and the tensors of its snapshot.
pub(super) fn pack(session: &Session) -> Result<(String, Vec<burn_pack::Tensor>), String> {
    let state = State {
        recipe: session.pruner.recipe().to_value(),
        step: session.step,
        targets: session.targets.clone(),
        snapshot: session.snapshot.is_some(),
        snapshot_file: session.snapshot_file.clone(),
    };
    let snapshot = match &session.snapshot {
        Some(Kept::Memory(snapshot)) => snapshot.pack(SNAPSHOT),
        Some(Kept::File(_)) | None => Vec::new(),
    };
    Ok((serde_json::to_string(&state).map_err(|error| error.to_string())?, snapshot))
}

/// The session of a state, on the model that was loaded with it.
pub(super) fn resume<M: Module>(
    pruner: &Pruner,
    model: &M,
    state: State,
    mut snapshot: Snapshot,
    name: &dyn Fn() -> String,
) -> Result<Session, StoreError> {
    let keys = differing(&pruner.recipe().to_value(), &state.recipe);
    if !keys.is_empty() {
        return Err(StoreError::OtherRecipe { file: name(), keys });
    }
    let kept = match (state.snapshot, &state.snapshot_file) {
        (false, _) => None,
        (true, Some(file)) => Some(Kept::File(file.clone())),
        (true, None) => {
            // On the devices of the parameters, where it was taken.
            let expected = Snapshot::of(model).values;
            for (path, stored) in &mut snapshot.values {
                if let Some(parameter) = expected.get(path) {
                    stored.value = stored.value.clone().to_device(&parameter.value.device());
                }
            }
            Some(Kept::Memory(snapshot))
        }
    };
    match kept.as_ref().map_or(Ok(()), |kept| kept.check(model)) {
        Ok(()) => {}
        Err(PruneError::OtherModel { path }) => return Err(StoreError::Snapshot { file: name(), path }),
        Err(source) => return Err(StoreError::Prune { file: name(), source }),
    }
    let all = layers(model).map_err(|error| StoreError::Prune { file: name(), source: error.into() })?;
    let places = places(&all);
    let id = |path: &String| {
        places.get(path.as_str()).filter(|&&place| all[place].path == *path).map(|&place| all[place].id)
    };
    let missing = state.targets.iter().find(|path| id(path).is_none()).cloned();
    if let Some(path) = missing {
        let source = PruneError::UnknownParameter { path, paths: paths(&all) };
        return Err(StoreError::Prune { file: name(), source });
    }
    Ok(Session {
        pruner: pruner.clone(),
        step: state.step,
        ids: state.targets.iter().filter_map(id).collect(),
        targets: state.targets,
        snapshot: kept,
        snapshot_file: state.snapshot_file,
        fresh: None,
        grown: BTreeMap::new(),
    })
}

/// The top-level keys by which a recipe differs from one that was read from a file.
pub(crate) fn differing(recipe: &Value, read: &Value) -> Vec<String> {
    let object = |v: &Value| v.as_object().cloned().unwrap_or_default();
    let (ours, theirs) = (object(recipe), object(read));
    let mut keys: Vec<_> =
        ours.keys().chain(theirs.keys()).filter(|k| ours.get(*k) != theirs.get(*k)).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

pub(super) fn unpack<M: Module>(tensor: burn_pack::Tensor, model: &M) -> Result<Stored, String> {
    let (_, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
    let shape = shape.as_slice().to_vec();
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).ok_or("a shape that cannot be")?;
    let data = TensorData::try_from_bytes(bytes, [len], dtype).map_err(|error| format!("{error:?}"))?;
    // In its own type: a device would make of it what it takes by default.
    Ok(Stored { value: Tensor::from_data(data, (&host_device(model), dtype)), shape })
}

/// Any device of the model, for tensors that move on from there.
fn host_device<M: Module>(model: &M) -> Device {
    model.devices().into_iter().next().unwrap_or_default().without_autodiff()
}
