//! What pruning costs in training: LeNet-300-100, Adam, batch 128 and 60, on Flex.
//!
//! `cargo bench -p pruning-burn --bench training -- [--json] [--case 128] [--rounds N]`
//!
//! `mask_share` is the work of the masks by itself over the dense step: one product a weight forward, into memory of its own since the
//! weight stays, and one backward, into the gradient, which nobody else holds.
//! `epoch_ratio` is the masked step over the dense one. `idle_share` is a call of `Session::step` with nothing due, over the dense
//! step. A round takes as many of each, in three blocks: dense steps, masked steps, and the work of the masks after a dense step each;
//! numbers are medians over the rounds. A mask costs the same whatever it keeps.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use measure::{Options, median, seconds};
use pruning_allocation as _;
use pruning_burn::Pruner;
use pruning_burn::plugin::Plugins;
use pruning_magnitude as _;
use std::hint::black_box;
use std::process::ExitCode;

#[path = "../../pruning-core/sparse/benches/support/measure.rs"]
#[expect(dead_code, reason = "shared with benches that measure memory too")]
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEPS: usize = 20;
/// Batch, and the most that masks may add to its step.
const CASES: [(&str, usize, f64); 2] = [("128", 128, 0.05), ("60", 60, 0.08)];

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

/// What the masks add to a step, as [`PruningMask`](pruning_burn::mask::PruningMask) and Burn's autodiff do it.
struct MaskWork(Vec<[Tensor<2>; 3]>);

impl MaskWork {
    /// Of a model without autodiff.
    fn new(model: &Lenet) -> Self {
        let of = |weight: &Param<Tensor<2>>| {
            let mask = weight.val().not_equal_elem(0.0).float();
            [weight.val(), mask.clone(), mask + 1.0]
        };
        Self([&model.fc1.weight, &model.fc2.weight, &model.fc3.weight].map(of).into())
    }

    fn step(&mut self) {
        for [weight, mask, _] in &self.0 {
            // The weight stays, so this product has memory of its own.
            black_box(weight.clone() * mask.clone());
        }
        for [_, mask, gradient] in self.0.iter_mut().rev() {
            // The gradient has one owner, so this one has not.
            gradient.inplace(|gradient| gradient * mask.clone());
        }
    }
}

struct Run {
    model: Option<Lenet>,
    optimizer: ModuleOptimizer,
}

impl Run {
    fn new(model: Lenet) -> Self {
        Self { model: Some(model), optimizer: AdamConfig::new().init() }
    }

    fn step(&mut self, images: &Tensor<2>) -> Option<()> {
        let model = self.model.take()?;
        let loss = model.forward(images.clone()).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(1e-4, model, gradients));
        Some(())
    }
}

/// Seconds of a dense step, a masked one, the work of the masks, and a step of a session with nothing due.
fn rounds(batch: usize, rounds: usize) -> Result<Vec<[f64; 4]>, String> {
    let device = Device::flex().autodiff();
    let images = Tensor::<2>::random([batch, 784], Distribution::Normal(0.0, 1.0), &device);
    let linear = |i, o| LinearConfig::new(i, o).init(&device);
    let model = Lenet { fc1: linear(784, 300), fc2: linear(300, 100), fc3: linear(100, 10) };
    let mut pruned = model.clone();
    let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"\n\
                  grow = { criterion = \"random\", every = 1000000000, end = 2000000000 }";
    let pruner = Pruner::from_toml(recipe, &Plugins::linked()).map_err(|error| error.to_string())?;
    let mut session = pruner.start(&mut pruned).map_err(|error| error.to_string())?;
    session.step(&mut pruned, None).map_err(|error| error.to_string())?;
    let mut masks = MaskWork::new(&pruned.valid());
    masks.step();
    let (mut dense, mut sparse) = (Run::new(model), Run::new(pruned.clone()));
    for _ in 0..STEPS {
        dense.step(&images).zip(sparse.step(&images)).ok_or("a step lost its model")?;
    }
    let mut all = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut time = [0.0; 4];
        // In blocks: two networks in turn would drive each other out of the caches, which training one of them does not.
        for _ in 0..STEPS {
            time[0] += seconds(|| dense.step(&images)).0;
        }
        for _ in 0..STEPS {
            time[1] += seconds(|| sparse.step(&images)).0;
            let (idle, report) = seconds(|| session.step(&mut pruned, None));
            time[3] += idle;
            if report.map_err(|error| error.to_string())?.is_some() {
                return Err("nothing should be due".to_string());
            }
        }
        for _ in 0..STEPS {
            black_box(dense.step(&images));
            time[2] += seconds(|| masks.step()).0;
        }
        all.push(time.map(|t| t / STEPS as f64));
    }
    Ok(all)
}

fn run() -> Result<(), String> {
    let options = Options::read(&CASES.map(|(name, ..)| name), 40)?;
    for (_, batch, bar) in CASES.into_iter().filter(|(name, ..)| options.wants(name)) {
        let rounds = rounds(batch, options.rounds)?;
        let share = |i: usize| median(rounds.iter().map(|r| r[i] / r[0]));
        let dense = median(rounds.iter().map(|r| r[0]));
        let (ratio, masks, idle) = (share(1), share(2), share(3));
        if options.json {
            println!(
                r#"{{"bench": "training", "batch": {batch}, "mask_share": {masks:.4}, "epoch_ratio": {ratio:.4}, "idle_share": {idle:.6}, "dense_seconds": {dense:.6}}}"#
            );
        } else {
            println!(
                "batch {batch}: dense step {:.3} ms, masks {:.1} % of it (bar {:.0} %), masked step {ratio:.3} of it, a step with nothing \
                 due {:.3} %",
                1e3 * dense,
                100.0 * masks,
                100.0 * bar,
                100.0 * idle
            );
        }
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
