//! How a session is stored in a file.

use crate::layers::{layers, paths, places};
use crate::snapshot::{Kept, Snapshot, Stored};
use crate::store::contents::Form;
use crate::store::file_header::MODEL;
use crate::store::{Loaded, Read, SESSION, SNAPSHOT, Save, StoreError, model_contents, read_model};
use crate::{PruneError, Pruner, Session};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    recipe: Value,
    step: usize,
    targets: Vec<String>,
    snapshot: bool,
    /// Where the snapshot is, or will be, if the session does not hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot_file: Option<PathBuf>,
    /// Whether channels and heads are masked in whole groups, as with a trace; not there in files of 0.1, and where no unit is a channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traced: Option<bool>,
}

/// Saves a model with the session that prunes it. Saving fails if the session belongs to another model.
impl<M: Module> Save for (&M, &Session) {
    type Report = ();

    fn save_to(self, file: &Path) -> Result<(), StoreError> {
        let (model, session) = self;
        let name = || file.display().to_string();
        session.check(model).map_err(|source| StoreError::Prune { file: name(), source })?;
        let (text, snapshot) = pack(session).map_err(|reason| StoreError::Write { file: name(), reason })?;
        let mut contents = model_contents(model, file)?;
        contents.tensors.extend(snapshot);
        MODEL.save(contents.with(SESSION, text), Form::Burnpack, file)
    }
}

impl Loaded {
    /// Loads a model and its session into a freshly built module, so that training can go on where it stopped.
    ///
    /// The pruner must have the recipe that the session followed.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::Device};
    /// # use {pruning_allocation as _, pruning_magnitude as _};
    /// use pruning_burn::prelude::*;
    /// # let (device, folder) = (Device::flex(), tempfile::tempdir()?);
    /// # let file = folder.path().join("session.bpk");
    /// let recipe = "sparsity = 0.75\ncriterion = \"magnitude\"\nschedule = { kind = \"iterative\", rounds = 2 }";
    /// let pruner = Pruner::from_toml(recipe, &Plugins::linked())?;
    /// let mut model = LinearConfig::new(20, 10).init(&device);
    /// let mut session = pruner.start(&mut model)?;
    /// session.step(&mut model, None)?;
    /// save((&model, &session), &file)?;
    ///
    /// let mut model = LinearConfig::new(20, 10).init(&device);
    /// let mut session = load(&file)?.into_session(&mut model, &pruner)?;
    /// assert_eq!((session.steps(), masks(&model).get("weight").unwrap().kept()), (1, 100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file holds no session or one of another recipe, or does not fit the module. The model is unchanged.
    pub fn into_session<M: Module>(self, model: &mut M, pruner: &Pruner) -> Result<Session, StoreError> {
        self.of_kind(&MODEL)?;
        let name = || self.file.display().to_string();
        let damaged = |reason: String| StoreError::Read { file: name(), reason };
        let text = self.contents.texts.get(SESSION).ok_or_else(|| StoreError::NoSession { file: name() })?;
        let state = serde_json::from_str(text).map_err(|error| damaged(format!("session: {error}")))?;
        let Read { model: read, snapshot: tensors } = read_model(model, self.contents.tensors, &self.file)?;
        let mut snapshot = Snapshot::default();
        for (path, tensor) in tensors {
            snapshot.values.insert(path, unpack(tensor, model).map_err(damaged)?);
        }
        let session = resume(pruner, &read, state, snapshot, &name)?;
        *model = read;
        Ok(session)
    }
}

/// The state of a session as text, and the tensors of its snapshot.
pub(crate) fn pack(session: &Session) -> Result<(String, Vec<burn_pack::Tensor>), String> {
    let state = State {
        recipe: session.pruner.recipe().to_value(),
        step: session.step,
        targets: session.targets.clone(),
        snapshot: session.snapshot.is_some(),
        snapshot_file: session.snapshot_file.clone(),
        traced: session.pruner.masks_groups(),
    };
    let snapshot = match &session.snapshot {
        Some(Kept::Memory(snapshot)) => snapshot.pack(SNAPSHOT),
        Some(Kept::File(_)) | None => Vec::new(),
    };
    Ok((serde_json::to_string(&state).map_err(|error| error.to_string())?, snapshot))
}

/// The session of a state, on the model that was loaded with it.
pub(crate) fn resume<M: Module>(
    pruner: &Pruner,
    model: &M,
    state: State,
    mut snapshot: Snapshot,
    name: &dyn Fn() -> String,
) -> Result<Session, StoreError> {
    let mut keys = differing(&pruner.recipe().to_value(), &state.recipe);
    if state.traced.is_some() && state.traced != pruner.masks_groups() {
        keys.push("with_trace".to_string());
    }
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

pub(crate) fn unpack<M: Module>(tensor: burn_pack::Tensor, model: &M) -> Result<Stored, String> {
    let (_, dtype, shape, _, bytes) = tensor.into_parts().map_err(|error| error.to_string())?;
    let shape = shape.as_slice().to_vec();
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).ok_or("its shape is too large")?;
    let data = TensorData::try_from_bytes(bytes, [len], dtype).map_err(|error| format!("{error:?}"))?;
    // In its own type: a device would make of it what it takes by default.
    Ok(Stored { value: Tensor::from_data(data, (&host_device(model), dtype)), shape })
}

/// Any device of the model, for tensors that move on from there.
fn host_device<M: Module>(model: &M) -> Device {
    model.devices().into_iter().next().unwrap_or_default().without_autodiff()
}
