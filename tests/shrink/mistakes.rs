//! What is given by mistake is told, and nothing that is given is dropped without a word.

use crate::pruner;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, activation::relu};
use pruning_burn::budget::{Amount, Sparsity};
use pruning_burn::mask::{masks, soft_threshold};
use pruning_burn::recipe::Targets;
use pruning_burn::score::{CriterionInputs, Need};
use pruning_burn::shrink::{self, Shrinker};
use pruning_burn::store::{Compact, StoreError, load, save};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::Mlp;

const CHANNELS: &str = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5\n[schedule]\nkind = \"iterative\"\nrounds = 2";

fn trace(model: &Mlp) -> Trace {
    let x = Tensor::<2>::ones([1, 12], &Device::flex());
    let forward = |model: &Mlp, scope: &mut Scope| {
        let x = scope.input(&x);
        scope.output(model.fc2.forward(relu(model.fc1.forward(x))));
    };
    Trace::record(model, forward).unwrap()
}

#[test]
fn a_session_goes_on_with_the_trace_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.bpk");
    let mut model = Mlp::new(&Device::flex(), 1);
    let (plain, traced) = (pruner(CHANNELS), pruner(CHANNELS).with_trace(&trace(&model)));
    for (began, other) in [(&traced, &plain), (&plain, &traced)] {
        let mut model = model.clone();
        let mut session = began.start(&mut model).unwrap();
        session.step(&mut model, None).unwrap();
        save((&model, &session), &file).unwrap();
        let mut fresh = Mlp::new(&Device::flex(), 2);
        let error = load(&file).and_then(|file| file.into_session(&mut fresh, other)).unwrap_err();
        assert!(matches!(&error, StoreError::OtherRecipe { keys, .. } if keys == &["with_trace"]), "{error}");
        assert!(masks(&fresh).is_empty());
        load(&file).and_then(|file| file.into_session(&mut fresh, began)).unwrap();
    }
    // Single weights are the same with a trace and without one.
    let element = pruner("criterion = \"magnitude\"\nsparsity = 0.5");
    let session = element.start(&mut model).unwrap();
    save((&model, &session), &file).unwrap();
    let element = element.with_trace(&trace(&Mlp::new(&Device::flex(), 2)));
    load(&file).and_then(|file| file.into_session(&mut Mlp::new(&Device::flex(), 2), &element)).unwrap();
}

#[test]
fn plans_take_the_amount_of_a_pruner() {
    let model = Mlp::new(&Device::flex(), 1);
    let trace = trace(&model);
    let kept = |amount| {
        let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
        let plan = Shrinker::new(&pruner(recipe).with_amount(amount)).plan(&model, &trace, None).unwrap();
        plan.groups.iter().map(|group| group.kept).sum::<usize>()
    };
    assert_eq!(kept(Amount::OfTotal(Sparsity::new(0.25).unwrap())), 12);
    assert_eq!(kept(Amount::Count(3)), 13);
}

#[test]
fn a_comparison_of_nothing_is_an_error() {
    let model = Mlp::new(&Device::flex(), 1);
    let x = Tensor::<2>::ones([1, 12], &Device::flex());
    let forgets = |model: &Mlp, scope: &mut Scope| drop(model.fc1.forward(scope.input(&x)));
    let error = shrink::verify(&model, &Mlp::new(&Device::flex(), 2), forgets).unwrap_err().to_string();
    assert!(error.contains("output"), "{error}");
}

#[test]
fn movement_is_that_of_the_model_itself() {
    let device = Device::flex().autodiff();
    let model: Linear = LinearConfig::new(4, 3).init(&device);
    let other: Linear = LinearConfig::new(4, 3).init(&device);
    let gradients = |of: &Linear| {
        let loss = of.forward(Tensor::<2>::ones([2, 4], &device)).square().mean();
        GradientsParams::from_grads(loss.backward(), of)
    };
    let mut inputs = CriterionInputs::new();
    inputs.record_movement(&model, &gradients(&other));
    assert!(!inputs.holds(Need::MOVEMENT));
    inputs.record_movement(&model, &gradients(&model));
    assert!(inputs.holds(Need::MOVEMENT));
}

#[test]
fn a_compact_file_holds_no_thresholds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut model = Mlp::new(&Device::flex(), 1);
    soft_threshold::learn(&mut model, &Targets::default(), -4.0).unwrap();
    let error = save(Compact(&model), &file).unwrap_err().to_string();
    assert!(error.contains("soft_threshold") && !file.exists(), "{error}");
}

#[test]
fn a_snapshot_takes_the_place_of_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.bpk");
    let mut model = Mlp::new(&Device::flex(), 1);
    save(&model, &file).unwrap();
    let recipe = "criterion = \"magnitude\"\nsparsity = 0.5\ninitialization = \"rewind\"\n[schedule]\nkind = \"iterative\"\nrounds = 2";
    let session = pruner(recipe).start(&mut model).unwrap();
    let error = session.clone().with_snapshot_file(&file).unwrap_err().to_string();
    assert!(error.contains("mine.bpk"), "{error}");
    load(&file).unwrap();
    // Its own snapshot is one that may be written again.
    let other = folder.path().join("start.bpk");
    session.clone().with_snapshot_file(&other).unwrap();
    session.with_snapshot_file(&other).unwrap();
}
