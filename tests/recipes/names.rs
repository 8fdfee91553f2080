//! Recipes that address parameters by the names of a file.

use burn::tensor::Device;
use pruning_burn::mask::masks;
use pruning_burn::{PruneError, Pruner};
use pruning_tests::models::Mlp;

const NAMES: [(&str, &str); 2] = [("encoder.0", "fc1"), ("head.weight", "fc2.weight")];

fn model() -> Mlp {
    Mlp::new(&Device::flex(), 3)
}

fn pruner(target: &str) -> Pruner {
    let recipe = format!("criterion = \"magnitude\"\nsparsity = 0.5\n{target}");
    Pruner::from_toml(&recipe, &pruning_plugins::all()).unwrap()
}

/// The masks by a recipe with names, and by one with paths.
fn same(named: &str, paths: &str) {
    let (mut one, mut other) = (model(), model());
    pruner(named).with_names(NAMES).prune(&mut one, None).unwrap();
    pruner(paths).prune(&mut other, None).unwrap();
    assert!(!masks(&one).is_empty());
    assert_eq!(masks(&one), masks(&other), "{named}");
}

#[test]
fn a_name_of_the_file_means_what_the_path_means() {
    same("target = { include = [\"encoder.0\"] }", "target = { include = [\"fc1\"] }");
    same("target = { exclude = [\"encoder.?\"] }", "target = { exclude = [\"fc1\"] }");
    same("target = { exclude = [\"head.weight\"] }", "target = { exclude = [\"fc2\"] }");
    same("target = { include = [\"encoder.0.bias\"] }", "target = { include = [\"fc1.bias\"] }");
    // A module covers its weights alone, by either name.
    same("target = { include = [\"encoder\"] }", "target = { include = [\"fc1.weight\"] }");
    let own = |name: &str| format!("override = [{{ target = \"{name}\", sparsity = 0.9 }}]");
    same(&own("encoder.0"), &own("fc1"));
    same("target = { include = [\"fc1\"] }", "target = { include = [\"fc1\"] }");
}

#[test]
fn sessions_keep_the_names() {
    let (mut one, mut other) = (model(), model());
    let named = pruner("target = { include = [\"encoder.0\"] }").with_names(NAMES);
    named.start(&mut one).unwrap().step(&mut one, None).unwrap();
    pruner("target = { include = [\"fc1\"] }").prune(&mut other, None).unwrap();
    assert_eq!(masks(&one), masks(&other));
}

#[test]
fn both_names_of_a_layer_match_its_one_override() {
    let two = "override = [{ target = \"fc1\", sparsity = 0.9 }, { target = \"encoder.0\", sparsity = 0.8 }]";
    let error = pruner(two).with_names(NAMES).prune(&mut model(), None).unwrap_err();
    assert!(matches!(&error, PruneError::TwoOverrides { path, .. } if path == "fc1.weight"), "{error}");
}

#[test]
fn names_that_mean_nothing_or_two_things_are_refused() {
    let mut model = model();
    let error = pruner("").with_names([("a", "fc9")]).prune(&mut model, None).unwrap_err();
    assert!(matches!(&error, PruneError::IdleName { name, path, .. } if name == "a" && path == "fc9"), "{error}");
    let error = pruner("").with_names([("fc2", "fc1")]).prune(&mut model, None).unwrap_err();
    let expected = "fc2.weight: is the path of fc2.weight, and a name that was given to fc1.weight";
    assert!(error.to_string().starts_with(expected), "{error}");
    let error =
        pruner("target = { include = [\"c\"] }").with_names([("b", "fc1")]).prune(&mut model, None).unwrap_err();
    assert!(matches!(error, PruneError::Unmatched { .. }), "{error}");
    assert!(masks(&model).is_empty());
}
