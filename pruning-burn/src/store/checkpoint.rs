//! Sessions in the records of a `Learner`, which hold tensors alone.

use super::state::{State, pack, resume, unpack};
use super::{METADATA, SNAPSHOT};
use crate::Session;
use crate::attach::sound;
use crate::snapshot::Snapshot;
use burn::module::Module;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, DType};
use burn_pack::{Reader, Writer};

/// The record of a model with a session beside it: its state as the bytes of a text, and its snapshot.
///
/// A record that cannot be written to memory stays as it is; [`load`] says that it holds no session.
pub(crate) fn with_session(record: ModuleRecord, session: &Session) -> ModuleRecord {
    let both = || -> Result<ModuleRecord, String> {
        let (text, snapshot) = pack(session)?;
        let bytes = record.clone().into_bytes().map_err(|error| error.to_string())?;
        let mut tensors = Reader::from_bytes(bytes).and_then(Reader::into_tensors).map_err(|e| e.to_string())?;
        let (len, text) = (text.len(), Bytes::from_bytes_vec(text.into_bytes()));
        tensors.push(burn_pack::Tensor::new(METADATA.to_string(), DType::U8, [len], None, text));
        tensors.extend(snapshot);
        let bytes = Writer::new(tensors).into_bytes().map_err(|error| error.to_string())?;
        ModuleRecord::from_bytes(bytes).map_err(|error| error.to_string())
    };
    both().unwrap_or(record)
}

/// A model with the values of a record, and the session that is in it.
pub(crate) fn load<M: Module>(model: M, record: ModuleRecord, session: &Session) -> Result<(M, Session), RecordError> {
    let invalid = |reason: String| RecordError::Validation(reason);
    let (mut state, mut snapshot, mut rest) = (None, Snapshot::default(), Vec::new());
    for tensor in Reader::from_bytes(record.into_bytes()?)?.into_tensors()? {
        if tensor.name == METADATA {
            let bytes = tensor.into_bytes()?;
            let read: State = serde_json::from_slice(&bytes).map_err(|error| invalid(format!("session: {error}")))?;
            state = Some(read);
        } else if let Some(path) = tensor.name.strip_prefix(SNAPSHOT) {
            let path = path.to_string();
            snapshot.values.insert(path, unpack(tensor, &model).map_err(invalid)?);
        } else {
            rest.push(tensor);
        }
    }
    let state = state.ok_or_else(|| invalid("the record holds no pruning session".to_string()))?;
    let model = model.try_load_record(ModuleRecord::from_bytes(Writer::new(rest).into_bytes()?)?)?;
    sound(&model).map_err(|error| invalid(error.to_string()))?;
    let name = || "the record".to_string();
    let session = resume(session.pruner(), &model, state, snapshot, &name).map_err(|e| invalid(e.to_string()))?;
    Ok((model, session))
}
