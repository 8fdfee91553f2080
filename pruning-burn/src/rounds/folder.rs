//! The files in the folder of rounds, and which of them count.

use crate::Pruner;
use crate::layers::first_layers;
use crate::rounds::{History, RoundsError};
use crate::session::file::differing;
use crate::store::file_header::{Kind, SEAL};
use crate::store::{Integrity, StoreError};
use burn::module::Module;
use pruning_core::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const STATE: &str = "rounds.json";
/// The first version had no checksum, and its number under `format`.
const KIND: Kind = Kind { name: "rounds", version: 2 };

/// Returns the file with the ticket of a round: the masks and weights with which its training starts.
///
/// [`IterativePruning`](super::IterativePruning) writes it, and [`load`](crate::store::load) reads it into a freshly built module.
#[must_use]
pub fn ticket_file(folder: impl AsRef<Path>, round: usize) -> PathBuf {
    folder.as_ref().join(format!("ticket-{round:02}.bpk"))
}

/// Returns the file with the trained model of a round.
///
/// [`IterativePruning`](super::IterativePruning) keeps that of the last finished round, or of every round by
/// [`with_models`](super::IterativePruning::with_models). [`load`](crate::store::load) reads it.
#[must_use]
pub fn model_file(folder: impl AsRef<Path>, round: usize) -> PathBuf {
    folder.as_ref().join(format!("trained-{round:02}.bpk"))
}

/// A round whose training is done, and its evaluation is not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Trained {
    pub(super) pruning: Report,
    pub(super) seconds: f64,
}

/// What is finished. Other files count from the moment that this one, in `rounds.json`, says so.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "pruning.file")]
    seal: String,
    parameters: Vec<Parameter>,
    /// Whether channels and heads are masked in whole groups, as with a trace; not there in files of 0.1, and where no unit is a channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traced: Option<bool>,
    pub(super) history: History,
    pub(super) trained: Option<Trained>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parameter {
    path: String,
    shape: Vec<usize>,
}

/// The folder of the rounds of one model.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    parameters: Vec<Parameter>,
    traced: Option<bool>,
}

impl Folder {
    pub(super) fn new<M: Module>(path: PathBuf, model: &M, pruner: &Pruner) -> Self {
        let parameters = first_layers(model).into_iter().map(|l| Parameter { path: l.path, shape: l.shape }).collect();
        Self { path, parameters, traced: pruner.masks_groups() }
    }

    /// The weights to go back to.
    pub(super) fn rewind_file(&self) -> PathBuf {
        self.path.join("rewind.bpk")
    }

    pub(super) fn create(&self) -> Result<(), RoundsError> {
        fs::create_dir_all(&self.path).map_err(|error| unwritten(&self.path, &error).into())
    }

    /// What is finished, which must be of this recipe and this architecture; `None` if nothing was begun.
    pub(super) fn read(&self, pruner: &Pruner, last: usize) -> Result<Option<State>, RoundsError> {
        let Some(state) = read(&self.path)? else {
            // A model of a round comes after the first `rounds.json`: one without the other is no new beginning.
            let model = |name: &str| name.starts_with("trained-") && name.ends_with(".bpk");
            let named = |file: fs::DirEntry| file.file_name().to_str().is_some_and(model);
            return match fs::read_dir(&self.path).is_ok_and(|mut files| files.any(|file| file.is_ok_and(named))) {
                true => {
                    Err(unread(&self.path.join(STATE), &"it is missing, although the folder holds models of rounds")
                        .into())
                }
                false => Ok(None),
            };
        };
        let folder = || self.path.display().to_string();
        let mut keys = differing(&pruner.recipe().to_value(), &state.history.recipe);
        if state.traced.is_some() && state.traced != self.traced {
            keys.push("with_trace".to_string());
        }
        if !keys.is_empty() {
            return Err(RoundsError::OtherRecipe { folder: folder(), keys });
        }
        let differs = |a: &[Parameter], b: &[Parameter]| {
            a.iter().find(|parameter| !b.contains(parameter)).map(|p| p.path.clone())
        };
        let (ours, theirs) = (&self.parameters, &state.parameters);
        if let Some(path) = differs(ours, theirs).or_else(|| differs(theirs, ours)) {
            return Err(RoundsError::OtherModel { folder: folder(), path });
        }
        if state.history.rounds.len() + usize::from(state.trained.is_some()) > last + 1 {
            return Err(unread(&self.path.join(STATE), &"it has more rounds than the recipe").into());
        }
        Ok(Some(state))
    }

    /// Says what is finished.
    pub(super) fn write(&self, history: &History, trained: Option<&Trained>) -> Result<(), RoundsError> {
        let parameters = self.parameters.clone();
        let (history, trained) = (history.clone(), trained.cloned());
        let state = State { seal: KIND.open_seal(), parameters, traced: self.traced, history, trained };
        let file = self.path.join(STATE);
        let text = serde_json::to_vec_pretty(&state).map_err(|error| unwritten(&file, &error))?;
        Ok(KIND.write(&file, |unfinished| unfinished.write_all(&text).map_err(|error| error.to_string()))?)
    }

    /// Removes the model of a round that is no longer the last. One that stays behind does no harm.
    pub(super) fn forget_model(&self, round: usize) {
        let _ = fs::remove_file(model_file(&self.path, round));
    }
}

impl History {
    /// Reads the results of the rounds that are finished in a folder.
    ///
    /// # Errors
    /// The folder does not exist, holds no rounds, is damaged, or was written by another version.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, RoundsError> {
        let file = folder.as_ref().join(STATE);
        let state = read(folder.as_ref())?.ok_or_else(|| unread(&file, &"there is no such file"))?;
        Ok(state.history)
    }
}

fn read(folder: &Path) -> Result<Option<State>, RoundsError> {
    let file = folder.join(STATE);
    let text = match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| unread(&file, &error))?,
    };
    let value: Value = serde_json::from_slice(&text).map_err(|error| unread(&file, &error))?;
    let other = |found: u64| {
        let folder = folder.display().to_string();
        RoundsError::OtherFormat { folder, found, expected: KIND.version.into() }
    };
    match KIND.check(value.get(SEAL).and_then(Value::as_str), text.as_slice(), &file) {
        Ok(Integrity::Checked) => {}
        Ok(Integrity::Unchecked) => {
            let found = value.get("format").and_then(Value::as_u64);
            return Err(found.map_or_else(|| StoreError::NoChecksum { file: file.display().to_string() }.into(), other));
        }
        Err(StoreError::Version { found, .. }) => return Err(other(found.into())),
        Err(error) => return Err(error.into()),
    }
    Ok(Some(serde_json::from_value(value).map_err(|error| unread(&file, &error))?))
}

fn unread(file: &Path, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Read { file: file.display().to_string(), reason: reason.to_string() }
}

fn unwritten(file: &Path, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Write { file: file.display().to_string(), reason: reason.to_string() }
}
