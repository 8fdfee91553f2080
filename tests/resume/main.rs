//! A process that is killed in the middle of a schedule, and one that goes on; files that no session goes on from.

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use burn_pack::{Reader, Writer};
use pruning_burn::mask::masks;
use pruning_burn::store::{StoreError, load, save};
use pruning_burn::{PruneError, Pruner, Session};
use pruning_tests::models::Mlp;
use pruning_tests::values::{base, same_bits};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FOLDER: &str = "PRUNING_TEST_FOLDER";
const STEPS: usize = 40;
const RECIPE: &str = "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"erk\"\n\
                      initialization = { rewind = { step = 1 } }\n\
                      schedule = { kind = \"iterative\", begin = 2, every = 2, rounds = 3 }\n\
                      grow = { criterion = \"random\", every = 3, end = 39 }";

fn start() -> (Mlp, Session, ModuleOptimizer) {
    let mut model = Mlp::new(&Device::flex().autodiff(), 1);
    let session = Pruner::from_toml(RECIPE, &pruning_plugins::all()).unwrap().start(&mut model).unwrap();
    (model, session, AdamConfig::new().init())
}

/// Trains up to the last step, with a checkpoint after each in `folder`: the optimizer first, since a model alone says that its
/// step is complete.
fn train(mut model: Mlp, mut session: Session, mut optimizer: ModuleOptimizer, folder: Option<&Path>) -> Mlp {
    while session.steps() < STEPS {
        if session.step(&mut model, None).unwrap().is_some() {
            optimizer = session.mask_optimizer(&model, &optimizer).unwrap();
        }
        let loss = (model.forward(Mlp::input(6, &Device::flex().autodiff())) - 1.0).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
        if let Some(folder) = folder {
            let step = session.steps();
            optimizer.save(folder.join(format!("optimizer-{step}.bpk"))).unwrap();
            save((&model, &session), folder.join(format!("model-{step}.bpk"))).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    model
}

/// Not a test by itself: what the killed process runs.
#[test]
fn trains_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (model, session, optimizer) = start();
    train(model, session, optimizer, Some(Path::new(&folder)));
}

#[test]
fn a_killed_process_goes_on_bit_for_bit() {
    let (model, session, optimizer) = start();
    let whole = train(model, session, optimizer, None);
    for last in [1, 4, 11] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "trains_until_it_is_killed"])
            .env(FOLDER, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !folder.path().join(format!("model-{last}.bpk")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "the process ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL: nothing is left to run in it.
        child.kill().unwrap();
        child.wait().unwrap();
        let done = (1..=STEPS).rev().find(|n| folder.path().join(format!("model-{n}.bpk")).exists()).unwrap();
        assert!(done >= last && done < STEPS, "killed at {done}");
        let mut model = Mlp::new(&Device::flex().autodiff(), 99);
        let pruner = Pruner::from_toml(RECIPE, &pruning_plugins::all()).unwrap();
        let session = load(folder.path().join(format!("model-{done}.bpk")))
            .and_then(|file| file.into_session(&mut model, &pruner))
            .unwrap();
        let optimizer = AdamConfig::new().init().load(folder.path().join(format!("optimizer-{done}.bpk"))).unwrap();
        let resumed = train(model, session, optimizer, None);
        assert_eq!(masks(&resumed), masks(&whole), "killed at {done}");
        assert!(same_bits(&base(&resumed), &base(&whole)), "killed at {done}");
    }
}

/// Writes the session in a file anew: with another text, and with the tensors whose names are wanted.
fn rewrite(file: &Path, text: impl Fn(&str) -> String, wanted: impl Fn(&str) -> bool) {
    let reader = Reader::from_file_exact(file).unwrap();
    let text = text(&reader.metadata()["pruning.session"]);
    let tensors = reader.into_tensors().unwrap().into_iter().filter(|tensor| wanted(&tensor.name)).collect();
    let seal = "model, version 1, CRC-32 00000000";
    let writer = Writer::new(tensors).with_metadata("pruning.session", &text).with_metadata("pruning.file", seal);
    let mut bytes = writer.into_bytes().unwrap().to_vec();
    let digits = crc32fast::hash(&bytes);
    let at = bytes.windows(seal.len()).position(|window| window == seal.as_bytes()).unwrap() + seal.len() - 8;
    bytes[at..at + 8].copy_from_slice(format!("{digits:08x}").as_bytes());
    std::fs::write(file, bytes).unwrap();
}

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap()
}

const REWIND: &str = "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 1 } }\n\
                      schedule = { kind = \"one_shot\", at = 3 }";

/// A session of three steps, the next of which prunes.
fn saved(recipe: &str, file: &Path) {
    let mut model = Mlp::new(&Device::flex(), 1);
    let mut session = pruner(recipe).start(&mut model).unwrap();
    (0..3).for_each(|_| assert!(session.step(&mut model, None).unwrap().is_none()));
    save((&model, &session), file).unwrap();
}

#[test]
fn a_session_whose_snapshot_is_gone_says_so_when_it_rewinds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bpk");
    saved(REWIND, &file);
    rewrite(&file, |text| text.replace("\"snapshot\":true", "\"snapshot\":false"), |name| !name.contains("snapshot/"));
    let mut model = Mlp::new(&Device::flex(), 9);
    let mut session = load(&file).and_then(|file| file.into_session(&mut model, &pruner(REWIND))).unwrap();
    let (before, mask) = (base(&model), masks(&model));
    for _ in 0..2 {
        let error = session.step(&mut model, None).unwrap_err();
        assert_eq!(error, PruneError::NoSnapshot { step: 1 });
        assert!(same_bits(&base(&model), &before) && masks(&model) == mask && session.steps() == 3);
    }
}

#[test]
fn sessions_that_another_version_wrote_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bpk");
    for (from, to) in [
        ("\"step\":3", "\"step\":3,\"rounds\":2"),
        ("\"step\":3", "\"steps\":3"),
        ("\"step\":3", "\"step\":\"3\""),
        ("\"step\":3", "\"step\":-3"),
        ("{", "["),
        ("\"targets\":[", "\"targets\":[\"fc9.weight\","),
    ] {
        saved(REWIND, &file);
        rewrite(&file, |text| text.replacen(from, to, 1), |_| true);
        let mut model = Mlp::new(&Device::flex(), 9);
        let before = base(&model);
        let error = load(&file).and_then(|file| file.into_session(&mut model, &pruner(REWIND))).unwrap_err();
        assert!(matches!(error, StoreError::Read { .. } | StoreError::Prune { .. }), "{to}: {error}");
        assert!(same_bits(&base(&model), &before) && masks(&model).is_empty(), "{to}");
    }
    // A snapshot that lacks a parameter.
    saved(REWIND, &file);
    rewrite(&file, str::to_string, |name| name != "pruning.snapshot/fc1.bias");
    let error =
        load(&file).and_then(|file| file.into_session(&mut Mlp::new(&Device::flex(), 9), &pruner(REWIND))).unwrap_err();
    assert!(matches!(&error, StoreError::Snapshot { path, .. } if path == "fc1.bias"), "{error}");
}

#[test]
fn a_recipe_whose_numbers_lose_their_last_bit_in_a_file_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bpk");
    for rounds in 1..30 {
        let sparsity = 1.0 - 0.8f64.powi(rounds);
        let recipe = REWIND.replace("0.5", &sparsity.to_string());
        saved(&recipe, &file);
        let loaded =
            load(&file).and_then(|file| file.into_session(&mut Mlp::new(&Device::flex(), 9), &pruner(&recipe)));
        assert!(loaded.is_ok(), "{sparsity}: {loaded:?}");
    }
}
