//! N:M on convolutions, by NumPy's answers: see `vectors/README.md`.

use crate::pruner;
use burn::module::{Module, Param};
use burn::nn::conv::{
    Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig, ConvTranspose3dConfig,
};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::PruneError;
use pruning_burn::budget::ChooseError;
use pruning_burn::mask::masks;
use pruning_burn::score::GranularityError;
use pruning_tests::models::{Cnn, Zoo};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    layer: String,
    shape: Vec<usize>,
    groups: usize,
    n: usize,
    m: usize,
    along: String,
    weight: Vec<f32>,
    mask: Option<Vec<u8>>,
    length: Option<usize>,
}

impl Case {
    fn weight<const D: usize>(&self, device: &Device) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(self.weight.clone(), self.shape.clone()), device))
    }

    fn name(&self) -> String {
        format!("{} {:?}, {} groups, {}:{} along {}", self.layer, self.shape, self.groups, self.n, self.m, self.along)
    }

    /// Prunes a layer with these weights.
    fn check<M: Module>(&self, mut layer: M) {
        let along = if self.along == "taps" { " taps" } else { "" };
        let recipe = format!("criterion = \"magnitude\"\ngranularity = \"{}:{}{along}\"", self.n, self.m);
        let pruned = pruner(&recipe).prune(&mut layer, None);
        match &self.mask {
            Some(mask) => {
                pruned.unwrap();
                let kept: Vec<u8> = masks(&layer).get("weight").unwrap().bits().to_bytes();
                assert_eq!(kept, *mask, "{}", self.name());
            }
            None => {
                let error = pruned.unwrap_err();
                let PruneError::Choose(ChooseError::Granularity {
                    source: GranularityError::DoesNotDivide { length, .. },
                    ..
                }) = error
                else {
                    panic!("{}: {error}", self.name());
                };
                assert_eq!(Some(length), self.length, "{}", self.name());
            }
        }
    }
}

pub(crate) fn convolutions_are_cut_along_their_inputs(device: &Device) {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../vectors/nm.json")).unwrap();
    for case in &cases {
        let groups = case.groups;
        // Channels of the input and of the output.
        let transposed = [case.shape[0], case.shape[1] * groups];
        let channels = [case.shape[1] * groups, case.shape[0]];
        macro_rules! check {
            ($config:expr) => {{
                let mut layer = $config.with_groups(groups).init(device);
                layer.weight = case.weight(device);
                case.check(layer)
            }};
        }
        match (case.layer.as_str(), &case.shape[2..]) {
            ("Conv1d", &[k]) => check!(Conv1dConfig::new(channels[0], channels[1], k)),
            ("Conv2d", &[h, w]) => check!(Conv2dConfig::new(channels, [h, w])),
            ("Conv3d", &[d, h, w]) => check!(Conv3dConfig::new(channels, [d, h, w])),
            ("ConvTranspose1d", &[k]) => check!(ConvTranspose1dConfig::new(transposed, k)),
            ("ConvTranspose2d", &[h, w]) => check!(ConvTranspose2dConfig::new(transposed, [h, w])),
            ("ConvTranspose3d", &[d, h, w]) => check!(ConvTranspose3dConfig::new(transposed, [d, h, w])),
            _ => panic!("{}", case.name()),
        }
    }
}

pub(crate) fn layers_that_m_does_not_divide_are_skipped_if_asked(device: &Device) {
    let recipe = "criterion = \"magnitude\"\ngranularity = \"2:4\"";
    let mut model = Cnn::new(device, 3);
    let error = pruner(recipe).prune(&mut model, None).unwrap_err().to_string();
    for part in
        ["conv1.weight: a fan-in of 3 input channels is not a multiple of 4, which 2:4 needs", "skip_unfit = true"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert!(masks(&model).is_empty());
    let report = pruner(&format!("{recipe}\nskip_unfit = true")).prune(&mut model, None).unwrap();
    let pruned: Vec<_> = report.layers.iter().map(|l| (l.path.as_str(), l.kept * 2 == l.weights)).collect();
    assert_eq!(pruned, [("conv2.weight", true), ("head.weight", true)]);
    let line = "skipped conv1.weight: left dense: a fan-in of 3 input channels is not a multiple of 4, which 2:4 needs";
    assert!(report.to_string().contains(line), "{report}");
    // The same for heads, and a schedule leaves out the same layers.
    let recipe =
        "criterion = \"magnitude\"\nsparsity = 0.5\nskip_unfit = true\ngranularity = { kind = \"head\", size = 4 }";
    let mut zoo = Zoo::new(device, 1);
    let mut session = pruner(recipe).start(&mut zoo).unwrap();
    let report = session.step(&mut zoo, None).unwrap().unwrap();
    let why = |path: &str| report.skipped.iter().find(|s| s.path == path).map(|s| s.reason.to_string());
    assert!(report.layers.iter().any(|l| l.path == "linear.weight") && why("linear.weight").is_none());
    assert!(why("conv1.weight").unwrap().starts_with("left dense: heads of 4 channels do not divide 6"));
    // Where none is left, the first one is named.
    let mut model = Cnn::new(device, 3);
    let only =
        "criterion = \"magnitude\"\ngranularity = \"2:4\"\nskip_unfit = true\ntarget = { include = [\"conv1\"] }";
    let error = pruner(only).prune(&mut model, None).unwrap_err().to_string();
    assert!(error.starts_with("conv1.weight: a fan-in of 3 input channels"), "{error}");
}
