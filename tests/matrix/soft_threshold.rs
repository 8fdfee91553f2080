use crate::pruner;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::{Linear, LinearConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::PruneError;
use pruning_burn::mask::{finish, masks, soft_threshold};
use pruning_burn::recipe::Targets;
use pruning_tests::models::{Cnn, Mlp, Tied};
use pruning_tests::values::{base, effective, same_bits, weights};

/// Ids and values of all float parameters, those of thresholds too.
#[derive(Default)]
struct Params(Vec<(ParamId, Vec<f32>)>);

impl ModuleVisitor for Params {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push((param.id, param.base().into_data().iter::<f32>().collect()));
    }
}

fn close(a: &[f32], b: &[f64]) {
    let far = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(a.len() == b.len() && far < 1e-6, "{a:?} for {b:?}");
}

pub(crate) fn soft_thresholds_are_those_of_the_paper(device: &Device) {
    let device = device.clone().autodiff();
    let mut layer: Linear = LinearConfig::new(4, 1).with_bias(false).init(&device);
    let w = Tensor::<2>::from_data(TensorData::from([[0.5f32], [-0.3], [0.1], [-0.02]]), &device);
    layer.weight = Param::from_tensor(w);
    soft_threshold::learn(&mut layer, &Targets::default(), -2.0).unwrap();
    // g(-2) = 1 / (1 + e^2) = 0.1192029220, g (1 - g) = 0.1049935854.
    close(&weights(&layer, "weight"), &[0.380_797_078, -0.180_797_078, 0.0, 0.0]);
    let mut params = Params::default();
    layer.visit(&mut params);
    let [(w, _), (s, value)] = &params.0[..] else { panic!("{:?}", params.0) };
    close(value, &[-2.0]);
    // The loss is 1 w1 + 2 w2 + 3 w3 + 4 w4 of the results.
    let x = Tensor::<2>::from_data(TensorData::from([[1.0f32, 2.0, 3.0, 4.0]]), &device);
    let gradients = GradientsParams::from_grads(layer.forward(x).sum().backward(), &layer);
    let of_weight: Vec<f32> = gradients.get::<2>(*w).unwrap().into_data().iter().collect();
    close(&of_weight, &[1.0, 2.0, 0.0, 0.0]);
    let of_s: Vec<f32> = gradients.get::<1>(*s).unwrap().into_data().iter().collect();
    // -g' (1 sign(0.5) + 2 sign(-0.3))
    close(&of_s, &[0.104_993_585]);
    // One step of SGD on both.
    let layer = SgdConfig::new().init().step(0.1, layer, gradients);
    let mut params = Params::default();
    layer.visit(&mut params);
    close(&params.0[0].1, &[0.4, -0.5, 0.1, -0.02]);
    close(&params.0[1].1, &[-2.010_499_358]);
}

pub(crate) fn learned_masks_settle_into_masks_like_any_other(device: &Device) {
    let device = device.clone().autodiff();
    let x = Mlp::input(6, &device);
    let mut model = Mlp::new(&device, 1);
    soft_threshold::learn(&mut model, &Targets::default(), -4.0).unwrap();
    let start = soft_threshold::report(&model).unwrap().sparsity();
    let decay = WeightDecayConfig::new(0.05);
    let mut optimizer = SgdConfig::new().with_weight_decay(Some(decay)).init();
    for _ in 0..20 {
        let loss = model.forward(x.clone()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.3, model, gradients);
    }
    let report = soft_threshold::report(&model).unwrap();
    assert!(report.sparsity() > start && report.sparsity() < 1.0, "{start}, then {}", report.sparsity());
    assert!(report.layers[0].sparsity() != report.layers[1].sparsity(), "each layer has found its own: {report}");

    // Saved and loaded as Burn does it, where thresholds were put before.
    let mut loaded = Mlp::new(&device, 2);
    soft_threshold::learn(&mut loaded, &Targets::default(), 0.0).unwrap();
    let loaded = loaded.try_load_record(model.clone().into_record()).unwrap();
    assert!(same_bits(&effective(&loaded), &effective(&model)));

    let (parameters, output) = (base(&model).len(), model.forward(x.clone()).into_data());
    assert_eq!(soft_threshold::settle(&mut model).unwrap(), report);
    let after = model.forward(x.clone()).into_data();
    let far = after.iter::<f32>().zip(output.iter::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-5, "the same function: {far}");
    assert_eq!(base(&model).len(), parameters - 2, "thresholds are gone");
    assert!((masks(&model).sparsity() - report.sparsity()).abs() < 1e-12);
    let zeros = weights(&model, "fc1.weight").iter().filter(|w| **w == 0.0).count();
    assert_eq!(zeros, report.layers[0].weights - report.layers[0].kept);
    // Trained on, the zeros stay.
    let gradients = GradientsParams::from_grads(model.forward(x).square().mean().backward(), &model);
    let mut model = SgdConfig::new().init().step(0.1, model, gradients);
    assert_eq!(finish(&mut model).unwrap().kept(), report.kept());
}

pub(crate) fn a_tied_parameter_has_one_threshold(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Tied::new(&device, 1);
    soft_threshold::learn(&mut model, &Targets::default(), -1.0).unwrap();
    let mut params = Params::default();
    model.visit(&mut params);
    let mut ids: Vec<_> = params.0.iter().map(|(id, _)| *id).collect();
    ids.sort();
    ids.dedup();
    // Two weights, a bias, two thresholds.
    assert_eq!(ids.len(), 5);
    let report = soft_threshold::settle(&mut model).unwrap();
    assert_eq!(report.layers[0].aliases, ["second.weight"]);
    assert!(report.layers[0].kept < report.layers[0].weights);
    assert_eq!(base(&model)["first.weight"], base(&model)["second.weight"]);
}

pub(crate) fn thresholds_that_cannot_be_are_errors(device: &Device) {
    let named = |include: &str| Targets::new([include]);
    let mut model = Mlp::new(device, 1);
    let before = base(&model);
    let error = soft_threshold::learn(&mut model, &named("fc9"), 0.0).unwrap_err();
    assert!(matches!(&error, PruneError::Unmatched { pattern, .. } if pattern == "fc9"), "{error}");
    for result in [soft_threshold::settle(&mut model), soft_threshold::report(&model)] {
        assert!(matches!(result, Err(PruneError::NotAttached { .. })));
    }
    let mut cnn = Cnn::new(device, 1);
    let error = soft_threshold::learn(&mut cnn, &named("norm.running_mean"), 0.0).unwrap_err();
    assert!(matches!(&error, PruneError::Buffer { path } if path == "norm.running_mean"), "{error}");

    // Masks and thresholds keep apart.
    let one = pruner("sparsity = 0.5\ncriterion = \"magnitude\"\ntarget = { include = [\"fc1\"] }");
    one.prune(&mut model, None).unwrap();
    let error = soft_threshold::learn(&mut model, &Targets::default(), 0.0).unwrap_err();
    assert!(matches!(&error, PruneError::Reparameterized { path, .. } if path == "fc1.weight"), "{error}");
    soft_threshold::learn(&mut model, &named("fc2"), 0.0).unwrap();
    for error in [soft_threshold::settle(&mut model).unwrap_err(), finish(&mut model).unwrap_err()] {
        assert!(matches!(&error, PruneError::WouldFold { .. }), "{error}");
    }
    assert!(same_bits(&base(&model).into_iter().filter(|(p, _)| !p.contains("soft")).collect(), &before));
    let two = pruner("sparsity = 0.5\ncriterion = \"magnitude\"\ntarget = { include = [\"fc2\"] }");
    let error = two.prune(&mut model, None).unwrap_err();
    assert!(matches!(&error, PruneError::Reparameterized { path, .. } if path == "fc2.weight"), "{error}");
}
