//! No damage passes: every bit flipped, every length cut, for every kind of file.

use crate::kinds::KINDS;
use std::fs;

/// Damages a file in every small way: what loads is what was saved.
fn damage(name: &str) {
    let make = KINDS.iter().find(|(kind, _)| *kind == name).unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    let kind = make(folder.path());
    (kind.save)();
    let (whole, expected) = (fs::read(&kind.file).unwrap(), (kind.load)().unwrap());
    let mut same = 0;
    let mut try_it = |bytes: &[u8], what: &dyn Fn() -> String| {
        fs::write(&kind.file, bytes).unwrap();
        if let Ok(found) = (kind.load)() {
            assert!(found == expected, "{} loads as something else", what());
            same += 1;
        }
    };
    for len in 0..whole.len() {
        try_it(&whole[..len], &|| format!("cut to {len} bytes of {}", whole.len()));
    }
    for bit in 0..8 * whole.len() {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        try_it(&bytes, &|| format!("with bit {bit} flipped"));
    }
    for byte in [0, b' ', b'}', 0xff] {
        try_it(&[&whole[..], &[byte]].concat(), &|| format!("with {byte} at its end"));
    }
    // Files that Burn writes have bytes that nothing reads.
    assert!(same == 0 || name.starts_with("checkpoint"), "{same} damaged files load");
    fs::write(&kind.file, &whole).unwrap();
    assert_eq!((kind.load)().unwrap(), expected);
}

macro_rules! damage {
    ($($name:ident: $kind:literal),+) => {$(
        #[test]
        fn $name() {
            damage($kind);
        }
    )+};
}

damage! {
    no_damage_to_a_masked_model_passes: "masked model",
    no_damage_to_a_session_passes: "session",
    no_damage_to_a_snapshot_passes: "snapshot",
    no_damage_to_rounds_passes: "rounds",
    no_damage_to_a_smaller_model_passes: "smaller model",
    no_damage_to_a_smaller_model_in_safetensors_passes: "smaller model in safetensors",
    no_damage_to_a_compact_model_passes: "compact model",
    no_damage_to_a_sparse_model_passes: "sparse model",
    no_damage_to_a_calibration_passes: "calibration",
    no_damage_to_a_reconstructed_model_passes: "reconstructed model",
    no_damage_to_a_checkpoint_of_a_learner_passes: "checkpoint of a learner"
}
