//! Reconstruction of whole models: masks, channels, sessions, files, and what is refused.

mod refused;
mod structures;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use pruning_burn::calibrate::Calibration;
use pruning_burn::mask::{finish, masks, undo};
use pruning_burn::report::Report;
use pruning_burn::score::CriterionInputs;
use pruning_burn::store::{load, save};
use pruning_burn::trace::Scope;
use pruning_burn::{PruneError, Pruner};
use pruning_tests::models::{filled, random};

#[derive(Module, Debug)]
pub(crate) struct Net {
    pub(crate) fc1: Linear,
    pub(crate) fc2: Linear,
}

impl Net {
    pub(crate) fn new(seed: u64, device: &Device) -> Self {
        let new = Self { fc1: LinearConfig::new(12, 16).init(device), fc2: LinearConfig::new(16, 6).init(device) };
        filled(new, seed)
    }

    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(relu(self.fc1.forward(x)))
    }
}

pub(crate) fn pass(model: &Net, x: &Tensor<2>, scope: &mut Scope) {
    let x = scope.input(x);
    scope.output(model.forward(x));
}

pub(crate) fn pruner(text: &str) -> Pruner {
    Pruner::from_toml(text, &pruning_plugins::all()).unwrap()
}

/// Inputs whose columns depend on each other, as those of a trained network do.
pub(crate) fn correlated(rows: usize, cols: usize, device: &Device) -> Tensor<2> {
    let mix = random([cols, cols], 1, device).mul_scalar(1.2) + Tensor::eye(cols, device);
    random([rows, cols], 2, device).add_scalar(0.1).matmul(mix)
}

fn distance(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    (a.clone() - b.clone()).square().mean().into_scalar::<f64>()
}

fn prune(model: &mut Net, recipe: &str, x: &Tensor<2>) -> Result<Report, PruneError> {
    let pruner = pruner(recipe);
    let calibration = Calibration::collect(model, pruner.needs(), [x], pass).unwrap();
    pruner.prune(model, &CriterionInputs::from(&calibration))
}

const PLAIN: &str = "sparsity = 0.6\ncriterion = \"magnitude\"";

#[test]
fn every_reconstruction_beats_the_mask_alone_and_is_undone() {
    let device = Device::flex();
    let dense = Net::new(1, &device);
    let x = correlated(400, 12, &device);
    let y = dense.forward(x.clone());
    let mut plain = dense.clone();
    pruner(PLAIN).prune(&mut plain, None).unwrap();
    let lost = distance(&plain.forward(x.clone()), &y);
    for reconstruction in ["obs", "least_squares", "sparsegpt"] {
        let mut model = dense.clone();
        let report = prune(&mut model, &format!("{PLAIN}\nreconstruct = \"{reconstruction}\""), &x).unwrap();
        let found = distance(&model.forward(x.clone()), &y);
        assert!(found < 0.95 * lost, "{reconstruction}: {found} of {lost}");
        assert_eq!(report.kept(), masks(&plain).iter().map(|(_, mask)| mask.kept()).sum::<usize>());
        if reconstruction != "sparsegpt" {
            assert_eq!(masks(&model).get("fc1.weight"), masks(&plain).get("fc1.weight"));
        }
        // What is folded in is what was computed under the masks.
        let mut folded = model.clone();
        finish(&mut folded).unwrap();
        assert_eq!(folded.forward(x.clone()).into_data(), model.forward(x.clone()).into_data());
        let zeros = folded.fc1.weight.val().into_data().iter::<f32>().filter(|w| *w == 0.0).count();
        assert_eq!(zeros, 192 - masks(&model).get("fc1.weight").unwrap().kept());
        // And a clone that is undone is the dense model, bit for bit.
        undo(&mut model).unwrap();
        assert_eq!(model.forward(x.clone()).into_data(), y.clone().into_data(), "{reconstruction}");
        for (one, other) in [(&model.fc1, &dense.fc1), (&model.fc2, &dense.fc2)] {
            assert_eq!(one.weight.val().into_data(), other.weight.val().into_data());
            assert_eq!(one.bias.as_ref().unwrap().val().into_data(), other.bias.as_ref().unwrap().val().into_data());
        }
    }
}

#[test]
fn training_goes_on_and_undo_still_knows_the_weights_from_before() {
    let device = Device::flex().autodiff();
    let mut model = Net::new(2, &device);
    let dense = model.fc1.weight.val().into_data();
    let x = correlated(300, 12, &device);
    prune(&mut model, &format!("{PLAIN}\nreconstruct = \"obs\""), &x).unwrap();
    assert!(model.fc1.weight.val().is_tracked(), "the weights still train");
    let gradients = model.forward(x.clone()).square().mean().backward();
    assert!(model.fc1.weight.base().grad(&gradients).is_some());
    // A second pruning on top of the first: what is undone is the first of all.
    prune(&mut model, "sparsity = 0.8\ncriterion = \"magnitude\"\nreconstruct = \"obs\"", &x).unwrap();
    undo(&mut model).unwrap();
    assert_eq!(model.fc1.weight.val().into_data(), dense);
}

#[test]
fn a_reconstructed_model_is_saved_with_the_weights_from_before() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bpk");
    let dense = Net::new(3, &device);
    let x = correlated(300, 12, &device);
    let mut model = dense.clone();
    prune(&mut model, &format!("{PLAIN}\nreconstruct = \"least_squares\""), &x).unwrap();
    save(&model, &file).unwrap();
    // Into a plain module, into one that carries masks, and into one that carries other weights from before.
    let mut masked = Net::new(4, &device);
    pruner(PLAIN).prune(&mut masked, None).unwrap();
    for mut loaded in [Net::new(5, &device), masked.clone(), model.clone()] {
        load(&file).unwrap().into_model(&mut loaded).unwrap();
        assert_eq!(loaded.forward(x.clone()).into_data(), model.forward(x.clone()).into_data());
        undo(&mut loaded).unwrap();
        assert_eq!(loaded.forward(x.clone()).into_data(), dense.forward(x.clone()).into_data());
    }
}

#[test]
fn a_session_reconstructs_at_each_step() {
    let device = Device::flex();
    let mut model = Net::new(6, &device);
    let x = correlated(400, 12, &device);
    let y = model.forward(x.clone());
    let recipe = format!("{PLAIN}\nreconstruct = \"obs\"\nschedule = {{ kind = \"iterative\", rounds = 3 }}");
    let pruner = pruner(&recipe);
    let mut plain = model.clone();
    self::pruner(PLAIN).prune(&mut plain, None).unwrap();
    let mut session = pruner.start(&mut model).unwrap();
    for _ in 0..3 {
        let calibration = Calibration::collect(&model, pruner.needs(), [&x], pass).unwrap();
        session.step(&mut model, &CriterionInputs::from(&calibration)).unwrap();
    }
    assert!(distance(&model.forward(x.clone()), &y) < 0.9 * distance(&plain.forward(x), &y));
    assert!((pruner.report(&model).unwrap().sparsity() - 0.6).abs() < 0.01);
}

#[derive(Module, Debug)]
struct Convs {
    first: Conv2d,
    second: Conv2d,
}

impl Convs {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.second.forward(relu(self.first.forward(x)))
    }
}

#[test]
fn grouped_convolutions_and_patterns_along_their_channels() {
    let device = Device::flex();
    let dense = Convs {
        first: Conv2dConfig::new([8, 8], [3, 3]).with_groups(2).init(&device),
        second: Conv2dConfig::new([8, 4], [2, 2]).init(&device),
    };
    let dense = filled(dense, 3);
    let x = random([6, 8, 9, 9], 3, &device);
    let y = dense.forward(x.clone());
    let forward = |model: &Convs, x: &Tensor<4>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    };
    let run = |recipe: &str| {
        let (pruner, mut model) = (pruner(recipe), dense.clone());
        let calibration =
            Calibration::collect(&model, pruner.needs() | pruning_burn::score::Need::INPUT_NORM, [&x], forward);
        pruner.prune(&mut model, &CriterionInputs::from(&calibration.unwrap())).unwrap();
        let lost = (model.forward(x.clone()) - y.clone()).square().mean().into_scalar::<f64>();
        (masks(&model), lost)
    };
    let plain = "sparsity = 0.5\ncriterion = \"magnitude\"";
    let (_, lost) = run(plain);
    for reconstruction in ["obs", "least_squares", "sparsegpt"] {
        assert!(run(&format!("{plain}\nreconstruct = \"{reconstruction}\"")).1 < lost, "{reconstruction}");
    }
    let plain = "criterion = \"magnitude\"\ngranularity = \"2:4\"";
    let (_, lost) = run(plain);
    for reconstruction in ["obs", "sparsegpt"] {
        let (masks, found) = run(&format!("{plain}\nreconstruct = \"{reconstruction}\""));
        assert!(found < lost, "{reconstruction}");
        // Two of every four channels at each place of the kernel.
        let second = masks.get("second.weight").unwrap().bits().to_bools();
        for unit in second.chunks(8 * 4) {
            for (four, place) in (0..2).flat_map(|four| (0..4).map(move |place| (four, place))) {
                assert_eq!((0..4).filter(|c| unit[(four * 4 + c) * 4 + place]).count(), 2);
            }
        }
    }
}

#[test]
fn layer_after_layer_sees_what_the_pruned_layers_put_out() {
    let device = Device::flex();
    let dense = Net::new(7, &device);
    let x = correlated(400, 12, &device);
    let y = dense.forward(x.clone());
    let run = |recipe: &str| {
        let mut model = dense.clone();
        let report = pruner(recipe).prune_with(&mut model, [&x], pass).unwrap();
        (distance(&model.forward(x.clone()), &y), report.kept(), model)
    };
    for allocator in ["uniform", "global"] {
        let recipe = format!("{PLAIN}\nallocator = \"{allocator}\"\nreconstruct = \"least_squares\"");
        let (_, kept, once) = run(&recipe);
        let (_, same, mut model) = run(&format!("{recipe}\nsequential = true"));
        assert_eq!(kept, same);
        // The first layer sees the same in both ways, the second does not.
        assert_eq!(model.fc1.weight.val().into_data(), once.fc1.weight.val().into_data());
        assert_ne!(model.fc2.weight.val().into_data(), once.fc2.weight.val().into_data());
        undo(&mut model).unwrap();
        assert_eq!(model.forward(x.clone()).into_data(), y.clone().into_data());
    }
    // The same by hand: one layer, a new calibration, the other layer.
    let (.., sequential) = run(&format!("{PLAIN}\nreconstruct = \"obs\"\nsequential = true"));
    let mut by_hand = dense.clone();
    for layer in ["fc1.weight", "fc2.weight"] {
        let own = format!("{PLAIN}\nreconstruct = \"obs\"\ntarget = {{ include = [\"{layer}\"] }}");
        pruner(&own).prune_with(&mut by_hand, [&x], pass).unwrap();
    }
    assert_eq!(sequential.forward(x.clone()).into_data(), by_hand.forward(x.clone()).into_data());
    let (chosen, ..) = run(&format!("{PLAIN}\nreconstruct = \"sparsegpt\"\nsequential = true"));
    assert!(chosen < run(PLAIN).0);
}
