//! Files, and optimizers that go on.

use crate::channels;
use crate::models::{Residual, Shuffle};
use burn::module::Module;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, momentum::MomentumConfig};
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, ShrinkError, ShrinkPlan, Shrinker, cut_optimizer};
use pruning_burn::store;
use pruning_burn::store::StoreError;
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::Mlp;
use pruning_tests::shrinking::Shrinks;
use pruning_tests::values::{base, effective, same_bits};
use std::path::{Path, PathBuf};

fn plan(device: &Device) -> ShrinkPlan {
    let model = Shuffle::new(device);
    let trace = Trace::record(&model, |m: &Shuffle, s: &mut Scope| m.forward(s, device)).unwrap();
    Shrinker::new(&channels(0.5, "")).plan(&model, &trace, None).unwrap()
}

fn set(model: &mut Shuffle, fields: &mut Fields) {
    model.set(fields);
}

fn smaller(device: &Device) -> (ShrinkPlan, Shuffle) {
    let (plan, mut model) = (plan(device), Shuffle::new(device));
    shrink::apply(&plan, &mut model, set, |m: &Shuffle, s: &mut Scope| m.forward(s, device)).unwrap();
    (plan, model)
}

fn files(folder: &Path) -> [PathBuf; 2] {
    [folder.join("small.bpk"), folder.join("small.safetensors")]
}

#[test]
fn a_smaller_model_loads_into_one_of_the_original_size() {
    let device = Device::flex();
    let (plan, model) = smaller(&device);
    let folder = tempfile::tempdir().unwrap();
    for file in files(folder.path()) {
        store::save((&model, &plan), &file).unwrap();
        let mut fresh = pruning_tests::models::filled(Shuffle::new(&device), 99);
        assert_eq!(store::load(&file).and_then(|file| file.into_smaller(&mut fresh, set)).unwrap(), plan);
        assert!(same_bits(&base(&fresh), &base(&model)));
        let run = |m: &Shuffle| {
            let forward = |m: &Shuffle, s: &mut Scope| m.forward(s, &device);
            shrink::verify(&model, m, forward).unwrap()
        };
        assert_eq!(run(&fresh).max_abs, 0.0);
    }
    // Nothing else is left beside them.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// Another process has other parameter ids, and nothing in memory.
#[test]
fn another_process_loads_it() {
    let device = Device::flex();
    if let Ok(folder) = std::env::var("PRUNING_TEST_SHRUNKEN") {
        for file in files(Path::new(&folder)) {
            let mut fresh = Shuffle::new(&device);
            store::load(&file).and_then(|file| file.into_smaller(&mut fresh, set)).unwrap();
            assert!(same_bits(&base(&fresh), &base(&smaller(&device).1)));
        }
        return;
    }
    let (plan, model) = smaller(&device);
    let folder = tempfile::tempdir().unwrap();
    for file in files(folder.path()) {
        store::save((&model, &plan), &file).unwrap();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "state::another_process_loads_it"])
        .env("PRUNING_TEST_SHRUNKEN", folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let (plan, model) = smaller(&device);
    let folder = tempfile::tempdir().unwrap();
    for file in files(folder.path()) {
        store::save((&model, &plan), &file).unwrap();
        let whole = std::fs::read(&file).unwrap();
        let mut fresh = Shuffle::new(&device);
        let before = base(&fresh);
        let unchanged = |fresh: &Shuffle| assert!(same_bits(&base(fresh), &before));

        let error = store::load(&file)
            .and_then(|file| file.into_smaller(&mut fresh, |_: &mut Shuffle, _: &mut Fields| {}))
            .unwrap_err();
        let StoreError::Shrink { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(**source, ShrinkError::MissingSetter { .. }), "{error}");
        unchanged(&fresh);

        let mut other = Residual::new(&device);
        let error = store::load(&file)
            .and_then(|file| file.into_smaller(&mut other, |_: &mut Residual, _: &mut Fields| {}))
            .unwrap_err();
        let StoreError::Shrink { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(**source, ShrinkError::OtherModel { .. }), "{error}");

        for cut in [0, 5, 40, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..cut]).unwrap();
            let error = store::load(&file).and_then(|file| file.into_smaller(&mut fresh, set)).unwrap_err();
            assert!(matches!(error, StoreError::Read { .. }), "{cut} bytes: {error}");
            assert!(error.to_string().contains("small."), "{error}");
            unchanged(&fresh);
        }
        // Nonsense where the header is.
        let mut broken = whole.clone();
        broken[8..40].fill(b'x');
        std::fs::write(&file, &broken).unwrap();
        assert!(store::load(&file).and_then(|file| file.into_smaller(&mut fresh, set)).is_err());
        unchanged(&fresh);
    }
    let plain = folder.path().join("plain.bpk");
    pruning_burn::store::save(&Shuffle::new(&device), &plain).unwrap();
    let mut fresh = Shuffle::new(&device);
    assert!(matches!(
        store::load(&plain).and_then(|file| file.into_smaller(&mut fresh, set)),
        Err(StoreError::NoPlan { .. })
    ));
    assert!(matches!(
        store::load(folder.path().join("none.bpk")).and_then(|file| file.into_smaller(&mut fresh, set)),
        Err(StoreError::Read { .. })
    ));
    // Saving what the plan did not make.
    let error = store::save((&fresh, &plan), &plain).unwrap_err();
    assert!(matches!(error, StoreError::Shrink { .. }), "{error}");
}

/// A step of training, on inputs of its own.
fn step(model: Mlp, optimizer: &mut ModuleOptimizer, batch: u64) -> Mlp {
    let device = model.fc1.weight.lazy_device();
    let numbers = pruning_tests::models::numbers(4 * 12, batch);
    let x = Tensor::<1>::from_floats(numbers.as_slice(), &device).reshape([4, 12]);
    let loss = (model.forward(x) - 0.5).square().mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    optimizer.step(0.05, model, gradients)
}

#[test]
fn optimizers_go_on_with_the_moments_of_what_is_left() {
    let inner = Device::flex();
    let device = inner.clone().autodiff();
    let momentum = || SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init();
    for mut optimizer in [momentum(), AdamConfig::new().init(), AdamWConfig::new().init()] {
        let mut masked = Mlp::new(&device, 5);
        let x = Mlp::input(2, &inner);
        let forward = |m: &Mlp, s: &mut Scope| {
            let x = s.input(&x);
            s.output(m.forward(x));
        };
        let trace = Trace::record(&masked, forward).unwrap();
        let plan = Shrinker::new(&channels(0.5, "")).plan(&masked, &trace, None).unwrap();
        shrink::mask(&plan, &mut masked).unwrap();
        for batch in 0..3 {
            masked = step(masked, &mut optimizer, batch);
        }
        let mut small = masked.clone();
        let mut cut = cut_optimizer(&plan, &masked, &optimizer).unwrap();
        shrink::apply(&plan, &mut small, |_: &mut Mlp, _: &mut Fields| {}, forward).unwrap();
        assert!(small.fc1.weight.is_require_grad());
        for batch in 3..6 {
            masked = step(masked, &mut optimizer, batch);
            small = step(small, &mut cut, batch);
        }
        let mut expected = masked.clone();
        shrink::apply(&plan, &mut expected, |_: &mut Mlp, _: &mut Fields| {}, forward).unwrap();
        for (path, values) in effective(&small.valid()) {
            let expected = &effective(&expected.valid())[&path];
            values.assert_approx_eq::<f32>(expected, burn::tensor::Tolerance::absolute(1e-5));
        }
        // A new optimizer would have gone elsewhere.
        let mut fresh = small.clone();
        let mut forgetful = if plan.is_empty() { momentum() } else { AdamConfig::new().init() };
        fresh = step(fresh, &mut forgetful, 7);
        let kept = step(small, &mut cut, 7);
        assert!(!same_bits(&base(&fresh.valid()), &base(&kept.valid())));
    }
}
