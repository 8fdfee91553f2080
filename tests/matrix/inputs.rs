//! Criteria that look at gradients: against closed forms and finite differences, and the model as it was.

use crate::pruner;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::budget::Allocator;
use pruning_burn::mask::masks;
use pruning_burn::plugin::Plugin;
use pruning_burn::report::LayerReport;
use pruning_burn::score::{Criterion, CriterionError, CriterionInputs, InputError, LayerView, Need};
use pruning_burn::{PruneError, register_criterion};
use pruning_tests::devices::precise;
use pruning_tests::models::{Cnn, Mlp, Tied, numbers};
use pruning_tests::values::{base, calibrated, same_bits, weights};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// In the type of the weights, which is double precision for the Hessian product.
fn loss(model: &Mlp, batch: &Tensor<2>) -> Tensor<1> {
    (model.forward(batch.clone().cast(model.fc1.weight.dtype())) - 0.5).powi_scalar(2).sum()
}

/// Gradients on the device of the model, and the Hessian product where there is double precision.
fn gradients(model: &Mlp, device: &Device, loss: impl Fn(&Mlp, &Tensor<2>) -> Tensor<1>) -> CriterionInputs {
    let (first, exact) = (Need::GRADIENT | Need::SQUARED_GRADIENT | Need::COLUMN_EFFECT, precise(device));
    let inputs = CriterionInputs::new().with_gradients(model, first, &batches(device), &loss).unwrap();
    let copy = model.clone().to_device(&exact);
    inputs.with_gradients(&copy, Need::HESSIAN_GRADIENT, &batches(&exact), &loss).unwrap()
}

fn batches(device: &Device) -> Vec<Tensor<2>> {
    let batch = |seed| Tensor::from_data(TensorData::new(numbers(36, seed), [3, 12]), device);
    vec![batch(5), batch(6)]
}

/// The Mlp's loss, its gradient by `fc2.weight`, in double precision and by hand.
fn by_hand(model: &Mlp, batch: &Tensor<2>) -> Vec<f64> {
    let values: BTreeMap<_, Vec<f64>> =
        base(model).iter().map(|(p, d)| (p.clone(), d.iter::<f64>().collect())).collect();
    let (w1, b1, w2) = (&values["fc1.weight"], &values["fc1.bias"], &values["fc2.weight"]);
    let x: Vec<f64> = batch.clone().into_data().iter::<f64>().collect();
    let mut gradient = vec![0.0; w2.len()];
    for row in 0..3 {
        let hidden: Vec<f64> = (0..16)
            .map(|j| (b1[j] + (0..12).map(|i| x[row * 12 + i] * w1[i * 16 + j]).sum::<f64>()).max(0.0))
            .collect();
        for k in 0..8 {
            let y: f64 = (0..16).map(|j| hidden[j] * w2[j * 8 + k]).sum();
            (0..16).for_each(|j| gradient[j * 8 + k] += 2.0 * (y - 0.5) * hidden[j]);
        }
    }
    gradient
}

/// What a criterion keeps of `fc2.weight`, by scores worked out by hand.
fn check(model: &Mlp, criterion: &str, inputs: &CriterionInputs, scores: &[f64]) {
    let mut model = model.clone();
    let recipe = format!("criterion = {criterion}\nsparsity = 0.5\n[target]\ninclude = [\"fc2\"]");
    pruner(&recipe).prune(&mut model, inputs).unwrap();
    let mask = masks(&model);
    let mask = mask.get("fc2.weight").unwrap();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let largest = scores.iter().fold(0.0f64, |m, s| m.max(s.abs()));
    let (last, next) = (scores[order[63]], scores[order[64]]);
    for (rank, &i) in order.iter().enumerate() {
        // Near the threshold single precision may rank otherwise.
        let near = (scores[i] - last).abs().min((scores[i] - next).abs()) < 1e-3 * largest;
        assert!(near || mask.bits().get(i) == (rank < 64), "{criterion}: weight {i}, rank {rank}");
    }
}

pub(crate) fn scores_are_those_of_the_papers(device: &Device) {
    let device = device.clone().autodiff();
    let (model, batches) = (Mlp::new(&device, 3), batches(&device));
    let w: Vec<f64> = weights(&model, "fc2.weight").into_iter().map(f64::from).collect();
    let (g1, g2) = (by_hand(&model, &batches[0]), by_hand(&model, &batches[1]));
    let g: Vec<f64> = g1.iter().zip(&g2).map(|(a, b)| (a + b) / 2.0).collect();
    let inputs = gradients(&model, &device, loss);
    let map = |f: &dyn Fn(usize) -> f64| (0..w.len()).map(f).collect::<Vec<_>>();
    check(&model, "\"taylor\"", &inputs, &map(&|i| (w[i] * g[i]).abs()));
    check(&model, "{ name = \"taylor\", squared = true }", &inputs, &map(&|i| (w[i] * g[i]).powi(2)));
    check(&model, "\"snip\"", &inputs, &map(&|i| (w[i] * g[i]).abs()));
    check(&model, "\"gradient\"", &inputs, &map(&|i| g[i].abs()));
    check(&model, "\"fisher\"", &inputs, &map(&|i| w[i] * w[i] * (g1[i].powi(2) + g2[i].powi(2)) / 4.0));
    // With fc1 held the loss is quadratic in fc2, and H g is known exactly.
    let hidden: Vec<Vec<f64>> = batches.iter().flat_map(|b| hidden(&model, b)).collect();
    let hg = map(&|i| {
        let (j, k) = (i / 8, i % 8);
        let row = |h: &Vec<f64>| h[j] * (0..16).map(|l| h[l] * g[l * 8 + k]).sum::<f64>();
        hidden.iter().map(|h| 2.0 * row(h)).sum::<f64>() / 2.0
    });
    let inputs = gradients(&model, &device, fc2_loss);
    check(&model, "\"grasp\"", &inputs, &map(&|i| w[i] * hg[i]));
}

/// A loss in which only `fc2` has a part.
fn fc2_loss(model: &Mlp, batch: &Tensor<2>) -> Tensor<1> {
    let x = batch.clone().cast(model.fc1.weight.dtype());
    let x = burn::tensor::activation::relu(model.fc1.forward(x)).detach();
    (model.fc2.forward(x) - 0.5).powi_scalar(2).sum()
}

fn hidden(model: &Mlp, batch: &Tensor<2>) -> Vec<Vec<f64>> {
    let x = burn::tensor::activation::relu(model.fc1.forward(batch.clone())).into_data();
    let x: Vec<f64> = x.iter::<f64>().collect();
    x.chunks(16).map(<[f64]>::to_vec).collect()
}

pub(crate) fn synflow_conserves_flow(device: &Device) {
    let device = device.clone().autodiff();
    let model = Mlp::new(&device, 3);
    let ones = Tensor::<2>::ones([1, 12], &device);
    let inputs = CriterionInputs::new().with_flow(&model, |m: &Mlp| m.forward(ones.clone())).unwrap();
    // Of a network of two positive layers: |w2_jk| * hidden_j, with hidden_j = |b_j| + sum_i |w1_ij|.
    let abs = |path: &str| weights(&model, path).into_iter().map(|v| f64::from(v.abs())).collect::<Vec<_>>();
    let (w1, b1, w2) = (abs("fc1.weight"), abs("fc1.bias"), abs("fc2.weight"));
    let hidden = |j: usize| b1[j] + (0..12).map(|i| w1[i * 16 + j]).sum::<f64>();
    check(&model, "\"synflow\"", &inputs, &(0..128).map(|i| w2[i] * hidden(i / 8)).collect::<Vec<_>>());
}

pub(crate) fn the_flow_takes_no_statistics_of_its_batch(device: &Device) {
    let device = device.clone().autodiff();
    let model = Cnn::new(&device, 2);
    let mut validated = model.clone();
    validated.norm.training = validated.norm.training.with_value(false);
    let synflow = pruner("criterion = \"synflow\"\nallocator = \"global\"\nsparsity = 0.5");
    let [training, validation] = [model, validated].map(|mut model| {
        let ones = |m: &Cnn| m.forward(Tensor::ones([1, 3, 8, 8], &device));
        let inputs = CriterionInputs::new().with_flow(&model, ones).unwrap();
        synflow.prune(&mut model, &inputs).unwrap();
        masks(&model)
    });
    assert_eq!(training, validation);
}

pub(crate) fn movement_sums_over_steps(device: &Device) {
    let device = device.clone().autodiff();
    let (mut model, batches) = (Mlp::new(&device, 3), batches(&device));
    let mut optimizer = AdamConfig::new().init();
    let (mut inputs, mut expected) = (CriterionInputs::new(), vec![0.0; 128]);
    for batch in &batches {
        let gradients = GradientsParams::from_grads(loss(&model, batch).backward(), &model);
        inputs.record_movement(&model, &gradients);
        let (w, g) = (weights(&model, "fc2.weight"), by_hand(&model, batch));
        (0..128).for_each(|i| expected[i] -= f64::from(w[i]) * g[i]);
        model = optimizer.step(0.01, model, gradients);
    }
    check(&model, "\"movement\"", &inputs, &expected);
}

pub(crate) fn collecting_changes_nothing(device: &Device) {
    let device = device.clone().autodiff();
    let model = Cnn::new(&device, 2);
    let images = Tensor::<4>::from_data(TensorData::new(numbers(2 * 3 * 64, 4), [2, 3, 8, 8]), &device);
    // Statistics of a step that wait to be merged are merged by the next read: by `valid` here, as in any training loop.
    let _ = model.forward(images.clone());
    let _ = model.valid();
    let ids = |m: &Cnn| (m.conv1.weight.id, m.norm.running_mean.value().into_data());
    let (before, state) = (base(&model), ids(&model));
    let first = Need::GRADIENT | Need::SQUARED_GRADIENT;
    let loss = |m: &Cnn, x: &Tensor<4>| m.forward(x.clone().cast(m.conv1.weight.dtype())).powi_scalar(2).mean();
    let inputs = CriterionInputs::new().with_gradients(&model, &first, std::slice::from_ref(&images), loss).unwrap();
    let exact = precise(&device);
    // On the model itself where that can be, since a move would give a copy other statistics.
    let precise = if exact == device { model.clone() } else { model.valid().to_device(&exact).train() };
    let moved = [images.clone().to_device(&exact)];
    let inputs = inputs.with_gradients(&precise, Need::HESSIAN_GRADIENT, &moved, loss).unwrap();
    let all = first | Need::HESSIAN_GRADIENT;
    let inputs = inputs.with_flow(&model, |m: &Cnn| m.forward(Tensor::ones([1, 3, 8, 8], &device))).unwrap();
    assert!(inputs.holds(all | Need::FLOW) && !inputs.holds(Need::MOVEMENT));
    assert!(same_bits(&base(&model), &before), "parameters and statistics");
    let after = ids(&model);
    assert!(after.0 == state.0 && after.1.as_bytes() == state.1.as_bytes());
    assert!(model.conv1.weight.base().is_require_grad() && !model.norm.running_mean.value().is_require_grad());
    // It can be used: the model prunes by it, at every granularity.
    for granularity in [
        "\"element\"",
        "\"channel\"",
        "{ kind = \"channel\", axis = \"input\" }",
        "{ kind = \"block\", rows = 2, cols = 2 }",
    ] {
        for criterion in ["taylor", "snip", "grasp", "synflow", "fisher", "gradient"] {
            let recipe = format!(
                "criterion = \"{criterion}\"\nallocator = \"global\"\ngranularity = {granularity}\nsparsity = 0.5"
            );
            let mut model = model.clone();
            let report = pruner(&recipe).prune(&mut model, &inputs).unwrap();
            assert!(report.sparsity() > 0.2 && report.sparsity() < 0.8, "{recipe}: {}", report.sparsity());
        }
    }
}

pub(crate) fn inputs_that_are_missing_or_cannot_be_are_errors(device: &Device) {
    let trained = device.clone().autodiff();
    let mut model = Mlp::new(&trained, 3);
    let taylor = pruner("criterion = \"taylor\"\nsparsity = 0.5");
    assert_eq!(taylor.needs(), Need::GRADIENT);
    let wrong = CriterionInputs::new().with_initial_weights(&model);
    for error in [taylor.prune(&mut model, None).unwrap_err(), taylor.prune(&mut model, &wrong).unwrap_err()] {
        assert!(matches!(&error, PruneError::MissingInputs { criterion, .. } if criterion == "taylor"), "{error}");
        assert!(error.to_string().contains("needs: gradient"), "{error}");
    }
    // A session asks for them when a pruning is due, and not before.
    let mut session = pruner("criterion = \"taylor\"\nsparsity = 0.5\nschedule = { kind = \"one_shot\", at = 1 }")
        .start(&mut model)
        .unwrap();
    assert!(session.step(&mut model, None).unwrap().is_none() && session.due().is_some());
    assert!(session.step(&mut model, None).is_err());
    let inputs = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches(&trained), loss).unwrap();
    assert_eq!(session.step(&mut model, &inputs).unwrap().unwrap().kept(), 160);

    let none: [Tensor<2>; 0] = [];
    let error = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &none, loss).unwrap_err();
    assert_eq!(error, InputError::NoBatch);
    let plain = Mlp::new(device, 3);
    let error = CriterionInputs::new().with_gradients(&plain, Need::GRADIENT, &batches(device), loss).unwrap_err();
    assert_eq!(error, InputError::NoAutodiff { path: "fc1.weight".to_string() });
    let each = |m: &Mlp, b: &Tensor<2>| m.forward(b.clone()).mean_dim(1).flatten(0, 1);
    let error = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches(&trained), each).unwrap_err();
    assert_eq!(error, InputError::NotScalar { batch: 0, found: 3 });
    let endless = |m: &Mlp, b: &Tensor<2>| m.forward(b.clone()).sum() / 0.0;
    let error = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches(&trained), endless).unwrap_err();
    assert_eq!(error, InputError::NotFinite { batch: 0 });
    // Of another model.
    let mut cnn = Cnn::new(&trained, 1);
    let before = base(&cnn);
    let error = taylor.prune(&mut cnn, &inputs).unwrap_err().to_string();
    assert!(
        error.starts_with("conv1.weight: criterion taylor: the input gradient has nothing for this parameter"),
        "{error}"
    );
    assert!(same_bits(&base(&cnn), &before) && masks(&cnn).is_empty());
    // A parameter that the loss does not depend on is one of this model: its gradient is zero.
    let first = |m: &Mlp, b: &Tensor<2>| m.fc1.forward(b.clone()).sum();
    let inputs = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &batches(&trained), first).unwrap();
    assert!(taylor.prune(&mut model, &inputs).is_ok());
}

pub(crate) fn a_tied_parameter_has_one_gradient(device: &Device) {
    let device = device.clone().autodiff();
    let model = Tied::new(&device, 3);
    let x = Tensor::<2>::from_data(TensorData::new(numbers(16, 9), [2, 8]), &device);
    let loss =
        |m: &Tied, x: &Tensor<2>| m.head.forward(m.second.forward(m.first.forward(x.clone()))).powi_scalar(2).sum();
    let inputs = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, std::slice::from_ref(&x), loss).unwrap();
    // By autodiff on the model itself, where both layers are one leaf.
    let gradients = GradientsParams::from_grads(loss(&model, &x).backward(), &model);
    let gradient: Vec<f32> = gradients.get::<2>(model.first.weight.id).unwrap().into_data().iter::<f32>().collect();
    let mut pruned = model.clone();
    let recipe = "criterion = \"gradient\"\nsparsity = 0.5\n[target]\ninclude = [\"first\"]";
    pruner(recipe).prune(&mut pruned, &inputs).unwrap();
    let mask = masks(&pruned);
    let mask = mask.get("first.weight").unwrap();
    let mut order: Vec<usize> = (0..64).collect();
    order.sort_by(|&a, &b| gradient[b].abs().total_cmp(&gradient[a].abs()));
    assert!(order[..30].iter().all(|&i| mask.bits().get(i)) && order[34..].iter().all(|&i| !mask.bits().get(i)));
}

pub(crate) fn every_combination_removes_what_is_asked(device: &Device) {
    let device = device.clone().autodiff();
    let (model, batches) = (Mlp::new(&device, 3), batches(&device));
    let mut inputs = gradients(&model, &device, loss)
        .with_flow(&model, |m: &Mlp| m.forward(Tensor::ones([1, 12], &device)))
        .unwrap()
        .with_initial_weights(&model);
    inputs.record_movement(&model, &GradientsParams::from_grads(loss(&model, &batches[0]).backward(), &model));
    let inputs = calibrated(inputs, &model, &device);
    let granularities = [
        "\"element\"",
        "\"2:4\"",
        "{ kind = \"block\", rows = 2, cols = 3 }",
        "\"channel\"",
        "{ kind = \"channel\", axis = \"input\" }",
        "{ kind = \"head\", size = 4 }",
        "{ kind = \"head\", size = 4, axis = \"input\" }",
    ];
    let plugins = pruning_plugins::all();
    let mut combinations = 0;
    // One has norms as targets, and this model has none; a name with a dot is a test's own.
    let suited = |name: &str| name != "bn_scale" && !name.contains('.');
    for criterion in plugins.of_kind::<dyn Criterion>().filter(|c| suited(c.name())) {
        for granularity in granularities {
            for allocator in plugins.of_kind::<dyn Allocator>().filter(|a| !a.name().contains('.')) {
                let pattern = granularity.contains(':');
                let budget = match pattern {
                    true => String::new(),
                    false => format!("allocator = \"{}\"\nsparsity = 0.6\n", allocator.name()),
                };
                let recipe = format!("criterion = \"{}\"\ngranularity = {granularity}\n{budget}", criterion.name());
                let mut model = model.clone();
                let report = pruner(&recipe).prune(&mut model, &inputs).unwrap_or_else(|e| panic!("{e}\n{recipe}"));
                let removed = |units: usize| (0.6 * units as f64).round_ties_even() as usize;
                let units: usize = report.layers.iter().map(|l| l.units).sum();
                let kept: usize = report.layers.iter().map(|l| l.kept_units).sum();
                let expected = match allocator.name() {
                    _ if pattern => units / 2,
                    "budget" => {
                        // Of weights, and units are whole.
                        let each = |l: &LayerReport| l.weights.div_ceil(l.units);
                        let of =
                            |n: fn(&LayerReport) -> usize| report.layers.iter().map(|l| n(l) * each(l)).sum::<usize>();
                        let largest = report.layers.iter().map(each).max().unwrap();
                        let asked = of(|l| l.units) - removed(of(|l| l.units));
                        let left = of(|l| l.kept_units);
                        assert!(left <= asked && left + largest > asked, "{recipe}");
                        kept
                    }
                    "uniform" => report.layers.iter().map(|l| l.units - removed(l.units)).sum(),
                    _ => units - removed(units),
                };
                assert_eq!(kept, expected, "{recipe}");
                assert_eq!(masks(&model).iter().map(|(_, m)| m.kept()).sum::<usize>(), report.kept(), "{recipe}");
                combinations += 1;
                if pattern {
                    break;
                }
            }
        }
    }
    assert!(combinations >= 17 * (1 + 6 * 10), "{combinations}");
}

macro_rules! broken {
    ($type:ident, $name:literal, $layer:ident => $scores:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $type {}

        impl Plugin for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "Broken on purpose.";
        }

        impl Criterion for $type {
            fn score(&self, $layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
                $scores
            }
        }

        register_criterion!($type);
    };
}

broken!(Panicking, "test.panicking", layer => panic!("no idea what {} is", layer.kind()));
broken!(Shapeless, "test.shapeless", layer => Ok(layer.weight().sum().reshape([1, 1])));
broken!(Undefined, "test.undefined", layer => Ok(layer.weight() / 0.0 * 0.0));

pub(crate) fn broken_criteria_are_errors_that_name_them(device: &Device) {
    for (name, part) in [
        ("test.panicking", "fc1.weight: criterion test.panicking: the criterion panicked: no idea what Linear is"),
        ("test.shapeless", "returned scores of shape [1, 1] for a matrix of [16, 12]"),
        ("test.undefined", "fc1.weight: criterion test.undefined: score NaN at index 0 is not finite"),
    ] {
        let mut model = Mlp::new(device, 3);
        let before = base(&model);
        let recipe = format!("criterion = \"{name}\"\nsparsity = 0.5");
        let error = pruner(&recipe).prune(&mut model, None).unwrap_err().to_string();
        assert!(error.contains(part), "{part} in {error}");
        assert!(same_bits(&base(&model), &before) && masks(&model).is_empty(), "{name}");
    }
}
