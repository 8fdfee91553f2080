//! Finding plugins across crates: by linking, by hand, and when two claim one name.

use burn::tensor::Tensor;
use pruning_burn::budget::Allocator;
use pruning_burn::plugin::{Plugin, Plugins, RegistryError};
use pruning_burn::schedule::Curve;
use pruning_burn::score::{Criterion, CriterionError, LayerView};
use pruning_burn::{Pruner, register_criterion};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// A second `magnitude`: in this program, and in no other.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Impostor {}

impl Plugin for Impostor {
    const NAME: &'static str = "magnitude";
    const SUMMARY: &'static str = "Another one under a name that is taken.";
}

impl Criterion for Impostor {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight())
    }
}

register_criterion!(Impostor);

#[test]
fn plugins_of_every_crate_are_found() {
    // Refers to the crates, so that they are linked.
    let by_hand = pruning_plugins::all();
    let linked = Plugins::linked();
    let names = |plugins: &Plugins| plugins.iter().map(|e| (e.kind(), e.name(), e.origin())).collect::<Vec<_>>();
    assert_eq!(names(&by_hand), names(&linked));
    let packages: std::collections::BTreeSet<_> = linked.iter().map(|e| e.origin().package).collect();
    for package in ["allocation", "gradient", "magnitude", "norm", "schedule", "tests"] {
        assert!(packages.contains(format!("pruning-{package}").as_str()), "{package} in {packages:?}");
    }
    assert!(linked.build::<dyn Allocator>("erk", Default::default()).is_ok());
    assert!(linked.build::<dyn Curve>("cubic", Default::default()).is_ok());
}

#[test]
fn a_name_that_two_crates_claim_fails_and_names_both() {
    let plugins = pruning_plugins::all();
    let error = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &plugins).unwrap_err().to_string();
    for part in [
        "criterion \"magnitude\" is claimed by two plugins",
        "pruning-magnitude 0.2.0 (",
        "pruning-tests 0.2.0 (",
        "linking/main.rs)",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let conflicts = plugins.check().unwrap_err();
    assert!(matches!(&conflicts[..], [RegistryError::Conflict { name, .. }] if name == "magnitude"));
    // That name, and no other.
    assert!(Pruner::from_toml("sparsity = 0.5\ncriterion = \"random\"", &plugins).is_ok());
}

#[test]
fn a_registry_by_hand_has_what_was_put_into_it() {
    let mut plugins = Plugins::empty();
    pruning_plugins::magnitude::register(&mut plugins);
    pruning_plugins::allocation::register(&mut plugins);
    assert_eq!(plugins.check(), Ok(()), "the other magnitude is linked, and not in here");
    assert!(Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &plugins).is_ok());
    assert!(plugins.of_kind::<dyn Curve>().next().is_none());
}

#[test]
fn two_copies_of_the_core_are_refused_by_cargo() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    // A copy of the core under another version, in a workspace of its own; its sources do not matter to the resolver.
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = manifest.find("members = [").unwrap();
    let end = members + manifest[members..].find(']').unwrap();
    let manifest = format!("{}members = [\"pruning-core\"{}", &manifest[..members], &manifest[end..]);
    let manifest = manifest.replace("version = \"0.2.0\"\nedition", "version = \"0.3.0\"\nedition");
    let other = folder.path().join("other");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("Cargo.toml"), manifest).unwrap();
    for file in ["Cargo.toml", "build.rs", "src/lib.rs", "benches/select.rs"] {
        copy(&root.join("pruning-core").join(file), &other.join("pruning-core").join(file));
    }
    let user = folder.path().join("user");
    std::fs::create_dir_all(user.join("src")).unwrap();
    std::fs::write(user.join("src/lib.rs"), "").unwrap();
    let here = root.join("pruning-core");
    std::fs::write(
        user.join("Cargo.toml"),
        format!(
            "[workspace]\n[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n\
             first = {{ package = \"pruning-core\", path = {here:?} }}\n\
             second = {{ package = \"pruning-core\", path = {:?} }}\n",
            other.join("pruning-core")
        ),
    )
    .unwrap();
    // The versions that this build has are on this machine: no registry is asked.
    copy(&root.join("Cargo.lock"), &user.join("Cargo.lock"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let output =
        Command::new(cargo).args(["metadata", "--offline", "--format-version", "1"]).current_dir(&user).output();
    let output = output.unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "two copies were accepted");
    assert!(message.contains("links to the native library `pruning-core`"), "{message}");
}
