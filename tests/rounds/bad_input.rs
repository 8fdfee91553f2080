//! What rounds refuse, and that nothing is lost by it.

use super::{LATE, LOTTERY, RECIPES, device, evaluate, iterate, pruner, same, train, whole};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use pruning_burn::PruneError;
use pruning_burn::mask::masks;
use pruning_burn::rounds::{History, IterativePruning, Round, RoundsError, redraw_masks, reinitialize};
use pruning_burn::store::{StoreError, load};
use pruning_tests::models::{Cnn, Mlp};
use pruning_tests::values::{base, same_bits};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |file: fs::DirEntry| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|file| read(file.unwrap())).collect()
}

/// A folder in which rounds 0 and 1 of three are finished.
fn half(recipe: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Mlp::new(&device(), 1);
    iterate(&pruner(recipe)).with_folder(folder.path()).with_last_round(1).run(&mut model, train, evaluate).unwrap();
    folder
}

/// Runs on in a folder, where it must fail before any training, and leave model and files alone.
fn refused(recipe: &str, folder: &Path) -> RoundsError {
    let mut model = Mlp::new(&device(), 2);
    let (before, there) = (base(&model), files(folder));
    let never = |_: Mlp, _: &mut Round| -> Result<Mlp, Infallible> { panic!("trains") };
    let error = iterate(&pruner(recipe)).with_folder(folder).run(&mut model, never, evaluate).unwrap_err();
    assert!(same_bits(&base(&model), &before) && masks(&model).is_empty(), "{error}");
    assert_eq!(files(folder), there, "{error}");
    error
}

fn goes_on(recipe: &str, folder: &Path) {
    let mut model = Mlp::new(&device(), 2);
    let history = iterate(&pruner(recipe)).with_folder(folder).run(&mut model, train, evaluate).unwrap();
    same(&(model, history), &whole(recipe), "after it was refused");
}

#[test]
fn a_folder_of_another_recipe_or_model_is_refused() {
    let folder = half(LATE);
    let error = refused(&LATE.replace("0.8", "0.7"), folder.path());
    assert!(matches!(&error, RoundsError::OtherRecipe { keys, .. } if keys == &["sparsity"]), "{error}");
    let error = refused(LOTTERY, folder.path());
    let expected = ["allocator", "initialization", "override", "schedule", "sparsity"];
    assert!(matches!(&error, RoundsError::OtherRecipe { keys, .. } if keys == &expected), "{error}");

    #[derive(Module, Debug)]
    struct Wider {
        fc1: Linear,
        fc2: Linear,
    }
    let (late, there) = (pruner(LATE), files(folder.path()));
    let linear = |i, o| LinearConfig::new(i, o).with_bias(o == 16).init(&device());
    // As many parameters, and as many elements in each.
    let mut turned = Wider { fc1: linear(16, 12), fc2: linear(8, 16) };
    let error = IterativePruning::new(&late)
        .with_folder(folder.path())
        .run(&mut turned, |model, _| Ok::<_, Infallible>(model), |_| 0.0)
        .unwrap_err();
    assert!(matches!(&error, RoundsError::OtherModel { path, .. } if path == "fc1.weight"), "{error}");
    let mut cnn = Cnn::new(&device(), 1);
    let error = IterativePruning::new(&late)
        .with_folder(folder.path())
        .run(&mut cnn, |model, _| Ok::<_, Infallible>(model), |_| 0.0)
        .unwrap_err();
    assert!(matches!(&error, RoundsError::OtherModel { path, .. } if path == "conv1.weight"), "{error}");
    assert!(masks(&turned).is_empty() && masks(&cnn).is_empty());
    assert_eq!(files(folder.path()), there);
    goes_on(LATE, folder.path());
}

#[test]
fn files_that_are_cut_gone_or_of_another_version_are_refused() {
    let folder = half(LATE);
    for name in ["rounds.json", "trained-01.bpk", "rewind.bpk"] {
        let file = folder.path().join(name);
        let whole = fs::read(&file).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
            fs::write(&file, &whole[..cut]).unwrap();
            let error = refused(LATE, folder.path());
            let expected = match &error {
                RoundsError::Store(StoreError::Read { file, .. }) => file.ends_with(name),
                RoundsError::Prune { round: 2, source: PruneError::Snapshot { source } } => {
                    matches!(&**source, StoreError::Read { file, .. } if file.ends_with(name))
                }
                _ => false,
            };
            assert!(expected, "{name} cut at {cut}: {error}");
        }
        fs::remove_file(&file).unwrap();
        let error = refused(LATE, folder.path());
        let named = error.to_string().contains(name);
        assert!(named && matches!(error, RoundsError::Store(_) | RoundsError::Prune { .. }), "{error}");
        fs::write(&file, &whole).unwrap();
    }
    // The model of another round or architecture under the name of this one.
    let (trained, rewind) = (folder.path().join("trained-01.bpk"), folder.path().join("rewind.bpk"));
    let right = fs::read(&trained).unwrap();
    let mut cnn = Cnn::new(&device(), 1);
    pruner("sparsity = 0.5\ncriterion = \"magnitude\"").prune(&mut cnn, None).unwrap();
    pruning_burn::store::save(&cnn, &trained).unwrap();
    assert!(matches!(refused(LATE, folder.path()), RoundsError::Store(StoreError::Prune { .. })));
    fs::write(&trained, &right).unwrap();
    let right = fs::read(&rewind).unwrap();
    let other = pruner("sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = \"rewind\"");
    let _ = other.start(&mut Cnn::new(&device(), 1)).unwrap().with_snapshot_file(&rewind).unwrap();
    let error = refused(LATE, folder.path());
    assert!(matches!(error, RoundsError::Prune { round: 2, source: PruneError::OtherModel { .. } }), "{error}");
    fs::write(&rewind, &right).unwrap();

    // Versions, and texts that are something else.
    let file = folder.path().join("rounds.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, "{ \"format\": 1, \"history\": {} }").unwrap();
    let error = refused(LATE, folder.path());
    assert!(matches!(error, RoundsError::OtherFormat { found: 1, expected: 2, .. }), "{error}");
    assert!(matches!(History::read(folder.path()), Err(RoundsError::OtherFormat { .. })));
    for (from, to) in [("\"number\": 1", "\"number\": 5"), ("version 2", "version 3"), ("pruning.file", "pruning.fail")]
    {
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let error = refused(LATE, folder.path());
        let expected = matches!(error, RoundsError::Store(StoreError::Checksum { .. } | StoreError::NoChecksum { .. }));
        assert!(expected, "{to}: {error}");
    }
    for other in ["{}", "[1, 2]", "{ \"format\": \"one\" }", "{ \"pruning.file\": 1 }"] {
        fs::write(&file, other).unwrap();
        let error = refused(LATE, folder.path());
        assert!(matches!(error, RoundsError::Store(StoreError::NoChecksum { .. })), "{other}: {error}");
        assert!(matches!(History::read(folder.path()), Err(RoundsError::Store(StoreError::NoChecksum { .. }))));
    }
    fs::write(&file, &text).unwrap();
    goes_on(LATE, folder.path());
    assert!(matches!(History::read(folder.path().join("none")), Err(RoundsError::Store(StoreError::Read { .. }))));
}

#[test]
fn what_cannot_work_is_told_before_any_training() {
    let never = |_: Mlp, _: &mut Round| -> Result<Mlp, Infallible> { panic!("trains") };
    let run = |recipe: &str| {
        let mut model = Mlp::new(&device(), 2);
        let folder = tempfile::tempdir().unwrap();
        let error = IterativePruning::new(&pruner(recipe))
            .with_folder(folder.path().join("new"))
            .run(&mut model, never, evaluate)
            .unwrap_err();
        assert!(masks(&model).is_empty() && !folder.path().join("new").exists(), "{error}");
        error
    };
    let error = run(RECIPES[3]);
    assert!(matches!(error, RoundsError::NoFreshWeights), "{error}");
    for (recipe, name) in [(RECIPES[4], "gradient"), (RECIPES[5], "taylor")] {
        let error = run(recipe);
        let RoundsError::Prune { round: 0, source: PruneError::MissingInputs { criterion, .. } } = &error else {
            panic!("{error}")
        };
        assert_eq!(criterion, name);
    }
    let error = run("sparsity = 0.5\ncriterion = \"magnitude\"\ntarget = { include = [\"fc9\"] }");
    assert!(matches!(error, RoundsError::Prune { round: 0, source: PruneError::Unmatched { .. } }), "{error}");

    // A model that carries masks, without a folder to go on from.
    let mut masked = Mlp::new(&device(), 2);
    pruner("sparsity = 0.5\ncriterion = \"magnitude\"").prune(&mut masked, None).unwrap();
    let error = iterate(&pruner(LOTTERY)).run(&mut masked, never, evaluate).unwrap_err();
    assert!(matches!(error, RoundsError::Prune { round: 0, source: PruneError::AlreadyAttached { .. } }), "{error}");

    // A folder that cannot be.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let mut model = Mlp::new(&device(), 2);
    for path in [file.clone(), file.join("folder")] {
        let error = iterate(&pruner(LOTTERY)).with_folder(path).run(&mut model, never, evaluate).unwrap_err();
        assert!(matches!(error, RoundsError::Store(StoreError::Write { .. } | StoreError::Read { .. })), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"text");
    assert!(masks(&model).is_empty());
}

#[test]
fn a_training_that_returns_another_model_or_no_snapshot_is_refused() {
    let folder = half(LATE);
    let there = files(folder.path());
    let late = pruner(LATE);
    let run = |train: &mut dyn FnMut(Mlp, &mut Round) -> Result<Mlp, Infallible>, folder: &Path| {
        let mut model = Mlp::new(&device(), 1);
        iterate(&late).with_folder(folder).run(&mut model, train, evaluate).unwrap_err()
    };
    let error = run(&mut |_, _| Ok(Mlp::new(&device(), 5)), folder.path());
    assert!(matches!(error, RoundsError::Prune { round: 2, source: PruneError::NotAttached { .. } }), "{error}");
    let mut other = Mlp::new(&device(), 5);
    late.start(&mut other).unwrap();
    let error = run(&mut |_, _| Ok(other.clone()), folder.path());
    assert!(matches!(error, RoundsError::Prune { round: 2, source: PruneError::AnotherModel { .. } }), "{error}");
    let mut now = files(folder.path());
    assert!(now.remove("ticket-02.bpk").is_some(), "what it was to train is there");
    assert_eq!(now, there);
    goes_on(LATE, folder.path());

    // A first training that never says where it is, or ends before the step.
    let folder = tempfile::tempdir().unwrap();
    for reached in [None, Some(1)] {
        let error = run(
            &mut |model, round| {
                if let Some(step) = reached {
                    round.reached(step, &model);
                }
                Ok(model)
            },
            folder.path(),
        );
        assert!(matches!(error, RoundsError::NotReached { step: 2 }), "{error}");
        assert!(History::read(folder.path()).unwrap().rounds.is_empty());
    }
    goes_on(LATE, folder.path());
}

#[test]
fn inputs_that_fail_are_told_with_their_round() {
    let folder = tempfile::tempdir().unwrap();
    let taylor = pruner(RECIPES[5]);
    let mut model = Mlp::new(&device(), 1);
    let error = IterativePruning::new(&taylor)
        .with_folder(folder.path())
        .with_inputs(|_: &Mlp, _| Err("no examples"))
        .run(&mut model, train, evaluate)
        .unwrap_err();
    assert_eq!(error.to_string(), "round 1: the inputs of the criterion: no examples");
    assert_eq!(History::read(folder.path()).unwrap().rounds.len(), 1);
    goes_on(RECIPES[5], folder.path());
}

#[test]
fn no_round_but_the_first_is_no_pruning() {
    let (lottery, mut model) = (pruner(LOTTERY), Mlp::new(&device(), 1));
    let history = iterate(&lottery).with_last_round(0).run(&mut model, train, evaluate).unwrap();
    assert_eq!((history.rounds.len(), history.rounds[0].sparsity()), (1, 0.0));
    assert!(masks(&model).iter().all(|(_, mask)| mask.kept() == mask.len()));
    // A schedule of no rounds is no schedule.
    let recipe = LOTTERY.replace("rounds = 3", "rounds = 0");
    let error = pruning_burn::Pruner::from_toml(&recipe, &pruning_plugins::all()).unwrap_err();
    assert!(error.to_string().contains("schedule.rounds: 0: at least 1 round is needed"), "{error}");
}

#[test]
fn controls_of_no_ticket_are_errors() {
    let mut bare = Mlp::new(&device(), 1);
    assert!(matches!(redraw_masks(&mut bare, 1), Err(PruneError::NotAttached { .. })));
    assert!(matches!(reinitialize(&mut bare, &Mlp::new(&device(), 2)), Err(PruneError::NotAttached { .. })));
    let folder = half(LOTTERY);
    let mut ticket = Mlp::new(&device(), 9);
    load(pruning_burn::rounds::ticket_file(folder.path(), 1)).and_then(|file| file.into_model(&mut ticket)).unwrap();
    let (before, fresh) = (base(&ticket), ticket.clone());
    let error = reinitialize(&mut ticket, &fresh).unwrap_err();
    assert!(matches!(error, PruneError::AlreadyAttached { .. }), "{error}");
    assert!(same_bits(&base(&ticket), &before));
    let error = load(pruning_burn::rounds::ticket_file(folder.path(), 7))
        .and_then(|file| file.into_model(&mut ticket))
        .unwrap_err();
    assert!(matches!(error, StoreError::Read { .. }), "{error}");
}
