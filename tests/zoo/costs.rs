//! Parameters and multiply-accumulates of the real sizes, against published figures.

use crate::parts::{Network, recorded};
use crate::residual::{MobileNet, ResNet18, ResNet50, ResNet56};
use crate::sequence::{Bert, Vit, Widths};
use crate::{joined, plain};
use burn::tensor::{Device, Tensor};

/// Parameters and MACs on one input.
fn costs<N: Network>(network: &N, x: &N::Input) -> (u64, u64) {
    let costs = recorded(network, x).costs();
    (costs.parameters, costs.macs())
}

fn picture(channels: usize, side: usize, device: &Device) -> Tensor<4> {
    Tensor::zeros([1, channels, side, side], device)
}

#[test]
fn lenet_5() {
    let device = Device::flex();
    let network = plain::LeNet::of([20, 50, 500], &device);
    assert_eq!(costs(&network, &picture(1, 28, &device)), (431_080, 2_293_000));
}

#[test]
fn vgg_16() {
    let device = Device::flex();
    let network = plain::Vgg::of([64, 128, 256, 512, 512], 4096, 7, 1000, false, &device);
    let mut macs = 0;
    // Pairs of channels of the convolutions at each side, by hand.
    for (side, pairs) in [
        (224, 3 * 64 + 64 * 64),
        (112, 64 * 128 + 128 * 128),
        (56, 128 * 256 + 2 * 256 * 256),
        (28, 256 * 512 + 2 * 512 * 512),
        (14, 3 * 512 * 512),
    ] {
        macs += side * side * 9 * pairs;
    }
    macs += 512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * 1000;
    assert_eq!(macs, 15_470_264_320);
    assert_eq!(costs(&network, &picture(3, 224, &device)), (138_357_544, macs));
}

#[test]
fn resnets() {
    let device = Device::flex();
    let x = picture(3, 224, &device);
    assert_eq!(costs(&ResNet18::of(64, 1000, &device), &x), (11_689_512, 1_814_073_344));
    assert_eq!(costs(&ResNet50::of(64, 1000, &device), &x), (25_557_032, 4_089_184_256));
    assert_eq!(costs(&ResNet56::of(16, &device), &picture(3, 32, &device)), (853_018, 125_485_696));
}

/// As torchvision counts them: 2.834, 0.301, and 0.145 thousand million MACs.
#[test]
fn small_networks_of_torchvision() {
    let device = Device::flex();
    let x = picture(3, 224, &device);
    let dense = joined::DenseNet::of(64, 32, &[6, 12, 24, 16], 1000, &device);
    assert_eq!(costs(&dense, &x), (7_978_856, 2_834_161_664));
    let mobile = MobileNet::of(32, &MobileNet::REAL, 1280, 1000, &device);
    assert_eq!(costs(&mobile, &x), (3_504_872, 300_774_272));
    let shuffle = joined::ShuffleNet::of(24, &[(116, 4), (232, 8), (464, 4)], 1024, 1000, &device);
    assert_eq!(costs(&shuffle, &x), (2_278_604, 144_907_992));
}

/// Products of a layer: four projections, scores and context, two layers inside.
fn layer_macs(tokens: u64, width: u64, hidden: u64) -> u64 {
    4 * tokens * width * width + 2 * tokens * tokens * width + 2 * tokens * width * hidden
}

#[test]
fn transformers() {
    let device = Device::flex();
    let base = Widths(768, 12, 3072);
    let bert = Bert::of(base, 12, &device);
    assert_eq!(costs(&bert, &Tensor::zeros([1, 128, 768], &device)), (85_054_464, 12 * layer_macs(128, 768, 3072)));
    let vit = Vit::of(base, 12, (16, 196), 1000, &device);
    let macs = 196 * 3 * 16 * 16 * 768 + 12 * layer_macs(197, 768, 3072) + 768 * 1000;
    assert_eq!(costs(&vit, &picture(3, 224, &device)), (86_567_656, macs));
}
