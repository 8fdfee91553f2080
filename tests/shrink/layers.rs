//! Layers of pictures that are rarer than a convolution, and a shortcut that fills channels up with zeros.

use crate::models::{conv, picture, pooled};
use burn::module::Module;
use burn::nn::conv::{Conv2d, ConvTranspose2d, ConvTranspose2dConfig, DeformConv2d, DeformConv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink::{Factor, Fields};
use pruning_burn::trace::{AxisRules, Scope, Trace};
use pruning_tests::models::filled;
use pruning_tests::shrinking::Shrinks;

/// A transposed convolution in two groups, each of which loses inputs and outputs.
#[derive(Module, Debug)]
pub(crate) struct GroupedUp {
    stem: Conv2d,
    up: ConvTranspose2d,
    last: Conv2d,
}

impl Shrinks for GroupedUp {
    fn new(device: &Device) -> Self {
        let up = ConvTranspose2dConfig::new([8, 12], [2, 2]).with_stride([2, 2]).with_groups(2).init(device);
        filled(Self { stem: conv(3, 8, device), up, last: conv(12, 2, device) }, 41)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let x = relu(self.up.forward(relu(self.stem.forward(x))));
        scope.output(self.last.forward(x));
    }

    fn set(&mut self, fields: &mut Fields) {
        fields.set("up.groups", &mut self.up.groups);
    }
}

/// A convolution whose places are moved by what another one says.
#[derive(Module, Debug)]
pub(crate) struct Deformed {
    stem: Conv2d,
    offsets: Conv2d,
    deformed: DeformConv2d,
    head: Linear,
}

impl Deformed {
    pub(crate) fn of(weight_groups: usize, offset_groups: usize, device: &Device) -> Self {
        let deformed = DeformConv2dConfig::new([6, 4], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_weight_groups(weight_groups)
            .with_offset_groups(offset_groups)
            .init(device);
        let offsets = conv(3, 18 * offset_groups, device);
        filled(Self { stem: conv(3, 6, device), offsets, deformed, head: LinearConfig::new(4, 3).init(device) }, 42)
    }
}

impl Shrinks for Deformed {
    fn new(device: &Device) -> Self {
        Self::of(1, 1, device)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let moved = self.offsets.forward(x.clone()) * 0.1;
        let x = relu(self.deformed.forward(relu(self.stem.forward(x)), moved, None));
        scope.output(self.head.forward(pooled(x)));
    }
}

/// The shortcut of the first residual networks: zeros on both sides of the channels that there are.
#[derive(Module, Debug)]
pub(crate) struct ZeroShortcut {
    stem: Conv2d,
    inner: Conv2d,
    wide: Conv2d,
    head: Linear,
}

impl Shrinks for ZeroShortcut {
    fn new(device: &Device) -> Self {
        let (stem, inner, wide) = (conv(3, 4, device), conv(4, 6, device), conv(6, 8, device));
        filled(Self { stem, inner, wide, head: LinearConfig::new(8, 3).init(device) }, 43)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&picture(device, 3));
        let x = relu(self.stem.forward(x));
        let [batch, _, height, width] = x.dims();
        let zeros = Tensor::zeros([batch, 2, height, width], &x.device());
        let shortcut = Tensor::cat(vec![zeros.clone(), x.clone(), zeros], 1);
        let x = shortcut + self.wide.forward(relu(self.inner.forward(x)));
        scope.output(self.head.forward(pooled(relu(x))));
    }
}

#[test]
fn deformable_convolutions_in_groups_stay() {
    let device = Device::flex();
    for (weight_groups, offset_groups) in [(2, 1), (1, 2), (2, 2)] {
        let model = Deformed::of(weight_groups, offset_groups, &device);
        let trace = Trace::record(&model, |m: &Deformed, s: &mut Scope| m.forward(s, &device)).unwrap();
        let groups = trace.groups(Factor::Inner, &AxisRules::new().with_strict()).unwrap();
        assert!(groups.groups.is_empty(), "{groups}");
        let why = groups.fixed.iter().find(|(axis, _)| axis.path == "stem.weight" && axis.axis == 0).map(|(_, w)| w);
        assert!(why.is_some_and(|w| w.contains("deformable")), "{groups}");
        // They are counted all the same.
        let macs = trace.costs().operations.iter().find(|o| o.weight == "deformed.weight").map(|o| o.macs);
        assert_eq!(macs, Some(2 * 64 * 4 * 9 * 6 / weight_groups as u64));
    }
}
