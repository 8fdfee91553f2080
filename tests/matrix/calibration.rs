//! What layers see, and reconstruction, on every device.

use crate::pruner;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use pruning_burn::calibrate::Calibration;
use pruning_burn::mask::{masks, undo};
use pruning_burn::score::{CriterionInputs, Need, Needs};
use pruning_burn::trace::Scope;
use pruning_tests::models::filled;
use pruning_tests::values::base;

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    hidden: Linear,
    out: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let net = Self {
            conv: Conv2dConfig::new([4, 6], [3, 3]).with_groups(2).init(device),
            hidden: LinearConfig::new(6, 40).init(device),
            out: LinearConfig::new(40, 3).init(device),
        };
        filled(net, 5)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let x = relu(self.conv.forward(x)).flatten::<3>(2, 3).swap_dims(1, 2);
        self.out.forward(relu(self.hidden.forward(x)))
    }
}

/// Pictures whose values are the same on every device, and which of their nine positions count.
fn batches(device: &Device) -> Vec<(Tensor<4>, Tensor<2, Int>)> {
    let batch = |n: usize| {
        let values: Vec<f32> = (0..n * 4 * 25).map(|i| ((i * 7919 % 101) as f32 - 40.0) / 30.0).collect();
        let counts: Vec<i32> = (0..n * 9).map(|i| i32::from(i % 4 > 0)).collect();
        let x = Tensor::<1>::from_floats(values.as_slice(), device).reshape([n, 4, 5, 5]);
        (x, Tensor::<1, Int>::from_ints(counts.as_slice(), device).reshape([n, 9]))
    };
    vec![batch(3), batch(20)]
}

fn collect(model: &Net, needs: &Needs, device: &Device) -> Calibration {
    let forward = |model: &Net, (x, real): &(Tensor<4>, Tensor<2, Int>), scope: &mut Scope| {
        let x = scope.input(x);
        // Of the nine windows of each picture.
        scope.count_positions(real);
        scope.output(model.forward(x));
    };
    Calibration::collect(model, needs, &batches(device), forward).unwrap()
}

pub(crate) fn sums_are_those_of_the_host(device: &Device) {
    let needs = Need::INPUT_NORM | Need::INPUT_MEAN | Need::INPUT_GRAM | Need::INPUT_ACTIVATION | Need::OUTPUT_ZEROS;
    let needs = needs | Need::OUTPUT_RANK;
    let host = Device::flex();
    let (ours, theirs) = (collect(&Net::new(device), &needs, device), collect(&Net::new(&host), &needs, &host));
    for need in needs.iter() {
        for path in ["conv.weight", "hidden.weight", "out.weight"] {
            let (Some(a), Some(b)) = (ours.values(need, path), theirs.values(need, path)) else {
                // Only pictures have a rank, and only activations count zeros.
                let none = [
                    (Need::OUTPUT_RANK, "hidden.weight"),
                    (Need::OUTPUT_RANK, "out.weight"),
                    (Need::OUTPUT_ZEROS, "out.weight"),
                ];
                assert!(none.contains(&(need, path)), "{need} of {path}");
                continue;
            };
            let largest = b.iter().fold(1e-6_f64, |m, v| m.max(v.abs()));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5 * largest), "{need} of {path}");
        }
    }
}

pub(crate) fn pruning_by_what_is_seen_gives_the_masks_of_the_host(device: &Device) {
    let pruned = |device: &Device| {
        let recipe = "sparsity = 0.5\ncriterion = \"wanda\"\ncompare = \"row\"\nreconstruct = \"obs\"";
        let (pruner, mut model) = (pruner(recipe), Net::new(device));
        let calibration = collect(&model, &pruner.needs(), device);
        pruner.prune(&mut model, &CriterionInputs::from(&calibration)).unwrap();
        model
    };
    let (ours, host) = (pruned(device), pruned(&Device::flex()));
    assert_eq!(masks(&ours), masks(&host));
    for ((path, a), (_, b)) in base(&ours).into_iter().zip(base(&host)) {
        let worst = a.iter::<f64>().zip(b.iter::<f64>()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-4, "{path}: {worst}");
    }
}

pub(crate) fn reconstructed_weights_come_back_on_their_device(device: &Device) {
    for device in [device.clone(), device.clone().autodiff()] {
        let recipe = "sparsity = 0.5\ncriterion = \"magnitude\"\nreconstruct = \"least_squares\"";
        let (pruner, mut model) = (pruner(recipe), Net::new(&device));
        let before = base(&model);
        let calibration = collect(&model, &pruner.needs(), &device);
        pruner.prune(&mut model, &CriterionInputs::from(&calibration)).unwrap();
        let mut moved = model.clone().fork(&device);
        assert_ne!(base(&moved), before);
        undo(&mut moved).unwrap();
        assert_eq!(base(&moved), before);
    }
}
