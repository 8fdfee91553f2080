//! Constants of removed units, in the biases that follow.

use crate::channels;
use burn::backend::Flex;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker, verify};
use pruning_burn::trace::{Scope, Trace, Values};
use pruning_tests::models::{filled, numbers};

#[derive(Module, Debug)]
struct Net {
    first: Conv2d,
    norm: BatchNorm,
    second: Conv2d,
    hidden: Linear,
    head: Linear,
}

impl Net {
    fn new(padding: PaddingConfig2d, device: &Device) -> Self {
        let conv = |from, to| Conv2dConfig::new([from, to], [3, 3]);
        let model = Self {
            first: conv(2, 8).init(device),
            norm: BatchNormConfig::new(8).init(device),
            second: conv(8, 6).with_padding(padding).init(device),
            hidden: LinearConfig::new(6, 10).init(device),
            head: LinearConfig::new(10, 3).init(device),
        };
        filled(model, 21)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = sigmoid(self.norm.forward(self.first.forward(x) * 0.1));
        let x = sigmoid(self.second.forward(x) * 0.1);
        let x: Tensor<2> = x.mean_dim(3).mean_dim(2).flatten(1, 3);
        self.head.forward(sigmoid(self.hidden.forward(x)))
    }
}

#[test]
fn what_masked_units_put_out_goes_into_the_next_bias() {
    let device = Device::flex();
    let x = Tensor::<1>::from_floats(numbers(3 * 2 * 64, 5).as_slice(), &device).reshape([3, 2, 8, 8]);
    let forward = |m: &Net, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    };
    let pruner = channels(0.5, "[target]\nexclude = [\"head\"]");
    let run = |padding: PaddingConfig2d| {
        let mut masked = Net::new(padding, &device);
        // Weights alone: biases and norms go on putting something out.
        pruner.prune(&mut masked, None).unwrap();
        let trace = Trace::record(&masked, forward).unwrap();
        let plan = Shrinker::new(&pruner).plan(&masked, &trace, None).unwrap();
        let mut model = masked.clone();
        let folded = shrink::fold::<Flex, _>(&plan, &trace, &mut model, Values::new().with(x.clone())).unwrap();
        shrink::apply(&plan, &mut model, |_: &mut Net, _: &mut Fields| {}, forward).unwrap();
        let mut plain = masked.clone();
        shrink::apply(&plan, &mut plain, |_: &mut Net, _: &mut Fields| {}, forward).unwrap();
        let far = |m: &Net| verify(&masked, m, forward).unwrap().max_rel;
        (folded, far(&model), far(&plain))
    };
    let (folded, with, without) = run(PaddingConfig2d::Valid);
    assert_eq!(folded.biases, ["head.bias", "hidden.bias", "second.bias"]);
    assert!(folded.left.is_empty(), "{folded:?}");
    assert!(with < 1e-5 && without > 1e-2, "{with} {without}");
    // The edges of a padded picture see fewer constants.
    let (folded, ..) = run(PaddingConfig2d::Same);
    assert_eq!(folded.left[0].0, "second.weight");
    assert!(folded.left[0].1.contains("pads with zeros"), "{folded:?}");
}

#[test]
fn what_is_not_constant_is_left() {
    let device = Device::flex();
    let x = Tensor::<1>::from_floats(numbers(3 * 2 * 64, 5).as_slice(), &device).reshape([3, 2, 8, 8]);
    let forward = |m: &Net, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    };
    let mut model = Net::new(PaddingConfig2d::Valid, &device);
    let trace = Trace::record(&model, forward).unwrap();
    let plan = Shrinker::new(&channels(0.5, "")).plan(&model, &trace, None).unwrap();
    let before = pruning_tests::values::base(&model);
    let folded = shrink::fold::<Flex, _>(&plan, &trace, &mut model, Values::new().with(x.clone())).unwrap();
    assert_eq!(folded.left.len(), 3, "{folded:?}");
    assert!(folded.biases.is_empty());
    assert!(pruning_tests::values::same_bits(&pruning_tests::values::base(&model), &before));
    let none = shrink::fold::<Flex, _>(&plan, &trace, &mut model, Values::new());
    assert!(none.unwrap_err().to_string().contains("0 inputs for a trace of 1"));
}
