//! What attached masks cost in training: LeNet-300-100, Adam, batch 128, on Flex.
//!
//! `cargo bench -p pruning-burn --features flex --bench step -- [--json] [--rounds N]`
//!
//! A round times as many dense as masked steps, one after the other in turn. The ratio is the median over the rounds. A
//! mask costs the same whatever it keeps.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use measure::{Options, median, seconds};
use pruning_allocation as _;
use pruning_burn::{Plugins, Pruner};
use pruning_magnitude as _;
use std::process::ExitCode;

#[path = "../../pruning-core/benches/support/measure.rs"]
#[expect(dead_code, reason = "shared with benches that measure memory too")]
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEPS: usize = 20;

#[derive(Module, Debug)]
struct Lenet {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Lenet {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc3.forward(relu(self.fc2.forward(relu(self.fc1.forward(x)))))
    }
}

struct Run {
    model: Option<Lenet>,
    optimizer: ModuleOptimizer,
    seconds: Vec<f64>,
}

impl Run {
    fn new(model: Lenet) -> Self {
        Self { model: Some(model), optimizer: AdamConfig::new().init(), seconds: Vec::new() }
    }

    fn step(&mut self, images: &Tensor<2>) -> Option<()> {
        let model = self.model.take()?;
        let loss = model.forward(images.clone()).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-4, model, gradients));
        Some(())
    }
}

fn run() -> Result<(), String> {
    let options = Options::read(&["lenet_adam_128"], 40)?;
    let device = Device::flex().autodiff();
    let images = Tensor::<2>::random([128, 784], Distribution::Normal(0.0, 1.0), &device);
    let linear = |i, o| LinearConfig::new(i, o).init(&device);
    let model = Lenet { fc1: linear(784, 300), fc2: linear(300, 100), fc3: linear(100, 10) };
    let mut masked = model.clone();
    let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"";
    let pruner = Pruner::from_toml(recipe, &Plugins::linked()).map_err(|error| error.to_string())?;
    pruner.prune(&mut masked).map_err(|error| error.to_string())?;
    let (mut dense, mut masked) = (Run::new(model), Run::new(masked));
    for _ in 0..STEPS {
        dense.step(&images).zip(masked.step(&images)).ok_or("a step lost its model")?;
    }
    for _ in 0..options.rounds {
        let mut time = [0.0; 2];
        for _ in 0..STEPS {
            time[0] += seconds(|| dense.step(&images)).0;
            time[1] += seconds(|| masked.step(&images)).0;
        }
        dense.seconds.push(time[0] / STEPS as f64);
        masked.seconds.push(time[1] / STEPS as f64);
    }
    let ratio = median(dense.seconds.iter().zip(&masked.seconds).map(|(d, m)| m / d));
    let (dense, masked) = (median(dense.seconds.iter().copied()), median(masked.seconds.iter().copied()));
    if options.json {
        println!(
            r#"{{"bench": "step", "case": "lenet_adam_128", "ratio": {ratio:.4}, "dense_seconds": {dense:.6}, "masked_seconds": {masked:.6}}}"#
        );
    } else {
        println!(
            "dense step  {:.3} ms\nmasked step {:.3} ms\nratio       {ratio:.3} (bar 1.05)",
            1e3 * dense,
            1e3 * masked
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
