//! The published kit with settings that are not the defaults.

use pruning_core::conformance::{Subject, assert_all, reconstruction_checks};
use pruning_core::plugin::Plugins;
use serde_json::json;

#[test]
fn reconstructions_conform_with_other_settings() {
    let mut plugins = Plugins::empty();
    pruning_reconstruction::register(&mut plugins);
    for (name, config) in [
        ("obs", json!({ "block": 7, "damp": 0.01 })),
        ("sparsegpt", json!({ "block": 5, "damp": 0.01 })),
        ("sparsegpt", json!({ "block": 1000, "damp": 1.0 })),
        ("least_squares", json!({ "damp": 0.001 })),
        ("least_squares", json!({ "bias": false, "damp": 1.0 })),
    ] {
        assert_all(&reconstruction_checks(), &Subject::new(&plugins, name).with_config(config));
    }
}
