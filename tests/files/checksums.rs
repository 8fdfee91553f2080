//! What the checksum is, and files without one.

use crate::kinds::{KINDS, MASKED, Net};
use burn::module::Module;
use burn_pack::{Reader, Writer};
use pruning_burn::mask::masks;
use pruning_burn::store::{Integrity, StoreError, load, save};
use pruning_tests::shrinking::pruner;
use pruning_tests::values::{base, same_bits};
use std::fs;

/// Any program can check it: the digits after the last comma of the text are the CRC-32 of the file with zeros there.
#[test]
fn every_file_says_what_it_is_and_sums_up_to_its_digits() {
    for (name, make) in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let kind = make(folder.path());
        (kind.save)();
        let mut bytes = fs::read(&kind.file).unwrap();
        let find = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text);
        if name == "checkpoint of a learner" {
            // Burn writes the file, so the checksum is one of tensors, among them.
            assert!(find(b"pruning.crc32").is_some());
            continue;
        }
        let at = find(b", CRC-32 ").unwrap_or_else(|| panic!("{name} has no checksum")) + 9;
        assert!(find(b"pruning.file").is_some() && find(b", version ").is_some(), "{name}");
        let digits = String::from_utf8(bytes[at..at + 8].to_vec()).unwrap();
        bytes[at..at + 8].fill(b'0');
        assert_eq!(digits, format!("{:08x}", crc32fast::hash(&bytes)), "{name}");
    }
}

#[test]
fn a_file_of_burn_loads_and_says_that_it_was_not_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, burns) = (folder.path().join("ours.bpk"), folder.path().join("burns.bpk"));
    for model in [Net::new(1), Net::pruned(1)] {
        save(&model, &ours).unwrap();
        model.clone().save_file(&burns).unwrap();
        for (file, integrity) in [(&ours, Integrity::Checked), (&burns, Integrity::Unchecked)] {
            let mut loaded = Net::new(2);
            assert_eq!(load(file).and_then(|file| file.into_model(&mut loaded)).unwrap(), integrity);
            assert!(same_bits(&base(&loaded), &base(&model)) && masks(&loaded) == masks(&model));
        }
    }
    let error = load(&burns).and_then(|file| file.into_session(&mut Net::new(2), &pruner(MASKED))).unwrap_err();
    assert!(matches!(error, StoreError::NoSession { .. }), "{error}");
}

/// Rewritten by a program that keeps the texts and drops the checksum, or by an earlier version.
#[test]
fn what_this_library_alone_writes_is_refused_without_its_checksum() {
    for (name, make) in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let kind = make(folder.path());
        (kind.save)();
        let bytes = fs::read(&kind.file).unwrap();
        if bytes.starts_with(b"{") {
            let text = String::from_utf8(bytes).unwrap().replace("pruning.file", "pruning.note");
            fs::write(&kind.file, text).unwrap();
        } else if let Ok(reader) = Reader::from_file_exact(&kind.file) {
            let texts = reader.metadata().clone();
            let tensors = reader.into_tensors().unwrap();
            let kept = tensors.into_iter().filter(|tensor| tensor.name != "pruning.crc32").map(|tensor| {
                let (name, dtype, shape, id, bytes) = tensor.into_parts().unwrap();
                let bytes = burn::tensor::Bytes::from_bytes_vec(bytes.to_vec());
                burn_pack::Tensor::new(name, dtype, shape, id, bytes)
            });
            let writer = Writer::new(kept.collect()).auto_extension(false);
            let texts = texts.iter().filter(|(name, _)| *name != "pruning.file");
            let writer = texts.fold(writer, |writer, (name, text)| writer.with_metadata(name, text));
            writer.write_to_file(&kind.file).unwrap();
        } else {
            continue;
        }
        match (name, (kind.load)()) {
            // Nothing tells it from what Burn writes, and `load` says that it was not checked.
            ("masked model" | "reconstructed model", found) => assert!(found.is_ok()),
            (_, found) => {
                assert!(found.as_ref().is_err_and(|error| error.contains("no checksum")), "{name}: {found:?}")
            }
        }
    }
}

#[test]
fn a_mask_holds_zeros_and_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("burns.bpk");
    let model = Net::pruned(1);
    model.clone().save_file(&file).unwrap();
    let tensors = Reader::from_file_exact(&file).unwrap().into_tensors().unwrap();
    for value in [2, 3, 0x80, 0xff] {
        let other = tensors.clone().into_iter().map(|tensor| {
            let (name, dtype, shape, id, bytes) = tensor.into_parts().unwrap();
            let mut bytes = bytes.to_vec();
            if name.starts_with("a.weight.prune") {
                bytes[3] = value;
            }
            burn_pack::Tensor::new(name, dtype, shape, id, burn::tensor::Bytes::from_bytes_vec(bytes))
        });
        let file = folder.path().join("other.bpk");
        Writer::new(other.collect()).write_to_file(&file).unwrap();
        let mut fresh = Net::new(2);
        let before = base(&fresh);
        let error = load(&file).and_then(|file| file.into_model(&mut fresh)).unwrap_err();
        assert!(error.to_string().contains("a.weight.prune.keep: element 3 is neither 0 nor 1"), "{error}");
        assert!(same_bits(&base(&fresh), &before) && masks(&fresh).is_empty());
    }
}
