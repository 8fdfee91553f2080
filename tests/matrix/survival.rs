use crate::pruner;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use pruning_burn::mask::{finish, masks};
use pruning_tests::models::Mlp;
use pruning_tests::values::{base, weights};

/// One step on a fixed batch.
pub(crate) fn train(model: Mlp, optimizer: &mut ModuleOptimizer, device: &Device) -> Mlp {
    let y = model.forward(Mlp::input(6, device));
    let loss = (y - 1.0).powi_scalar(2).mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    optimizer.step(0.05, model, gradients)
}

fn optimizers() -> [(&'static str, ModuleOptimizer); 3] {
    let decay = || Some(WeightDecayConfig::new(0.1));
    let momentum = Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: true });
    [
        ("sgd", SgdConfig::new().with_momentum(momentum).with_weight_decay(decay()).init()),
        ("adam", AdamConfig::new().with_weight_decay(decay()).init()),
        ("adamw", AdamWConfig::new().with_weight_decay(0.1).init()),
    ]
}

/// That exactly the weights of the mask are not zero.
fn check(model: &Mlp, what: &str) {
    for (path, mask) in masks(model).iter() {
        let weights = weights(model, path);
        let fits = weights.iter().enumerate().all(|(i, w)| (*w != 0.0) == mask.bits().get(i));
        assert!(fits && mask.kept() < mask.len(), "{what}: {path}");
    }
    assert_eq!(masks(model).len(), 2, "{what}");
}

pub(crate) fn zeros_survive_optimizers_with_momentum_and_decay(device: &Device) {
    let device = device.clone().autodiff();
    for (name, mut optimizer) in optimizers() {
        let mut model = Mlp::new(&device, 1);
        // Dense steps first: the moments of weights that are pruned later are not zero then.
        for _ in 0..3 {
            model = train(model, &mut optimizer, &device);
        }
        pruner("criterion = \"magnitude\"\nsparsity = 0.8").prune(&mut model, None).unwrap();
        let before = weights(&model, "fc1.weight");
        for step in 0..5 {
            model = train(model, &mut optimizer, &device);
            check(&model, &format!("{name}, step {step}"));
        }
        let after = weights(&model, "fc1.weight");
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!(moved > 30, "{name}: kept weights train on, {moved} of 38 moved");
        finish(&mut model).unwrap();
        assert_eq!(weights(&model, "fc1.weight"), after, "{name}");
    }
}

pub(crate) fn zeros_survive_clone_fork_moves_and_modes(device: &Device) {
    let trained = device.clone().autodiff();
    let mut model = Mlp::new(&trained, 1);
    pruner("criterion = \"magnitude\"\nsparsity = 0.8").prune(&mut model, None).unwrap();
    let set = masks(&model);
    let host = Device::flex();
    for (what, other) in [
        ("clone", model.clone()),
        ("fork", model.clone().fork(&trained)),
        ("to another device", model.clone().to_device(&host.clone().autodiff())),
        ("there and back", model.clone().valid().to_device(&host).to_device(device)),
        ("valid", model.valid()),
        ("valid and train again", model.valid().train()),
        ("frozen", model.clone().freeze()),
        ("no gradients", model.clone().no_grad()),
    ] {
        check(&other, what);
        assert_eq!(masks(&other), set, "{what}");
        assert_eq!(weights(&other, "fc1.weight"), weights(&model, "fc1.weight"), "{what}");
    }
    // A clone has masks of its own.
    let mut other = model.clone();
    pruner("criterion = \"magnitude\"\nsparsity = 0.95").prune(&mut other, None).unwrap();
    assert_eq!(masks(&model), set);
    assert_ne!(masks(&other), set);
    check(&model, "after its clone was pruned further");
    check(&other, "the clone that was pruned further");
}

pub(crate) fn pruned_weights_get_no_gradient(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Mlp::new(&device, 1);
    pruner("criterion = \"magnitude\"\nsparsity = 0.5").prune(&mut model, None).unwrap();
    // Any loss that every weight has a part in; inputs and activations are not zero here.
    let loss = model.fc1.forward(Mlp::input(5, &device)).powi_scalar(2).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let gradient: Vec<f32> = gradients.get::<2>(model.fc1.weight.id).unwrap().into_data().iter::<f32>().collect();
    let mask = masks(&model);
    let mask = mask.get("fc1.weight").unwrap();
    assert!(gradient.iter().enumerate().all(|(i, g)| (*g != 0.0) == mask.bits().get(i)));
}

pub(crate) fn outputs_are_those_of_the_zeroed_weights(device: &Device) {
    let mut model = Mlp::new(device, 1);
    let dense = base(&model);
    pruner("criterion = \"magnitude\"\nsparsity = 0.7").prune(&mut model, None).unwrap();
    let outputs: Vec<f32> = model.forward(Mlp::input(4, device)).into_data().iter::<f32>().collect();
    // By hand, in double precision.
    let set = masks(&model);
    let weight = |path: &str| -> Vec<f64> {
        let mask = set.get(path).unwrap();
        dense[path].iter::<f64>().enumerate().map(|(i, w)| if mask.bits().get(i) { w } else { 0.0 }).collect()
    };
    let (w1, w2) = (weight("fc1.weight"), weight("fc2.weight"));
    let bias: Vec<f64> = dense["fc1.bias"].iter::<f64>().collect();
    let input: Vec<f64> = Mlp::input(4, device).into_data().iter::<f64>().collect();
    for row in 0..4 {
        let hidden: Vec<f64> = (0..16)
            .map(|j| (bias[j] + (0..12).map(|i| input[row * 12 + i] * w1[i * 16 + j]).sum::<f64>()).max(0.0))
            .collect();
        for k in 0..8 {
            let expected: f64 = (0..16).map(|j| hidden[j] * w2[j * 8 + k]).sum();
            let got = f64::from(outputs[row * 8 + k]);
            assert!((expected - got).abs() < 1e-4, "row {row}, output {k}: {got} for {expected}");
        }
    }
}
