//! The seal of a file: its kind, the version of its form, and a checksum of all its bytes.
//!
//! It is a text among the others that a file holds, `model, version 1, CRC-32 0a1b2c3d`. The checksum is that of the whole file with zeros
//! in place of its own eight digits, so no bit of a file can change without notice, whatever it is for.

use crate::store::StoreError;
use crate::store::atomic_write::replace;
use crc32fast::Hasher;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// The name of the seal among the texts of a file.
pub(crate) const SEAL: &str = "pruning.file";
const DIGITS: usize = 8;
const CHUNK: usize = 1 << 16;

/// Whether a file was compared with a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Integrity {
    /// The checksum matches, so the file is bit for bit as it was saved.
    Checked,
    /// The file has no checksum, like all files that Burn writes, so damage can go unnoticed.
    Unchecked,
}

/// A kind of files.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What seals and errors call it.
    pub(crate) name: &'static str,
    /// The version that is written, and the last one that can be read.
    pub(crate) version: u32,
}

/// A model: with its masks, with a session, or a smaller one with its plan.
pub(crate) const MODEL: Kind = Kind { name: "model", version: 1 };
/// A model in sparse formats.
pub(crate) const COMPACT: Kind = Kind { name: "compact model", version: 1 };
/// What the layers of a model see.
#[cfg(feature = "trace")]
pub(crate) const CALIBRATION: Kind = Kind { name: "calibration", version: 1 };
/// A compiled model.
pub(crate) const SPARSE_MODEL: Kind = Kind { name: "sparse model", version: 1 };

#[derive(Debug, PartialEq)]
struct Seal<'a> {
    kind: &'a str,
    version: u32,
    crc32: u32,
}

impl fmt::Display for Seal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, version {}, CRC-32 {:0DIGITS$x}", self.kind, self.version, self.crc32)
    }
}

impl<'a> Seal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (text_before, crc32) = text.rsplit_once(", CRC-32 ")?;
        let (kind, version) = text_before.rsplit_once(", version ")?;
        let seal = Self { kind, version: version.parse().ok()?, crc32: u32::from_str_radix(crc32, 16).ok()? };
        // Digits have other spellings.
        (seal.to_string() == text).then_some(seal)
    }
}

/// The seal among the texts of a file, also under a name that is damaged.
pub(crate) fn seal_in(texts: &BTreeMap<String, String>) -> Option<&str> {
    let renamed = || texts.values().find(|text| Seal::read(text).is_some());
    texts.get(SEAL).or_else(renamed).map(String::as_str)
}

impl Kind {
    /// The text that a file must hold under [`SEAL`] when it is written; the checksum comes after.
    pub(crate) fn open_seal(&self) -> String {
        Seal { kind: self.name, version: self.version, crc32: 0 }.to_string()
    }

    /// Replaces a file by what `write` makes, which holds the [open seal](Self::open_seal).
    pub(crate) fn write(
        &self,
        file: &Path,
        write: impl FnOnce(&mut NamedTempFile) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        let written = replace(file, |unfinished| {
            write(unfinished)?;
            self.close(unfinished.as_file_mut())
        });
        written.map_err(|reason| StoreError::Write { file: file.display().to_string(), reason })
    }

    /// Puts the checksum into the seal.
    fn close(&self, file: &mut File) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        file.rewind().map_err(said)?;
        let found = checksum(&mut *file, &self.open_seal()).map_err(said)?;
        let (place, crc32) = found.ok_or("its seal is missing")?;
        file.seek(SeekFrom::Start(place)).map_err(said)?;
        file.write_all(format!("{crc32:0DIGITS$x}").as_bytes()).map_err(said)
    }

    /// Compares the bytes of a file with the seal that is in it.
    pub(crate) fn check(&self, seal: Option<&str>, bytes: impl Read, file: &Path) -> Result<Integrity, StoreError> {
        check_any(&[self], seal, bytes, file).map(|(integrity, _)| integrity)
    }
}

/// Compares the bytes of a file with the seal that is in it, which must be of one of these kinds; one without a seal counts as of the first.
pub(crate) fn check_any<'k>(
    kinds: &[&'k Kind],
    seal: Option<&str>,
    bytes: impl Read,
    file: &Path,
) -> Result<(Integrity, &'k Kind), StoreError> {
    let name = || file.display().to_string();
    let damaged = |reason: String| StoreError::Read { file: name(), reason };
    let Some(text) = seal else { return Ok((Integrity::Unchecked, kinds[0])) };
    let seal = Seal::read(text).ok_or_else(|| damaged(format!("its checksum is damaged: {text}")))?;
    let found = checksum(bytes, text).map_err(|error| damaged(error.to_string()))?;
    let (_, found) = found.ok_or_else(|| damaged("its checksum is damaged".to_string()))?;
    if found != seal.crc32 {
        return Err(StoreError::Checksum { file: name(), expected: seal.crc32, found });
    }
    let Some(kind) = kinds.iter().find(|kind| kind.name == seal.kind) else {
        return Err(StoreError::Kind { file: name(), expected: kinds[0].name, found: seal.kind.to_string() });
    };
    if seal.version > kind.version {
        return Err(StoreError::Version { file: name(), found: seal.version, supported: kind.version });
    }
    Ok((Integrity::Checked, kind))
}

impl Integrity {
    /// An error for a file without a checksum.
    pub(crate) fn sealed(self, file: &Path) -> Result<(), StoreError> {
        match self {
            Self::Checked => Ok(()),
            Self::Unchecked => Err(StoreError::NoChecksum { file: file.display().to_string() }),
        }
    }
}

/// The place of the digits of a seal, and the checksum of all bytes with zeros there; none without the seal.
fn checksum(mut bytes: impl Read, seal: &str) -> io::Result<Option<(u64, u32)>> {
    let (mut hasher, mut place) = (Hasher::new(), None);
    let (mut head, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let read = match bytes.read(&mut chunk) {
            Ok(0) => return Ok(place.map(|place| (place, hasher.finalize()))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => &chunk[..read?],
        };
        if place.is_some() {
            hasher.update(read);
            continue;
        }
        // The seal may have begun in the chunk before.
        let from = head.len().saturating_sub(seal.len());
        head.extend_from_slice(read);
        if let Some(found) = head[from..].windows(seal.len()).position(|window| window == seal.as_bytes()) {
            let digits = from + found + seal.len() - DIGITS;
            head[digits..][..DIGITS].fill(b'0');
            hasher.update(&head);
            place = Some(digits as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { name: "test", version: 3 };

    /// A file of so many bytes before and after its seal.
    fn file(kind: &Kind, before: usize, after: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let bytes = [vec![b'a'; before], kind.open_seal().into_bytes(), vec![b'z'; after]].concat();
        kind.write(&file, |to| to.write_all(&bytes).map_err(|error| error.to_string())).unwrap();
        (folder, file)
    }

    #[test]
    fn a_seal_is_found_wherever_it_lies() {
        for (before, after) in [(0, 0), (3, 5), (CHUNK - 10, 1), (CHUNK, CHUNK), (3 * CHUNK - 36, 2 * CHUNK + 1)] {
            let (_folder, file) = file(&KIND, before, after);
            let bytes = std::fs::read(&file).unwrap();
            let seal = std::str::from_utf8(&bytes[before..bytes.len() - after]).unwrap();
            assert_eq!(seal.len(), KIND.open_seal().len());
            assert_eq!(KIND.check(Some(seal), bytes.as_slice(), &file), Ok(Integrity::Checked), "{before} {after}");
            assert_eq!(KIND.check(None, bytes.as_slice(), &file), Ok(Integrity::Unchecked));
            // The checksum is that of the file as it was given.
            let zeros = [&bytes[..before], KIND.open_seal().as_bytes(), &bytes[bytes.len() - after..]].concat();
            assert!(seal.ends_with(&format!("{:08x}", crc32fast::hash(&zeros))));
            for other in [0, before / 2, bytes.len() - 1] {
                let mut bytes = bytes.clone();
                bytes[other] ^= 4;
                assert!(KIND.check(Some(seal), bytes.as_slice(), &file).is_err(), "{before} {after}: {other}");
            }
        }
    }

    #[test]
    fn other_kinds_later_versions_and_other_spellings_are_refused() {
        let (_folder, path) = file(&Kind { name: "test", version: 4 }, 0, 0);
        let text = std::fs::read_to_string(&path).unwrap();
        let check = |kind: &Kind, text: &str| kind.check(Some(text), text.as_bytes(), &path);
        assert!(matches!(check(&KIND, &text), Err(StoreError::Version { found: 4, supported: 3, .. })));
        let other = Kind { name: "other", version: 4 };
        assert!(matches!(check(&other, &text), Err(StoreError::Kind { expected: "other", .. })));
        for spelling in [text.to_uppercase(), text.replace("version 4", "version +4"), format!("{text} ")] {
            let error = check(&KIND, &spelling).unwrap_err();
            assert!(matches!(&error, StoreError::Read { reason, .. } if reason.contains("checksum")), "{error}");
        }
        assert!(matches!(check(&KIND, &text.replace("version 4", "version 5")), Err(StoreError::Checksum { .. })));
    }
}
