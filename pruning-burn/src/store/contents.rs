//! What a file holds, tensors and texts, in one of two formats: burnpack, which Burn reads, and safetensors, which many others do.

use crate::store::StoreError;
use crate::store::file_header::{Integrity, Kind, SEAL, check_any, seal_in};
#[cfg(feature = "trace")]
use crate::store::safetensors;
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn_pack::{HEADER_SIZE, Header, Reader, Tensor, Writer};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

/// Texts of other names are not those of this library.
const OURS: &str = "pruning.";

/// A format of files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Burnpack,
    #[cfg(feature = "trace")]
    Safetensors,
}

/// Tensors, and texts by name.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) texts: BTreeMap<String, String>,
}

impl Contents {
    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        Self { tensors, texts: BTreeMap::new() }
    }

    /// The same with one text more.
    pub(crate) fn with(mut self, name: &str, text: String) -> Self {
        self.texts.insert(name.to_string(), text);
        self
    }

    /// Reads a file of one of these kinds as a whole. One without a checksum must be none of this library's.
    ///
    /// Burn would read each tensor when it is first used, and by then the file may be another one, or gone.
    pub(crate) fn load<'k>(file: &Path, kinds: &[&'k Kind]) -> Result<(Self, Integrity, &'k Kind), StoreError> {
        let damaged = |reason: String| StoreError::Read { file: file.display().to_string(), reason };
        let bytes = fs::read(file).map_err(|error| damaged(error.to_string()))?;
        let (contents, integrity, kind) = Self::parse(bytes, file, kinds)?;
        if contents.texts.keys().any(|name| name.starts_with(OURS)) {
            integrity.sealed(file)?;
        }
        check_booleans(&contents.tensors).map_err(damaged)?;
        Ok((contents, integrity, kind))
    }

    fn parse<'k>(bytes: Vec<u8>, file: &Path, kinds: &[&'k Kind]) -> Result<(Self, Integrity, &'k Kind), StoreError> {
        let damaged = |reason: String| StoreError::Read { file: file.display().to_string(), reason };
        #[cfg(feature = "trace")]
        if !bytes.starts_with(&burn_pack::MAGIC_NUMBER.to_le_bytes()) {
            let texts = safetensors::texts(&bytes).map_err(damaged)?;
            let (integrity, kind) = check_any(kinds, seal_in(&texts), bytes.as_slice(), file)?;
            let tensors = safetensors::tensors(&bytes).map_err(damaged)?;
            return Ok((Self { tensors, texts }, integrity, kind));
        }
        // Shared, so that tensors are parts of it and not copies.
        let bytes = Bytes::from_bytes_vec(bytes).shared();
        let reader = Reader::from_bytes(bytes.clone()).map_err(|error| damaged(error.to_string()))?;
        let texts = reader.metadata().clone();
        // Where the count of tensors is damaged, Burn's reader leaves out the last of them, and all texts.
        if !texts.contains_key(SEAL) && head(&bytes).windows(SEAL.len()).any(|window| window == SEAL.as_bytes()) {
            return Err(damaged("its list of tensors is damaged".to_string()));
        }
        let (integrity, kind) = check_any(kinds, seal_in(&texts), &bytes[..], file)?;
        let tensors = reader.into_tensors().map_err(|error| damaged(error.to_string()))?;
        Ok((Self { tensors, texts }, integrity, kind))
    }

    fn write(self, form: Form, file: &mut NamedTempFile) -> Result<(), String> {
        match form {
            Form::Burnpack => {
                let writer = Writer::new(self.tensors).auto_extension(false);
                let writer = self.texts.iter().fold(writer, |writer, (name, text)| writer.with_metadata(name, text));
                if cfg!(windows) {
                    // Nothing but the handle that locked the file may write to it there.
                    let bytes = writer.into_bytes().map_err(|error| error.to_string())?;
                    return file.write_all(&bytes).map_err(|error| error.to_string());
                }
                // One tensor after the other, so that a model need not fit into memory twice.
                writer.write_to_file_in_place(file.path()).map_err(|error| error.to_string())
            }
            #[cfg(feature = "trace")]
            Form::Safetensors => {
                let bytes = safetensors::to_bytes(self.tensors, self.texts)?;
                file.write_all(&bytes).map_err(|error| error.to_string())
            }
        }
    }
}

impl Kind {
    /// Replaces a file by these contents.
    pub(crate) fn save(&self, contents: Contents, form: Form, file: &Path) -> Result<(), StoreError> {
        let contents = contents.with(SEAL, self.open_seal());
        self.write(file, |unfinished| contents.write(form, unfinished))
    }

    /// The tensors of a burnpack file that this library wrote. It is checked at once; their bytes stay in it until they are asked for.
    pub(crate) fn open(&self, file: &Path) -> Result<Vec<Tensor>, StoreError> {
        let damaged = |reason: String| StoreError::Read { file: file.display().to_string(), reason };
        let reader = Reader::from_file_exact(file).map_err(|error| damaged(error.to_string()))?;
        let bytes = File::open(file).map_err(|error| damaged(error.to_string()))?;
        self.check(seal_in(reader.metadata()), bytes, file)?.sealed(file)?;
        reader.into_tensors().map_err(|error| damaged(error.to_string()))
    }
}

/// The part of a burnpack file that describes its tensors.
fn head(bytes: &[u8]) -> &[u8] {
    let size = Header::from_bytes(bytes).map_or(0, |header| header.metadata_size as usize);
    &bytes[..bytes.len().min(HEADER_SIZE.saturating_add(size))]
}

/// The tensors of a model's record.
pub(crate) fn tensors_of<M: Module>(model: &M) -> Result<Vec<Tensor>, String> {
    // Running statistics have their last update in the record of a validation model alone.
    let record = model.valid().into_record().into_bytes().map_err(|error| error.to_string())?;
    Reader::from_bytes(record).and_then(Reader::into_tensors).map_err(|error| error.to_string())
}

/// A model with the values of tensors, which must be all that it has and no more.
pub(crate) fn loaded<M: Module>(model: M, tensors: Vec<Tensor>, file: &Path) -> Result<M, StoreError> {
    let name = || file.display().to_string();
    let damaged = |reason: String| StoreError::Read { file: name(), reason };
    let bytes = Writer::new(tensors).into_bytes().map_err(|error| damaged(error.to_string()))?;
    let record = ModuleRecord::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
    let misfit = |reason: String| StoreError::Misfit { file: name(), reason };
    model.try_load_record(record).map_err(|error| misfit(error.to_string()))
}

/// An error unless every boolean is one. A weight is multiplied by the byte of its mask, so that 2 would double it.
pub(crate) fn check_booleans(tensors: &[Tensor]) -> Result<(), String> {
    for tensor in tensors.iter().filter(|tensor| tensor.dtype.is_bool()) {
        let bytes = tensor.to_bytes().map_err(|error| error.to_string())?;
        let wrong = |element: &[u8]| element[0] > 1 || element[1..].iter().any(|&byte| byte != 0);
        if let Some(at) = bytes.chunks(tensor.dtype.size()).position(wrong) {
            return Err(format!("{}: element {at} is neither 0 nor 1, as a boolean must be", tensor.name));
        }
    }
    Ok(())
}
