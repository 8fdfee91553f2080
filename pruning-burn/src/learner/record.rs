//! How a session is stored in the records of a `Learner`, which hold tensors alone.

use crate::Session;
use crate::mask::attach::sound;
use crate::session::file::{State, pack, resume, unpack};
use crate::snapshot::Snapshot;
use crate::store::contents::check_booleans;
use crate::store::{SESSION, SNAPSHOT};
use burn::module::Module;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, DType};
use burn_pack::{Reader, Tensor, Writer};
use crc32fast::Hasher;

/// The tensor of four bytes that holds the checksum of all others.
const CHECKSUM: &str = "pruning.crc32";

/// The record of a model with a session beside it: its state as the bytes of a text, its snapshot, and a checksum of it all.
///
/// A record that cannot be written to memory stays as it is; [`load`] says that it holds no session.
pub(crate) fn with_session(record: ModuleRecord, session: &Session) -> ModuleRecord {
    let both = || -> Result<ModuleRecord, String> {
        let (text, snapshot) = pack(session)?;
        let bytes = record.clone().into_bytes().map_err(|error| error.to_string())?;
        let mut tensors = Reader::from_bytes(bytes).and_then(Reader::into_tensors).map_err(|e| e.to_string())?;
        tensors.push(bytes_as_tensor(SESSION, text.into_bytes()));
        tensors.extend(snapshot);
        let crc32 = checksum(&tensors).map_err(|error| error.to_string())?;
        tensors.push(bytes_as_tensor(CHECKSUM, crc32.to_le_bytes().to_vec()));
        let bytes = Writer::new(tensors).into_bytes().map_err(|error| error.to_string())?;
        ModuleRecord::from_bytes(bytes).map_err(|error| error.to_string())
    };
    both().unwrap_or(record)
}

/// A model with the values of a record, and the session that is in it.
pub(crate) fn load<M: Module>(model: M, record: ModuleRecord, session: &Session) -> Result<(M, Session), RecordError> {
    let invalid = |reason: String| RecordError::Validation(reason);
    let mut tensors = Reader::from_bytes(record.into_bytes()?)?.into_tensors()?;
    let expected = tensors.iter().position(|tensor| tensor.name == CHECKSUM).map(|at| tensors.remove(at));
    if !tensors.iter().any(|tensor| tensor.name == SESSION) {
        return Err(invalid("the record holds no pruning session".to_string()));
    }
    let expected = expected.ok_or_else(|| invalid("the record holds a pruning session and no checksum".to_string()))?;
    let found = checksum(&tensors)?.to_le_bytes();
    if expected.into_bytes()?[..] != found {
        return Err(invalid("the record is damaged: its checksum differs".to_string()));
    }
    check_booleans(&tensors).map_err(invalid)?;

    let (mut state, mut snapshot, mut rest) = (None, Snapshot::default(), Vec::new());
    for tensor in tensors {
        if tensor.name == SESSION {
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

fn bytes_as_tensor(name: &str, bytes: Vec<u8>) -> Tensor {
    Tensor::new(name.to_string(), DType::U8, [bytes.len()], None, Bytes::from_bytes_vec(bytes))
}

/// CRC-32 of names, types, shapes, ids and bytes, in the order of the names.
fn checksum(tensors: &[Tensor]) -> Result<u32, burn_pack::Error> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hasher = Hasher::new();
    for tensor in sorted {
        // A record gives every tensor an id, and those beside the model had none.
        let id = tensor.param_id.filter(|_| tensor.name != SESSION && !tensor.name.starts_with(SNAPSHOT));
        let about = format!("{} {:?} {:?} {id:?}\n", tensor.name, tensor.dtype, tensor.shape.as_slice());
        hasher.update(about.as_bytes());
        hasher.update(&tensor.to_bytes()?);
    }
    Ok(hasher.finalize())
}
