use crate::parameters::Cast;
use crate::pruner;
use crate::survival::train;
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::AdamConfig;
use burn::tensor::{DType, Device, Tensor};
use pruning_burn::PruneError;
use pruning_burn::mask::{attach, masks, random_masks, undo};
use pruning_burn::store::{StoreError, load, save};
use pruning_tests::models::{Cnn, Mlp};
use pruning_tests::values::{base, same_bits};
use std::fs;

const REWIND: &str = "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 2 } }\n\
                      schedule = { kind = \"iterative\", begin = 4, every = 3, rounds = 2 }";

fn dense(model: &Mlp) -> std::collections::BTreeMap<String, burn::tensor::TensorData> {
    let mut bare = model.clone();
    undo(&mut bare).unwrap();
    base(&bare)
}

pub(crate) fn keeping_and_rewinding_the_rate_leave_every_bit(device: &Device) {
    let device = device.clone().autodiff();
    for (initialization, rates) in [
        ("\"keep\"", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("\"rewind_rate\"", [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]),
        ("{ rewind_rate = { step = 2 } }", [0, 1, 2, 3, 2, 3, 4, 2, 3, 4]),
    ] {
        let recipe = REWIND.replace("{ rewind = { step = 2 } }", initialization);
        let mut model = Mlp::new(&device, 1);
        let mut session = pruner(&recipe).start(&mut model).unwrap();
        let mut optimizer = AdamConfig::new().init();
        for (step, rate) in rates.into_iter().enumerate() {
            let before = dense(&model);
            session.step(&mut model, None).unwrap();
            assert!(same_bits(&dense(&model), &before), "{initialization} at {step}");
            assert_eq!(session.learning_rate_step(), rate, "{initialization} at {step}");
            model = train(model, &mut optimizer, &device);
        }
    }
}

pub(crate) fn rewinding_sets_the_rate_back_with_the_weights(device: &Device) {
    let mut model = Mlp::new(device, 1);
    let mut session = pruner(REWIND).start(&mut model).unwrap();
    assert_eq!(session.learning_rate_step(), 0);
    let rates: Vec<_> = (0..9)
        .map(|_| {
            session.step(&mut model, None).unwrap();
            session.learning_rate_step()
        })
        .collect();
    assert_eq!(rates, [0, 1, 2, 3, 2, 3, 4, 2, 3]);
}

pub(crate) fn reinitializing_takes_new_weights_each_time(device: &Device) {
    let device = device.clone().autodiff();
    let recipe = REWIND.replace("{ rewind = { step = 2 } }", "\"reinitialize\"");
    let mut model = Mlp::new(&device, 1);
    let mut session = pruner(&recipe).start(&mut model).unwrap();
    let mut optimizer = AdamConfig::new().init();
    for step in 0..9 {
        if session.due().is_some() {
            let (before, mask) = (base(&model), masks(&model));
            let error = session.step(&mut model, None).unwrap_err();
            assert_eq!(error, PruneError::NoFreshWeights, "those of the pruning before do not count again");
            session.start_from(&Cnn::new(&device, 3));
            let error = session.step(&mut model, None).unwrap_err();
            assert!(matches!(&error, PruneError::OtherModel { .. }), "{error}");
            assert!(same_bits(&base(&model), &before) && masks(&model) == mask && session.steps() == step);
            let fresh = Mlp::new(&device, 100 + step as u64);
            session.start_from(&fresh);
            session.step(&mut model, None).unwrap().unwrap();
            assert!(same_bits(&dense(&model), &base(&fresh)), "every weight is a new one");
            assert_eq!(session.learning_rate_step(), 0);
            optimizer = AdamConfig::new().init();
        } else {
            session.step(&mut model, None).unwrap();
        }
        model = train(model, &mut optimizer, &device);
    }
    assert_eq!(masks(&model).sparsity(), 0.5);
}

pub(crate) fn a_snapshot_in_a_file_is_bit_exact(device: &Device) {
    let device = device.clone().autodiff();
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("snapshot.bpk");
    for recipe in [REWIND.to_string(), REWIND.replace("step = 2", "step = 0")] {
        let run = |in_file: bool, cut: Option<usize>| {
            let mut model = Mlp::new(&device, 1);
            let mut session = pruner(&recipe).start(&mut model).unwrap();
            if in_file {
                session = session.with_snapshot_file(&snapshot).unwrap();
            }
            let mut optimizer = AdamConfig::new().init();
            for step in 0..9 {
                if cut == Some(step) {
                    let file = folder.path().join("model.bpk");
                    save((&model, &session), &file).unwrap();
                    model = Mlp::new(&device, 50);
                    session = load(&file).and_then(|file| file.into_session(&mut model, &pruner(&recipe))).unwrap();
                }
                session.step(&mut model, None).unwrap();
                model = train(model, &mut optimizer, &device);
            }
            model
        };
        let memory = run(false, None);
        for cut in [None, Some(1), Some(3), Some(5)] {
            let file = run(true, cut);
            assert_eq!(masks(&file), masks(&memory), "cut at {cut:?}");
            assert!(same_bits(&base(&file), &base(&memory)), "cut at {cut:?}");
        }
    }
}

pub(crate) fn snapshots_that_are_gone_or_of_another_model_are_errors(device: &Device) {
    let folder = tempfile::tempdir().unwrap();
    let (file, snapshot) = (folder.path().join("model.bpk"), folder.path().join("snapshot.bpk"));
    let mut model = Mlp::new(device, 1);
    let session = pruner(REWIND).start(&mut model).unwrap();
    let error = session
        .clone()
        .with_snapshot_file(folder.path().join("no/such.bpk"))
        .map(|mut s| (0..3).map(|_| s.step(&mut model.clone(), None)).find_map(Result::err));
    assert!(matches!(error, Ok(Some(PruneError::Snapshot { .. }))), "{error:?}");
    let mut session = session.with_snapshot_file(&snapshot).unwrap();
    for _ in 0..4 {
        session.step(&mut model, None).unwrap();
    }
    save((&model, &session), &file).unwrap();
    let whole = fs::read(&snapshot).unwrap();
    let other = folder.path().join("other.bpk");
    let conv = "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = \"rewind\"";
    let mut cnn = Cnn::new(device, 1);
    let _ = pruner(conv).start(&mut cnn).unwrap().with_snapshot_file(&other).unwrap();
    for (what, bytes) in [
        ("gone", None),
        ("cut", Some(whole[..whole.len() / 2].to_vec())),
        ("of another model", Some(fs::read(&other).unwrap())),
    ] {
        match bytes {
            Some(bytes) => fs::write(&snapshot, bytes).unwrap(),
            None => fs::remove_file(&snapshot).unwrap(),
        }
        let (before, mask) = (base(&model), masks(&model));
        let error = session.step(&mut model, None).unwrap_err();
        let expected = matches!(&error, PruneError::Snapshot { .. } | PruneError::OtherModel { .. });
        assert!(expected, "{what}: {error}");
        assert!(same_bits(&base(&model), &before) && masks(&model) == mask && session.steps() == 4, "{what}");
        let mut fresh = Mlp::new(device, 2);
        let before = base(&fresh);
        let error = load(&file).and_then(|file| file.into_session(&mut fresh, &pruner(REWIND))).unwrap_err();
        assert!(matches!(&error, StoreError::Prune { .. } | StoreError::Snapshot { .. }), "{what}: {error}");
        assert!(same_bits(&base(&fresh), &before) && masks(&fresh).is_empty(), "{what}");
    }
    fs::write(&snapshot, &whole).unwrap();
    assert!(session.step(&mut model, None).unwrap().is_some());
    // Damage of the file with the session itself.
    let saved = fs::read(&file).unwrap();
    for cut in [0, 50, saved.len() / 2, saved.len() - 1] {
        fs::write(&file, &saved[..cut]).unwrap();
        let error =
            load(&file).and_then(|file| file.into_session(&mut Mlp::new(device, 2), &pruner(REWIND))).unwrap_err();
        assert!(matches!(&error, StoreError::Read { .. }), "cut at {cut}: {error}");
    }
}

pub(crate) fn random_masks_of_the_same_density_attach(device: &Device) {
    let mut model = Mlp::new(device, 1);
    let start = Mlp::new(device, 1);
    pruner("sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"global\"").prune(&mut model, None).unwrap();
    let found = masks(&model);
    let control = random_masks(&found, 3);
    let mut random = start.clone();
    let report = attach(&mut random, &control).unwrap();
    assert_eq!(report.kept(), 64);
    assert!(masks(&random).iter().zip(found.iter()).all(|((p, a), (q, b))| p == q && a.kept() == b.kept() && a != b));
    assert!(same_bits(&base(&random.valid()), &base(&start)));
}

/// Numbers that no other type holds as they are.
struct Third;

impl ModuleMapper for Third {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor / 3.0)
    }
}

pub(crate) fn rewound_weights_keep_their_type(device: &Device) {
    for dtype in [DType::F64, DType::F16, DType::BF16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
        let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = \"rewind\"";
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let third = |device: &Device| Mlp::new(device, 1).map(&mut Cast(dtype)).map(&mut Third);
        for in_file in [false, true] {
            let mut model = third(device);
            let start = base(&model);
            let mut session = pruner(recipe).start(&mut model).unwrap();
            if in_file {
                session = session.with_snapshot_file(file("rewind.bpk")).unwrap();
            }
            save((&model, &session), file("session.bpk")).unwrap();
            let mut loaded = third(device);
            let mut resumed =
                load(file("session.bpk")).and_then(|file| file.into_session(&mut loaded, &pruner(recipe))).unwrap();
            for (session, model) in [(&mut session, &mut model), (&mut resumed, &mut loaded)] {
                session.step(model, None).unwrap();
                undo(model).unwrap();
                assert!(same_bits(&base(model), &start), "{dtype:?} {in_file}");
            }
        }
    }
}
