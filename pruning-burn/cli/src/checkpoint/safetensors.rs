//! Files in safetensors format: [`Shard`].
//!
//! The header is read here, since the `safetensors` crate refuses types that it does not know, and of two tensors of one name forgets the
//! first without a word.

use crate::checkpoint::element::ElementType;
use crate::checkpoint::json::Pairs;
use crate::checkpoint::tensor::TensorEntry;
use crate::error::CommandError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest header that the format allows.
const HEADER: u64 = 100_000_000;
/// The bytes of its length.
const LENGTH: usize = 8;
const METADATA: &str = "__metadata__";

/// A file in safetensors format: its header, and where its data is.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// The header as it is in the file, with its length before it.
    pub(crate) head: Vec<u8>,
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Shard {
    /// Opens a file, and returns its tensors with the place of each in the file, in the order of their bytes.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<(TensorEntry, u64)>), CommandError> {
        let failed = |reason: String| CommandError::file(path, reason);
        let mut file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let len = file.metadata().map_err(|error| failed(error.to_string()))?.len();
        let mut head = Vec::new();
        let mut read = |to: u64| (&mut file).take(to).read_to_end(&mut head).map_err(|error| failed(error.to_string()));
        if read(LENGTH as u64)? < LENGTH {
            return Err(failed(format!("is no checkpoint: it has {len} bytes")));
        }
        let length = u64::from_le_bytes(head[..LENGTH].try_into().unwrap_or_default());
        if length > HEADER {
            return Err(failed(format!("is no safetensors file: its header would have {length} bytes")));
        }
        let mut read = |to: u64| (&mut file).take(to).read_to_end(&mut head).map_err(|error| failed(error.to_string()));
        if (read(length)? as u64) < length {
            let all = length + LENGTH as u64;
            return Err(failed(format!("is cut short: it has {len} bytes, and its header alone takes {all}")));
        }
        let (tensors, metadata) = parse(&head, path)?;
        let end = head.len() as u64 + tensors.iter().map(|(tensor, _)| tensor.bytes).sum::<u64>();
        if end > len {
            return Err(failed(format!("is cut short: it has {len} bytes of {end}; was its download interrupted?")));
        }
        if end < len {
            return Err(failed(format!("has {len} bytes, and its header describes {end}")));
        }
        Ok((Self { path: path.to_path_buf(), file, head, metadata }, tensors))
    }

    /// Reads bytes of the file.
    pub(crate) fn read(&self, start: u64, len: u64) -> io::Result<Vec<u8>> {
        // It was found to lie in the file.
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        read_at(&self.file, &mut bytes, start)?;
        Ok(bytes)
    }
}

/// The tensors of a header, with their places in the file, and its texts.
pub(crate) type Head = (Vec<(TensorEntry, u64)>, BTreeMap<String, String>);

/// Reads a header with its length before it.
pub(crate) fn parse(head: &[u8], path: &Path) -> Result<Head, CommandError> {
    let failed = |reason: String| CommandError::file(path, reason);
    let text = &head[LENGTH..];
    let Pairs(pairs) = serde_json::from_slice::<Pairs<serde_json::Value>>(text)
        .map_err(|error| failed(format!("its header is damaged: {error}")))?;
    let (mut metadata, mut found) = (BTreeMap::new(), Vec::new());
    for (name, value) in pairs {
        if name == METADATA {
            metadata =
                serde_json::from_value(value).map_err(|error| failed(format!("its texts are damaged: {error}")))?;
            continue;
        }
        let wrong = |reason: String| CommandError::tensor(path, &name, reason);
        let info: Info = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        let (start, end) = info.data_offsets;
        let bytes =
            end.checked_sub(start).ok_or_else(|| wrong(format!("ends at {end}, before its start at {start}")))?;
        let element = ElementType::new(info.dtype);
        if let Some(expected) = element.bytes_of(&info.shape) {
            let expected = expected.map_err(|reason| wrong(reason.to_string()))?;
            if expected != bytes {
                let (element, shape) = (element.name(), &info.shape);
                return Err(wrong(format!(
                    "{element} of shape {shape:?} takes {expected} bytes, and the file gives it {bytes}"
                )));
            }
        }
        found.push((TensorEntry::new(name, element, info.shape, bytes), start));
    }
    // Tensors of no bytes stand before those that begin at the same place.
    found.sort_by_key(|(tensor, start)| (*start, tensor.bytes));
    let mut end = 0;
    for (tensor, start) in &found {
        if *start != end {
            let reason = if *start < end { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(CommandError::tensor(path, &tensor.name, reason));
        }
        end = start.saturating_add(tensor.bytes);
    }
    let data = head.len() as u64;
    if data.checked_add(end).is_none() {
        return Err(failed("describes more bytes than any file has".to_string()));
    }
    Ok((found.into_iter().map(|(tensor, start)| (tensor, data + start)).collect(), metadata))
}

/// A header for tensors whose bytes follow in this order, with its length before it.
pub(crate) fn head<'a>(
    tensors: impl Iterator<Item = &'a TensorEntry>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let mut all = serde_json::Map::new();
    all.insert(METADATA.to_string(), serde_json::to_value(metadata).map_err(|error| error.to_string())?);
    let mut end = 0;
    for tensor in tensors {
        let (dtype, shape) = (tensor.element.name().to_string(), tensor.shape.clone());
        let info = Info { dtype, shape, data_offsets: (end, end + tensor.bytes) };
        end += tensor.bytes;
        all.insert(tensor.name.clone(), serde_json::to_value(info).map_err(|error| error.to_string())?);
    }
    let mut text = serde_json::to_vec(&all).map_err(|error| error.to_string())?;
    // Others align to eight bytes too.
    text.resize(text.len().next_multiple_of(LENGTH), b' ');
    Ok([&(text.len() as u64).to_le_bytes()[..], &text].concat())
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut start: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, start)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (bytes, start) = (&mut bytes[read..], start + read as u64);
    }
    Ok(())
}
