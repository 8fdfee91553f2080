//! Every registered plugin against the published kit: one trial for each plugin and check, criteria on every device.

use libtest_mimic::{Arguments, Trial};
use pruning_burn::budget::Allocator;
use pruning_burn::conformance::{
    Check, Subject, allocator_checks, criterion_checks, curve_checks, reconstruction_checks,
};
use pruning_burn::schedule::Curve;
use pruning_burn::score::Criterion;
use pruning_core::plugin::PluginKind;
use pruning_core::reconstruct::Reconstruction;
use pruning_tests::devices::devices;

fn add<K: PluginKind + ?Sized>(trials: &mut Vec<Trial>, checks: impl Fn() -> Vec<Check<K>>) {
    let plugins = pruning_plugins::all();
    for entry in plugins.of_kind::<K>() {
        let name = entry.name();
        for check in checks() {
            let plugins = plugins.clone();
            trials.push(Trial::test(format!("{}::{name}::{}", K::KIND, check.name), move || {
                check.run(&Subject::new(&plugins, name)).map_err(Into::into)
            }));
        }
    }
}

fn main() {
    let mut devices: Vec<_> = devices().into_iter().map(|(_, device)| device).collect();
    // The first one is what the others are compared with.
    devices.insert(0, burn::tensor::Device::flex());
    let mut trials = Vec::new();
    add::<dyn Criterion>(&mut trials, || criterion_checks(&devices));
    add::<dyn Allocator>(&mut trials, allocator_checks);
    add::<dyn Curve>(&mut trials, curve_checks);
    add::<dyn Reconstruction>(&mut trials, reconstruction_checks);
    assert!(trials.len() > 40, "plugins are linked: {}", trials.len());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
