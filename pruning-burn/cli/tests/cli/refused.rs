//! Arguments that do not go together, and files that cannot give what was asked.

use crate::support::{Net, containers, fails, json, names, of_header, raw, safetensors_file, text};
use burn::tensor::DType;
use std::fs;
use std::path::PathBuf;

fn model() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    fs::write(&file, safetensors_file(&Net::new(1, DType::F32).pytorch())).unwrap();
    (folder, file)
}

#[test]
fn the_input_is_never_written_over_unless_told() {
    let (folder, file) = model();
    let before = fs::read(&file).unwrap();
    #[cfg(unix)]
    let others = {
        let [link, hard] = ["link.safetensors", "hard.safetensors"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        fs::hard_link(&file, &hard).unwrap();
        vec![link, hard]
    };
    #[cfg(not(unix))]
    let others = Vec::new();
    let dotted = folder.path().join(".").join("model.safetensors");
    for output in others.iter().chain([&file, &dotted]) {
        let error = fails(2, &["prune", text(&file), "--sparsity", "0.5", "-o", text(output)]);
        assert!(error.contains("--in-place"), "{error}");
        fails(2, &["compact", text(&file), "-o", text(output)]);
        fails(2, &["masks", "extract", text(&file), "-o", text(output)]);
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    json(&["prune", text(&file), "--sparsity", "0.5", "--in-place"]);
    assert_ne!(fs::read(&file).unwrap(), before);
    assert!(!names(folder.path()).iter().any(|name| name.contains("unfinished")));
    fails(2, &["prune", text(&file), "--sparsity", "0.5", "--in-place", "-o", "x.safetensors"]);
    fails(2, &["prune", text(&file), "--sparsity", "0.5"]);
}

#[test]
fn outputs_have_the_form_of_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let files = containers(folder.path());
    let refused = |file: &PathBuf, output: &str| {
        let output = folder.path().join(output);
        let error = fails(2, &["prune", text(file), "--sparsity", "0.5", "-o", text(&output)]);
        assert!(!output.is_file(), "{error}");
        error
    };
    assert!(refused(&files[0], "out.bpk").contains("safetensors"));
    assert!(refused(&files[2], "out.pt").contains("safetensors"));
    assert!(refused(&files[4], "out.safetensors").contains("burnpack"));
    assert!(refused(&files[0], "single").contains("folder"));
    assert!(fails(2, &["prune", text(&files[2]), "--sparsity", "0.5", "--in-place"]).contains(".safetensors"));
    fs::write(folder.path().join("taken"), "mine").unwrap();
    assert!(
        fails(2, &["prune", text(&files[1]), "--sparsity", "0.5", "-o", text(&folder.path().join("taken"))])
            .contains("folder")
    );
    let missing = folder.path().join("no/such/folder/out.safetensors");
    fails(1, &["prune", text(&files[0]), "--sparsity", "0.5", "-o", text(&missing)]);
}

#[test]
fn recipes_that_match_nothing_and_needs_that_a_file_cannot_give_are_errors() {
    let (folder, file) = model();
    let out = folder.path().join("out.safetensors");
    let error = |args: &[&str]| {
        let error = fails(1, &[&["prune", text(&file), "--sparsity", "0.5", "-o", text(&out)], args].concat());
        assert!(!out.exists() && names(folder.path()).len() == 1, "{args:?}");
        error
    };
    let told = error(&["--include", "no.such.layer"]);
    assert!(
        told.contains("no.such.layer") && told.contains("fc1.weight") && told.contains("model.safetensors"),
        "{told}"
    );
    assert!(error(&["--criterion", "wanda"]).contains("--calibration"));
    assert!(error(&["--criterion", "snip"]).contains("prune in a program"));
    assert!(error(&["--granularity", "{ kind = \"head\", size = 7 }", "--include", "fc1"]).contains("fc1.weight"));
    assert!(error(&["--kind", "no.such=Linear"]).contains("--kind"));
    assert!(error(&["--criterion", "magnitude", "--calibration", text(&file)]).contains("calibration"));
    fails(2, &["prune", text(&file), "--kind", "Linear", "--sparsity", "0.5", "-o", text(&out)]);
    let error = fails(2, &["prune", text(&file), "--kind", "fc1=Liner", "--sparsity", "0.5", "-o", text(&out)]);
    assert!(error.contains("ConvTranspose2d"), "{error}");
    fails(2, &["prune", text(&file), "--sparsity", "half", "-o", text(&out)]);
}

#[test]
fn values_that_are_not_finite_stop_a_pruning() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out] = ["in.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    fs::write(&file, safetensors_file(&[raw("fc.weight", &[2, 2], &[1.0, f32::NAN, 2.0, 3.0])])).unwrap();
    let error = fails(1, &["prune", text(&file), "--sparsity", "0.5", "-o", text(&out)]);
    assert!(error.contains("fc.weight") && error.contains("NaN"), "{error}");
    assert_eq!(names(folder.path()), ["in.safetensors"]);
}

#[test]
fn masks_must_fit_the_file() {
    let (folder, file) = model();
    let [masks, out] = ["masks.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let apply = |header: &str, data: &[u8]| {
        fs::write(&masks, of_header(header, data)).unwrap();
        let error = fails(1, &["masks", "apply", text(&masks), text(&file), "-o", text(&out)]);
        assert!(!out.exists() && names(folder.path()).len() == 2, "{error}");
        error
    };
    let of = |name: &str, dtype: &str, shape: &str, len: usize| {
        format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{len}]}}}}"#)
    };
    assert!(apply(&of("nothing", "BOOL", "[2]", 2), &[1, 1]).contains("nothing"));
    assert!(apply(&of("fc1.bias", "BOOL", "[2]", 2), &[1, 1]).contains("shape"));
    assert!(apply(&of("fc1.bias", "F32", "[20]", 80), &[0; 80]).contains("no mask"));
    assert!(apply(&of("fc1.bias", "BOOL", "[20]", 20), &[2; 20]).contains("neither 0 nor 1"));
    assert!(apply(&of("bn.num_batches_tracked", "BOOL", "[]", 1), &[1]).contains("I64"));
    assert!(fails(1, &["masks", "extract", text(&file), "-o", text(&out), "--include", "nope"]).contains("nope"));
}
