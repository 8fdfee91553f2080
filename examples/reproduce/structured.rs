//! Half of the channels of a small CNN, removed for good, and trained on (Li et al. 2017 and Torch-Pruning, on a network of this size).

use crate::runner::{Run, pruner};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink::{Fields, Shrinker, apply};
use pruning_burn::trace::{Scope, Trace};
use pruning_examples::Failed;
use pruning_examples::mnist::{CLASSES, SIDE};
use pruning_examples::training::Classifier;
use pruning_examples::training::{Rate, Training};
use serde_json::json;
use std::time::Instant;

const PLAN: Training = Training::new(3, Rate::Cosine(2e-3));

/// Two convolutions of 5 x 5 with batch norm, two linear layers.
#[derive(Module, Debug)]
struct Cnn {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    fc1: Linear,
    fc2: Linear,
    pool: MaxPool2d,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        let conv = |from, to| Conv2dConfig::new([from, to], [5, 5]).with_bias(false).init(device);
        Self {
            conv1: conv(1, 16),
            norm1: BatchNormConfig::new(16).init(device),
            conv2: conv(16, 32),
            norm2: BatchNormConfig::new(32).init(device),
            fc1: LinearConfig::new(32 * 16, 64).init(device),
            fc2: LinearConfig::new(64, CLASSES).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }
}

impl Classifier for Cnn {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let count = images.dims()[0];
        let x = images.reshape([count, 1, SIDE, SIDE]);
        let x = self.pool.forward(relu(self.norm1.forward(self.conv1.forward(x))));
        let x = self.pool.forward(relu(self.norm2.forward(self.conv2.forward(x))));
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        self.fc2.forward(x)
    }
}

pub(crate) fn run(run: &Run<'_>) -> Result<(), Failed> {
    let random = format!("{{ name = \"random\", seed = {} }}", run.seed);
    let rows = [("magnitude 0.50", "\"magnitude\""), ("fpgm 0.50", "\"fpgm\""), ("random 0.50", &random)];
    if !run.missing("dense") && rows.iter().all(|(variant, _)| !run.missing(variant)) {
        return Ok(());
    }
    let plan = PLAN.with_epochs(run.epochs(PLAN.epochs, 1));
    let start = Instant::now();
    let dense = run.fit(run.drawn(run.seed, Cnn::new), &plan);
    let example = Tensor::<2>::zeros([1, SIDE * SIDE], &run.runner.device.clone().without_autodiff());
    let forward = |model: &Cnn, scope: &mut Scope| {
        let x = scope.input(&example);
        scope.output(model.forward(x));
    };
    let trace = Trace::record(&dense.valid(), forward)?;
    if run.missing("dense") {
        let more = json!({ "parameters": dense.num_params(), "macs": trace.costs().macs() });
        run.add("dense", 0.0, &dense, start, more)?;
    }
    for (variant, criterion) in rows {
        if !run.missing(variant) {
            continue;
        }
        let start = Instant::now();
        let recipe = format!("criterion = {criterion}\ngranularity = \"channel\"\nsparsity = 0.5");
        let mut model = dense.clone();
        let plan_of = Shrinker::new(&pruner(&recipe)?).plan(&model, &trace, None)?;
        apply(&plan_of, &mut model, |_: &mut Cnn, _: &mut Fields| {}, forward)?;
        let before = run.error(&model);
        let model = run.fit(model, &plan);
        let (parameters, macs) = (plan_of.after.parameters, plan_of.after.macs);
        let sparsity = 1.0 - parameters as f64 / dense.num_params() as f64;
        let more = json!({ "parameters": parameters, "macs": macs, "untrained_error": before });
        run.add(variant, sparsity, &model, start, more)?;
    }
    Ok(())
}
