//! A process that is killed in the middle of a schedule, and one that goes on.

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use pruning_burn::{Pruner, Session, masks};
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
    let session = Pruner::from_toml(RECIPE, &pruning_plugins::all()).unwrap().attach(&mut model).unwrap();
    (model, session, AdamConfig::new().init())
}

/// Trains up to the last step, with a checkpoint after each in `folder`: the optimizer first, since a model alone says that its
/// step is complete.
fn train(mut model: Mlp, mut session: Session, mut optimizer: ModuleOptimizer, folder: Option<&Path>) -> Mlp {
    while session.steps() < STEPS {
        if session.step(&mut model).unwrap().is_some() {
            optimizer = session.mask_optimizer(&model, &optimizer).unwrap();
        }
        let loss = (model.forward(Mlp::input(6, &Device::flex().autodiff())) - 1.0).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
        if let Some(folder) = folder {
            let step = session.steps();
            optimizer.save(folder.join(format!("optimizer-{step}.bpk"))).unwrap();
            session.save(&model, folder.join(format!("model-{step}.bpk"))).unwrap();
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
        let session = pruner.load(&mut model, folder.path().join(format!("model-{done}.bpk"))).unwrap();
        let optimizer = AdamConfig::new().init().load(folder.path().join(format!("optimizer-{done}.bpk"))).unwrap();
        let resumed = train(model, session, optimizer, None);
        assert_eq!(masks(&resumed), masks(&whole), "killed at {done}");
        assert!(same_bits(&base(&resumed), &base(&whole)), "killed at {done}");
    }
}
