use crate::pruner;
use crate::survival::train;
use burn::module::Module;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::Device;
use pruning_burn::mask::{finish, masks, undo};
use pruning_burn::store::{load, save};
use pruning_burn::{PruneError, Session};
use pruning_tests::models::{Cnn, Mlp};
use pruning_tests::values::{base, effective, same_bits};

fn optimizer() -> ModuleOptimizer {
    AdamConfig::new().init()
}

pub(crate) fn iterative_schedule_keeps_its_promises(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Mlp::new(&device, 1);
    let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"\nallocator = \"global\"\n\
                  schedule = { kind = \"iterative\", begin = 1, every = 2, rounds = 3 }";
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let (mut optimizer, mut kept, mut last) = (optimizer(), Vec::new(), masks(&model));
    for step in 0..8 {
        assert_eq!(session.is_done(), step > 5, "step {step}");
        if let Some(report) = session.step(&mut model, None).unwrap() {
            assert_eq!((report.step, report.round), (Some(step), Some((kept.len() + 1, 3))));
            kept.push(report.kept());
            let now = masks(&model);
            for (path, mask) in now.iter() {
                let before = last.get(path).unwrap();
                assert!(mask.bits().iter_ones().all(|i| before.bits().get(i)), "what is pruned stays pruned");
            }
            last = now;
        }
        model = train(model, &mut optimizer, &device);
    }
    // 320 weights, density 0.1^(round / 3).
    assert_eq!(kept, [149, 69, 32]);
    assert_eq!(finish(&mut model).unwrap().kept(), 32);
}

pub(crate) fn gradual_schedule_reaches_its_target(device: &Device) {
    for curve in ["linear", "cubic", "exponential"] {
        let mut model = Mlp::new(device, 1);
        let recipe = format!(
            "sparsity = 0.8\ncriterion = \"magnitude\"\n[schedule]\nkind = \"gradual\"\nbegin = 2\nend = 11\nevery = 3\n\
             initial = 0.1\ncurve = \"{curve}\""
        );
        let mut session = pruner(&recipe).start(&mut model).unwrap();
        let mut steps = Vec::new();
        while !session.is_done() {
            let step = session.steps();
            if let Some(report) = session.step(&mut model, None).unwrap() {
                steps.push((step, report.sparsity()));
            }
        }
        assert_eq!(steps.iter().map(|s| s.0).collect::<Vec<_>>(), [2, 5, 8, 11], "{curve}");
        for (step, sparsity) in steps {
            let t = (step - 2) as f64 / 9.0;
            let expected = match curve {
                "linear" => 0.1 + 0.7 * t,
                "cubic" => 0.8 - 0.7 * (1.0 - t).powi(3),
                _ => 1.0 - 0.9f64.powf(1.0 - t) * 0.2f64.powf(t),
            };
            // One weight of 128, the smaller layer, is rounding.
            assert!((sparsity - expected).abs() < 1.0 / 128.0, "{curve} at {step}: {sparsity} for {expected}");
        }
    }
}

pub(crate) fn rewind_to_the_start_is_bit_exact(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Mlp::new(&device, 1);
    let start = base(&model);
    let recipe = "sparsity = 0.75\ncriterion = \"magnitude\"\ninitialization = \"rewind\"\n\
                  schedule = { kind = \"iterative\", begin = 3, every = 3, rounds = 2 }";
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let (mut optimizer_now, mut rounds) = (optimizer(), 0);
    for _ in 0..9 {
        if session.step(&mut model, None).unwrap().is_some() {
            rounds += 1;
            let mut bare = model.clone();
            undo(&mut bare).unwrap();
            assert!(same_bits(&base(&bare), &start), "round {rounds}: every weight is what it was at the start");
            assert!(!same_bits(&effective(&model), &start), "round {rounds}: but for those that are pruned");
            optimizer_now = optimizer();
        }
        model = train(model, &mut optimizer_now, &device);
        assert!(!same_bits(&base(&model), &start), "and they train on");
    }
    assert_eq!(rounds, 2);
}

pub(crate) fn rewind_to_a_step_is_bit_exact(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Mlp::new(&device, 1);
    let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 2 } }\n\
                  schedule = { kind = \"one_shot\", at = 4 }";
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let (mut optimizer, mut values) = (optimizer(), Vec::new());
    for step in 0..=4 {
        let plain = {
            let mut bare = model.clone();
            undo(&mut bare).unwrap();
            base(&bare)
        };
        values.push(plain);
        let pruned = session.step(&mut model, None).unwrap();
        assert_eq!(pruned.is_some(), step == 4);
        if step < 4 {
            model = train(model, &mut optimizer, &device);
        }
    }
    assert_eq!(masks(&model).sparsity(), 0.5);
    undo(&mut model).unwrap();
    assert!(same_bits(&base(&model), &values[2]));
    assert!(!same_bits(&base(&model), &values[3]));
}

pub(crate) fn failed_steps_change_nothing(device: &Device) {
    let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"";
    let mut model = Mlp::new(device, 1);
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let masked = masks(&model);
    // A second session on the same model.
    let error = pruner(recipe).start(&mut model).unwrap_err();
    assert!(matches!(&error, PruneError::AlreadyAttached { path } if path == "fc1.weight"), "{error}");
    assert_eq!(masks(&model), masked);
    // The masks are gone: the session says so, and is where it was.
    let mut bare = model.clone();
    undo(&mut bare).unwrap();
    for mut other in [bare, Mlp::new(device, 3)] {
        let before = base(&other);
        let error = session.step(&mut other, None).unwrap_err();
        assert!(matches!(&error, PruneError::NotAttached { path } if path == "fc1.weight"), "{error}");
        assert!(same_bits(&base(&other), &before));
        assert_eq!(session.steps(), 0);
    }
    assert_eq!(session.step(&mut model, None).unwrap().unwrap().kept(), 160);
    finish(&mut model).unwrap();
}

pub(crate) fn another_model_is_not_the_one_of_the_session(device: &Device) {
    let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"";
    let (mut model, mut other) = (Mlp::new(device, 1), Mlp::new(device, 2));
    let mut session = pruner(recipe).start(&mut model).unwrap();
    let mut another = pruner(recipe).start(&mut other).unwrap();
    let (before, mask) = (base(&other), masks(&other));
    let error = session.step(&mut other, None).unwrap_err();
    assert!(matches!(&error, PruneError::AnotherModel { path } if path == "fc1.weight"), "{error}");
    assert!(same_bits(&base(&other), &before) && masks(&other) == mask && session.steps() == 0);
    // Each with its own.
    assert!(session.step(&mut model, None).unwrap().is_some() && another.step(&mut other, None).unwrap().is_some());
    // Other names, and others of the same.
    let mut cnn = Cnn::new(device, 1);
    let mut session = pruner(recipe).start(&mut Mlp::new(device, 3)).unwrap();
    let _ = pruner(recipe).start(&mut cnn).unwrap();
    let error = session.step(&mut cnn, None).unwrap_err();
    assert!(matches!(&error, PruneError::TargetsChanged { .. }), "{error}");
    assert_eq!(session.steps(), 0);
}

pub(crate) fn a_stranger_is_told_before_anything_is_kept(device: &Device) {
    let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 2 } }\n\
                  schedule = { kind = \"one_shot\", at = 4 }";
    let (mut model, mut other) = (Mlp::new(device, 1), Mlp::new(device, 2));
    let dense = base(&model);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rewind.bpk");
    let mut session = pruner(recipe).start(&mut model).unwrap().with_snapshot_file(&file).unwrap();
    let _ = pruner(recipe).start(&mut other).unwrap();
    let mut bare = model.clone();
    undo(&mut bare).unwrap();
    // At steps with nothing due, at the one that keeps the weights, and at the one that prunes.
    for step in 0..5 {
        let error = session.step(&mut other, None).unwrap_err();
        assert!(matches!(&error, PruneError::AnotherModel { path } if path == "fc1.weight"), "{step}: {error}");
        let error = session.step(&mut bare, None).unwrap_err();
        assert!(matches!(&error, PruneError::NotAttached { path } if path == "fc1.weight"), "{step}: {error}");
        let error = save((&other, &session), folder.path().join("session.bpk")).unwrap_err();
        assert!(error.to_string().contains("fc1.weight: is a parameter of another model"), "{error}");
        assert_eq!((session.steps(), file.exists()), (step, step > 2), "nothing is kept of a stranger");
        session.step(&mut model, None).unwrap();
    }
    undo(&mut model).unwrap();
    assert!(same_bits(&base(&model), &dense), "it went back to its own weights");
    assert_eq!(masks(&other).sparsity(), 0.0);
}

pub(crate) fn a_schedule_that_does_not_come_prunes_nothing_and_is_not_done(device: &Device) {
    let mut model = Mlp::new(device, 1);
    let before = base(&model);
    let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"\nschedule = { kind = \"one_shot\", at = 1000000 }";
    let mut session = pruner(recipe).start(&mut model).unwrap();
    for _ in 0..20 {
        assert!(session.due().is_none() && session.step(&mut model, None).unwrap().is_none());
    }
    assert!(!session.is_done());
    assert_eq!(finish(&mut model).unwrap().sparsity(), 0.0);
    assert!(same_bits(&base(&model), &before));
}

/// Trains for steps `from..to` of a schedule.
fn run(model: Mlp, session: &mut Session, optimizer: &mut ModuleOptimizer, steps: usize, device: &Device) -> Mlp {
    let mut model = model;
    for _ in 0..steps {
        session.step(&mut model, None).unwrap();
        model = train(model, optimizer, device);
    }
    model
}

pub(crate) fn resumed_training_is_bit_identical(device: &Device) {
    let device = device.clone().autodiff();
    for recipe in [
        "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"global\"\n\
         schedule = { kind = \"iterative\", begin = 1, every = 2, rounds = 3 }",
        "sparsity = 0.8\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 1 } }\n\
         schedule = { kind = \"iterative\", begin = 3, every = 2, rounds = 2 }",
    ] {
        let pruner = pruner(recipe);
        let whole = {
            let mut model = Mlp::new(&device, 1);
            let mut session = pruner.start(&mut model).unwrap();
            run(model, &mut session, &mut optimizer(), 8, &device)
        };
        for cut in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let (file, moments) = (folder.path().join("model.bpk"), folder.path().join("optimizer.bpk"));
            {
                let mut model = Mlp::new(&device, 1);
                let mut session = pruner.start(&mut model).unwrap();
                let mut optimizer = optimizer();
                let model = run(model, &mut session, &mut optimizer, cut, &device);
                save((&model, &session), &file).unwrap();
                optimizer.save(&moments).unwrap();
            }
            // Another process would build it anew, with other weights.
            let mut model = Mlp::new(&device, 99);
            let mut session = load(&file).and_then(|file| file.into_session(&mut model, &pruner)).unwrap();
            let mut optimizer = optimizer().load(&moments).unwrap();
            assert_eq!(session.steps(), cut);
            let resumed = run(model, &mut session, &mut optimizer, 8 - cut, &device);
            assert_eq!(masks(&resumed), masks(&whole), "cut at {cut}\n{recipe}");
            assert!(same_bits(&base(&resumed), &base(&whole)), "cut at {cut}\n{recipe}");
        }
        assert!(same_bits(&base(&whole.valid()), &base(&whole)));
    }
}
