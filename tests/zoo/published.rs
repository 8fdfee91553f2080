//! [Li et al. 2017](https://arxiv.org/abs/1608.08710): what is left of ResNet-56 when filters of the first convolution of each
//! block go, as its code removes them.

use crate::parts::{Network, Port, recorded, weighted};
use crate::residual::ResNet56;
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker};
use pruning_burn::trace::Scope;
use pruning_tests::shrinking::channels;

/// Fractions by stage, and layers that are left alone: layer 1 is the stem, layers 2 and 3 are the first block.
fn left(fractions: [f64; 3], skipped: &[usize]) -> (u64, u64) {
    let device = Device::flex();
    let mut network = weighted(ResNet56::of(16, &device), 5);
    let x = Tensor::zeros([1, 3, 32, 32], &device);
    let mut more = "rounding = \"ceil\"\n[target]\ninclude = [\"net.stage*.first.conv\"]\nexclude = [".to_string();
    for layer in skipped {
        let block = layer / 2 - 1;
        more += &format!("\"net.stage{}.{}.first\", ", block / 9 + 1, block % 9);
    }
    more += "]\n";
    for (stage, fraction) in fractions.iter().enumerate() {
        let stage = stage + 1;
        more += &format!("[[override]]\ntarget = \"net.stage{stage}.*.first.conv\"\nsparsity = {fraction}\n");
    }
    let plan = Shrinker::new(&channels(0.5, &more)).plan(&network, &recorded(&network, &x), None).unwrap();
    assert_eq!((plan.before.parameters, plan.before.macs), (853_018, 125_485_696));
    assert_eq!(plan.groups.len(), 27 - skipped.len(), "{plan}");
    let forward = |n: &ResNet56, s: &mut Scope| n.infer(x.declare(s)).announce(s);
    shrink::apply(&plan, &mut network, |_: &mut ResNet56, _: &mut Fields| {}, forward).unwrap();
    let costs = recorded(&network, &x).costs();
    assert_eq!((costs.parameters, costs.macs()), (plan.after.parameters, plan.after.macs));
    (costs.parameters, costs.macs())
}

#[test]
fn variant_a() {
    assert_eq!(left([0.1; 3], &[16, 20, 38, 54]), (773_336, 112_435_840));
}

#[test]
fn variant_b() {
    assert_eq!(left([0.6, 0.3, 0.1], &[16, 18, 20, 34, 38, 54]), (735_712, 90_907_264));
}
