//! The command as a process: interruptions, full disks, closed pipes.

#![cfg(unix)]

use crate::support::{names, of_header, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const COMMAND: &str = env!("CARGO_BIN_EXE_burn-prune");

/// A file of some matrices of 2 MB each.
fn large(folder: &Path, matrices: usize) -> PathBuf {
    let entry = |i: usize| {
        let (start, end) = (i << 21, (i + 1) << 21);
        format!(r#""l{i}.weight":{{"dtype":"F16","shape":[1024,1024],"data_offsets":[{start},{end}]}}"#)
    };
    let header = (0..matrices).map(entry).collect::<Vec<_>>().join(",");
    let data: Vec<u8> = (0..matrices << 21).map(|i| if i % 2 == 0 { (i / 2 * 7) as u8 } else { 0x30 }).collect();
    let file = folder.join("model.safetensors");
    fs::write(&file, of_header(&format!("{{{header}}}"), &data)).unwrap();
    file
}

#[test]
fn an_interruption_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = large(folder.path(), 64);
    for signal in ["-INT", "-TERM"] {
        let out = folder.path().join("out.safetensors");
        let child = Command::new(COMMAND)
            .args(["prune", text(&file), "--sparsity", "0.5", "--allocator", "global", "-o", text(&out)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Long enough to have begun, and far from the end.
        sleep(Duration::from_millis(300));
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let done = child.wait_with_output().unwrap();
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(130), "{error}");
        assert!(error.contains("interrupted"), "{error}");
        assert_eq!(names(folder.path()), ["model.safetensors"]);
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = large(folder.path(), 2);
    let out = folder.path().join("out.safetensors");
    // No file may be larger than a megabyte, which fails a write like a full disk does.
    let script =
        format!("trap '' XFSZ; ulimit -f 1024; {COMMAND} prune {} --sparsity 0.5 -o {}", text(&file), text(&out));
    let done = Command::new("bash").args(["-c", &script]).output().unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{error}");
    assert!(error.contains("out.safetensors") && error.contains("cannot be written"), "{error}");
    assert_eq!(names(folder.path()), ["model.safetensors"]);

    let done =
        Command::new(COMMAND).args(["prune", text(&file), "--sparsity", "0.5", "-o", "/dev/full"]).output().unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{error}");
    assert!(error.contains("/dev/full"), "{error}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let script = format!("{COMMAND} plugins | true; exit ${{PIPESTATUS[0]}}");
    let done = Command::new("bash").args(["-c", &script]).output().unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), error.as_str()), (Some(0), ""));
}

#[test]
fn a_pipe_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = crate::support::fails(1, &["inspect", text(&pipe)]);
    assert!(error.contains("pipe"), "{error}");
}

#[test]
fn one_signal_ends_what_waits_for_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = large(folder.path(), 1);
    let pipe = folder.path().join("recipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for signal in ["-INT", "-TERM"] {
        let out = folder.path().join("out.safetensors");
        let child = Command::new(COMMAND)
            .args(["prune", text(&file), "--recipe", text(&pipe), "-o", text(&out)])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(300));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let done = child.wait_with_output().unwrap();
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), error.contains("interrupted")), (Some(130), true), "{error}");
        assert_eq!(names(folder.path()), ["model.safetensors", "recipe.toml"]);
    }
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    for args in ["plugins", "plugins --json", "completions bash", "--help", "--version"] {
        let done = Command::new("bash").args(["-c", &format!("{COMMAND} {args} > /dev/full")]).output().unwrap();
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), error.contains("cannot be printed")), (Some(1), true), "{args}: {error}");
    }
}

#[test]
fn paths_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(name));
    let [model, out, masks] = [b"m\xff.safetensors", b"o\xff.safetensors", b"k\xff.safetensors"].map(|name| of(name));
    let [small, large_again] = [b"s\xff.safetensors", b"l\xff.safetensors"].map(|name| of(name));
    fs::rename(large(folder.path(), 1), &model).unwrap();
    let run = |args: &[&std::ffi::OsStr]| {
        let done = Command::new(COMMAND).args(args).arg("--json").output().unwrap();
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{args:?}: {error}");
        assert!(serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap().is_object());
    };
    let word = std::ffi::OsStr::new;
    let [model, out, masks, small, again] = [&model, &out, &masks, &small, &large_again].map(|path| path.as_os_str());
    run(&[word("inspect"), model]);
    run(&[word("prune"), model, word("--sparsity"), word("0.5"), word("-o"), out]);
    run(&[word("diff"), model, out]);
    run(&[word("masks"), word("extract"), out, word("-o"), masks]);
    run(&[word("masks"), word("apply"), masks, model, word("--in-place")]);
    run(&[word("compact"), out, word("-o"), small]);
    run(&[word("expand"), small, word("-o"), again]);
}
