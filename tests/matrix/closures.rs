//! Closures and plugins that panic: the call fails with the message of the panic, and nothing is changed.

use crate::pruner;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use pruning_burn::analyze::distillation::{Distillation, DistillationError};
use pruning_burn::analyze::sensitivity::{Scan, SensitivityError};
use pruning_burn::analyze::{RecalibrationError, recalibrate_batch_norm};
use pruning_burn::budget::{AllocationError, Allocator, LayerUnits, Sparsity};
use pruning_burn::mask::masks;
use pruning_burn::plugin::{Plugin, Plugins};
use pruning_burn::rounds::{IterativePruning, RoundsError};
use pruning_burn::schedule::Curve;
use pruning_burn::score::{Criterion, CriterionError, CriterionInputs, InputError, LayerView, Need, Needs};
use pruning_burn::{Pruner, register_allocator, register_criterion, register_curve};
use pruning_tests::devices::computes_in_double;
use pruning_tests::models::Mlp;
use pruning_tests::values::{base, same_bits};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

const HALF: &str = "criterion = \"magnitude\"\nsparsity = 0.5";

pub(crate) fn collecting_fails_with_the_message(device: &Device) {
    let device = device.clone().autodiff();
    let model = Mlp::new(&device, 1);
    let before = base(&model);
    let batches = [Mlp::input(3, &device), Mlp::input(2, &device)];
    let second = |m: &Mlp, x: &Tensor<2>| {
        assert!(x.dims()[0] == 3, "no batch of {}", x.dims()[0]);
        m.forward(x.clone().cast(m.fc1.weight.dtype())).mean()
    };
    let expected = || InputError::Panicked { batch: 1, message: "no batch of 2".to_string() };
    let possible = |need: &Need| *need != Need::HESSIAN_GRADIENT || computes_in_double(&device);
    for needs in [Need::GRADIENT, Need::HESSIAN_GRADIENT].into_iter().filter(possible) {
        assert_eq!(CriterionInputs::new().with_gradients(&model, needs, &batches, second).unwrap_err(), expected());
        assert_eq!(
            CriterionInputs::new().with_dense_gradients(&model, needs, &batches, second).unwrap_err(),
            expected()
        );
    }
    let flow = CriterionInputs::new().with_flow(&model, |_: &Mlp| -> Tensor<2> { panic!("no flow") }).unwrap_err();
    assert_eq!(flow, InputError::Panicked { batch: 0, message: "no flow".to_string() });
    assert!(same_bits(&base(&model), &before));
}

pub(crate) fn scans_fail_with_the_message_on_any_number_of_threads(device: &Device) {
    let model = Mlp::new(device, 1);
    let (before, half) = (base(&model), pruner(HALF));
    let dense = |_: &Mlp| -> f64 { panic!("no evaluation") };
    let error = Scan::new(&half).run(&model, dense).unwrap_err();
    assert_eq!(error, SensitivityError::DensePanicked { message: "no evaluation".to_string() });
    for threads in [1, 3] {
        let scan = || Scan::new(&half).with_sparsities([0.25, 0.5, 0.75]).with_threads(threads);
        let pruned = |m: &Mlp| {
            assert!(masks(m).get("fc2.weight").is_none_or(|mask| mask.kept() > 64), "fc2 is needed");
            0.5
        };
        let error = scan().run(&model, pruned).unwrap_err();
        assert_eq!(error.to_string(), "fc2.weight: the evaluation at sparsity 0.5 panicked: fc2 is needed");
        let observed = scan().with_observer(|p| assert!(p.done < 2, "seen enough")).run(&model, |_| 0.5).unwrap_err();
        assert!(
            matches!(&observed, SensitivityError::ObserverPanicked { message, .. } if message == "seen enough"),
            "{observed}"
        );
    }
    assert!(same_bits(&base(&model), &before) && masks(&model).is_empty());
}

pub(crate) fn recalibration_fails_with_the_message(device: &Device) {
    let device = device.clone().autodiff();
    let mut norm = BatchNormConfig::new(3).init(&device);
    let before = base(&norm);
    let batches = [4, 5, 6].map(|rows| Tensor::<2>::ones([rows, 3], &device));
    let forward = |norm: &BatchNorm, x: &Tensor<2>| {
        assert!(x.dims()[0] < 6, "too long");
        norm.forward(x.clone())
    };
    let error = recalibrate_batch_norm(&mut norm, &batches, forward).unwrap_err();
    assert_eq!(error, RecalibrationError::Panicked { batch: 2, message: "too long".to_string() });
    assert!(same_bits(&base(&norm), &before));
}

pub(crate) fn rounds_fail_with_the_message(device: &Device) {
    let recipe =
        format!("{HALF}\ninitialization = \"reinitialize\"\nschedule = {{ kind = \"iterative\", rounds = 2 }}");
    let taylor = recipe.replace("magnitude", "taylor");
    for closure in ["the training", "the evaluation", "the observer", "the fresh weights", "the inputs"] {
        let pruner = pruner(if closure == "the inputs" { &taylor } else { &recipe });
        let mut model = Mlp::new(device, 1);
        let before = base(&model);
        let at = |here: &str, round: usize| assert!(here != closure || round == 0, "{here} in round {round}");
        let mut evaluations = 0;
        let error = IterativePruning::new(&pruner)
            .with_fresh(|round| {
                at("the fresh weights", round);
                Mlp::new(device, 7)
            })
            .with_inputs(|_: &Mlp, _| -> Result<CriterionInputs, Infallible> {
                at("the inputs", 1);
                Ok(CriterionInputs::new())
            })
            .with_observer(|report| at("the observer", report.number))
            .run(
                &mut model,
                |model, round| {
                    at("the training", round.number());
                    Ok::<_, Infallible>(model)
                },
                |_| {
                    at("the evaluation", evaluations);
                    evaluations += 1;
                    0.0
                },
            )
            .unwrap_err();
        assert!(matches!(error, RoundsError::Panicked { round: 1, .. }), "{closure}: {error}");
        assert_eq!(error.to_string(), format!("round 1: {closure} panicked: {closure} in round 1"));
        assert!(same_bits(&base(&model), &before) && masks(&model).is_empty(), "{closure}");
    }
}

macro_rules! plugin {
    ($type:ident, $name:literal) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $type {}

        impl Plugin for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "Broken on purpose.";
        }
    };
}

plugin!(Fickle, "test.fickle");
plugin!(Steep, "test.steep");
plugin!(Unsure, "test.unsure");
plugin!(Broken, "test.broken");
plugin!(Secretive, "test.secretive");
register_allocator!(Fickle);
register_curve!(Steep);
register_curve!(Unsure);
register_curve!(Broken);
register_criterion!(Secretive);

impl Criterion for Secretive {
    fn needs(&self) -> Needs {
        panic!("it does not say")
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight())
    }
}

impl Allocator for Fickle {
    fn allocate(&self, layers: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
        panic!("no share for {}", layers[0].path)
    }
}

impl Curve for Steep {
    fn sparsity(&self, initial: Sparsity, _: Sparsity, progress: f64) -> f64 {
        initial.value() + 1.25 * progress
    }
}

impl Curve for Unsure {
    fn sparsity(&self, _: Sparsity, _: Sparsity, progress: f64) -> f64 {
        if progress > 0.0 { f64::NAN } else { 0.0 }
    }
}

impl Curve for Broken {
    fn sparsity(&self, _: Sparsity, _: Sparsity, progress: f64) -> f64 {
        panic!("no sparsity at {progress}")
    }
}

pub(crate) fn allocators_and_curves_that_break_are_errors_that_name_them(device: &Device) {
    // What a plugin says of itself is asked when it is built.
    let secretive =
        Pruner::from_toml("criterion = \"test.secretive\"\nsparsity = 0.5", &Plugins::linked()).unwrap_err();
    assert!(secretive.to_string().contains("it does not say"), "{secretive}");
    let mut model = Mlp::new(device, 1);
    let before = base(&model);
    let error = pruner(&format!("{HALF}\nallocator = \"test.fickle\"")).prune(&mut model, None).unwrap_err();
    assert_eq!(error.to_string(), "allocator Fickle panicked: no share for fc1.weight");
    assert!(masks(&model).is_empty() && same_bits(&base(&model), &before));
    for (curve, at, said) in [
        ("test.steep", 5, "curve test.steep gave 0.625 at progress 0.5, outside of 0 to 0.5"),
        ("test.unsure", 5, "curve test.unsure gave NaN at progress 0.5, outside of 0 to 0.5"),
        ("test.broken", 0, "curve test.broken panicked: no sparsity at 0"),
    ] {
        let recipe = format!("{HALF}\nschedule = {{ kind = \"gradual\", end = 10, every = 5, curve = \"{curve}\" }}");
        let mut model = Mlp::new(device, 1);
        let mut session = pruner(&recipe).start(&mut model).unwrap();
        let error = loop {
            match session.step(&mut model, None) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!((error.to_string().as_str(), session.steps()), (said, at));
        assert!(masks(&model).sparsity() < 0.5, "{curve}: no full pruning on the way");
    }
}

pub(crate) fn labels_that_are_no_class_are_errors(device: &Device) {
    let logits = Tensor::<2>::zeros([3, 4], device);
    for (labels, index, label) in [([0, 4, 1], 1, 4), ([0, 3, -1], 2, -1), ([i32::MAX, 0, 0], 0, i64::from(i32::MAX))] {
        let labels = Tensor::from_data(labels, device);
        let error = Distillation::default().loss(logits.clone(), logits.clone(), labels).unwrap_err();
        assert_eq!(error, DistillationError::Label { index, label, classes: 4 });
    }
    let labels = Tensor::from_data([0, 3, 1], device);
    assert!(Distillation::default().loss(logits.clone(), logits, labels).is_ok());
}
