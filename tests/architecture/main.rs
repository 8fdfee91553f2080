//! The shape of the code: modules side by side do not depend on each other in circles, `unsafe` stays where it is argued for, and a
//! file is one concept.

mod circles;
mod source;

use source::Source;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Circles that are still to be cut: the folder of a crate, the module around them, and those that name each other.
const CIRCLES: [&str; 0] = [];

/// Lines of a file, without the tests at its end.
const LINES: usize = 400;

/// Where `unsafe` may be: the kernels of sparse products, and the launches of kernels on GPUs.
const UNSAFE: [&str; 2] = ["pruning-core/sparse/src", "pruning-burn/src/nn/sparse/cube"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The folders of all crates that are published, from the root of the repository.
fn crates() -> Vec<String> {
    let plugins = fs::read_dir(repository().join("plugins")).unwrap().map(|entry| entry.unwrap().file_name());
    let plugins = plugins.map(|name| format!("plugins/{}", name.to_str().unwrap()));
    let mut folders: Vec<_> = plugins
        .chain(
            ["pruning-core", "pruning-core/sparse", "pruning-burn", "pruning-burn/cli", "pruning-burn/report"]
                .map(Into::into),
        )
        .collect();
    folders.sort();
    folders
}

fn sources() -> impl Iterator<Item = (String, Source)> {
    crates().into_iter().map(|folder| {
        let source = Source::read(&repository(), &format!("{folder}/src/lib.rs"));
        (folder, source)
    })
}

/// What was found is what is known. Entries `(name, explanation)`.
#[track_caller]
fn assert_known(found: &[(String, String)], known: &[&str], rule: &str) {
    let new: String =
        found.iter().filter(|(name, _)| !known.contains(&name.as_str())).map(|(_, text)| text.as_str()).collect();
    assert!(new.is_empty(), "{rule}:\n{new}");
    let names: BTreeSet<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let gone: Vec<_> = known.iter().filter(|name| !names.contains(**name)).collect();
    assert!(gone.is_empty(), "no longer so, take them off the list: {gone:#?}");
}

#[test]
fn modules_side_by_side_do_not_need_each_other() {
    let mut found = Vec::new();
    for (folder, source) in sources() {
        for (parent, edges) in circles::edges(&source) {
            for circle in circles::circles(&edges) {
                let parent: String = parent.iter().map(|name| format!("::{name}")).collect();
                let name = format!("{folder}{parent}: {}", circle.join(", "));
                let text = format!("{name}\n{}", circles::explain(&edges, &circle));
                found.push((name, text));
            }
        }
    }
    assert_known(&found, &CIRCLES, "modules side by side that need each other");
}

#[test]
fn unsafe_is_where_it_is_argued_for() {
    let mut found = String::new();
    for (folder, source) in sources() {
        let elsewhere = source.hazards.iter().filter(|place| !UNSAFE.iter().any(|start| place.file.starts_with(start)));
        found.extend(elsewhere.map(|place| format!("{place}\n")));

        let attribute = match folder.as_str() {
            "pruning-core" => "#![forbid(unsafe_code)]",
            // A module of it is allowed to.
            "pruning-burn" => "#![deny(unsafe_code)]",
            _ => continue,
        };
        let root = fs::read_to_string(repository().join(&folder).join("src/lib.rs")).unwrap();
        if !root.contains(attribute) {
            found += &format!("{folder}/src/lib.rs does not say {attribute}\n");
        }
    }
    assert!(found.is_empty(), "`unsafe` outside of {UNSAFE:?}:\n{found}");
}

#[test]
fn a_file_is_one_concept() {
    let mut found = Vec::new();
    for (_, source) in sources() {
        for (file, lines) in source.lengths.into_iter().filter(|(_, lines)| *lines > LINES) {
            let text = format!("{file} has {lines}\n");
            found.push((file, text));
        }
    }
    assert_known(&found, &[], &format!("files of more than {LINES} lines without the tests at their end"));
}

/// Burn's generator of random numbers is one for the whole process, and tests run beside each other: what a test draws from it, seeded
/// or not, depends on its neighbours. `pruning_tests::models` has numbers that do not.
#[test]
fn tests_draw_no_numbers_from_the_generator_that_all_share() {
    fn read(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("architecture/main.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let shared = |line: &&str| line.contains("device.seed(") || line.contains("Distribution::");
                found.extend(text.lines().filter(shared).map(|line| format!("{}: {line}\n", path.display())));
            }
        }
    }
    let mut found = String::new();
    read(&repository().join("tests"), &mut found);
    assert!(found.is_empty(), "{found}");
}
