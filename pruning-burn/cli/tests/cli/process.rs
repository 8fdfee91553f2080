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
