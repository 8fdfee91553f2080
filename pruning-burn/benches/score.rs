//! What scoring costs: of weights alone, beside the selection; by gradients, beside the passes that make them. On Flex.
//!
//! `cargo bench -p pruning-burn --bench score -- [--json] [--case NAME] [--rounds N]`
//!
//! Single-threaded, medians of interleaved rounds. A criterion that looks at weights alone adds what `prune` takes with it, less what
//! `prune` takes with a criterion that does nothing, in units of RL: one streaming read of the same weights. The collecting of
//! gradients is compared with bare passes forward and backward over the same batches. `fpgm` and
//! `random` are not here: the one compares each output unit with all others, which is one pass over the layer for each; the other
//! draws a number for each weight, which takes longer than to read it.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use measure::{Options, Random, Round, median, seconds};
use pruning_allocation as _;
use pruning_burn::Pruner;
use pruning_burn::plugin::{Plugin, Plugins};
use pruning_burn::score::{Criterion, CriterionError, CriterionInputs, LayerView, Need, Order};
use pruning_magnitude as _;
use pruning_norm as _;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

#[path = "../../pruning-core/sparse/benches/support/measure.rs"]
#[expect(dead_code, reason = "shared with benches that measure memory too")]
mod measure;

// The system's allocator gives large buffers back at once, and the page faults would be most of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Scores that cost nothing: what `prune` takes with them is the selection alone.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

impl Plugin for Nothing {
    const NAME: &'static str = "bench.nothing";
    const SUMMARY: &'static str = "The weights as they are.";
}

impl Criterion for Nothing {
    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        Ok(layer.weight())
    }

    fn order(&self) -> Order {
        Order::Absolute
    }
}

pruning_burn::register_criterion!(Nothing);

/// The most streaming reads that a criterion may add, and the most that collecting may take of the bare passes.
const READS_BAR: f64 = 3.0;
const RATIO_BAR: f64 = 1.15;
const CRITERIA: [&str; 2] = ["magnitude", "l2_relative"];
const CASES: [&str; 4] = ["linear_4096", "conv_512", "lenet_300_100", "convnet"];
const BATCHES: usize = 8;

/// Layers whose memory is a matrix of columns (linear) or of rows (convolution).
#[derive(Module, Debug)]
struct Layers {
    linear: Vec<Linear>,
    conv: Vec<Conv2d>,
}

impl Layers {
    fn linear_4096() -> Self {
        let mut linear = LinearConfig::new(4096, 4096).with_bias(false).init(&Device::flex());
        linear.weight = param([4096, 4096]);
        Self { linear: vec![linear], conv: Vec::new() }
    }

    fn conv_512() -> Self {
        let mut conv = Conv2dConfig::new([512, 512], [3, 3]).with_bias(false).init(&Device::flex());
        conv.weight = param([512, 512, 3, 3]);
        Self { linear: Vec::new(), conv: vec![conv] }
    }
}

fn param<const D: usize>(shape: [usize; D]) -> Param<Tensor<D>> {
    let weights = Random(1).weights(shape.iter().product(), 0.02);
    Param::from_tensor(Tensor::from_data(TensorData::new(weights, shape), &Device::flex()))
}

fn flat<const D: usize>(tensor: Tensor<D>) -> burn::backend::flex::FlexTensor {
    tensor.try_into_primitive::<burn::backend::Flex>().expect("on Flex")
}

/// Streaming reads that each of [`CRITERIA`] adds.
fn weights(options: &Options, case: &str, model: &Layers) -> Result<(), String> {
    let pruner = |criterion: &str| {
        let recipe = format!("criterion = \"{criterion}\"\nsparsity = 0.9");
        Pruner::from_toml(&recipe, &Plugins::linked()).map_err(|error| error.to_string())
    };
    let nothing = pruner(Nothing::NAME)?;
    let criteria = CRITERIA.into_iter().map(pruner).collect::<Result<Vec<_>, _>>()?;
    let mut added = vec![Vec::new(); CRITERIA.len()];
    for _ in 0..options.rounds {
        // The weights where they are: the limit reads the same memory.
        let linear = model.linear.iter().map(|l| flat(l.weight.val()));
        let tensors: Vec<_> = linear.chain(model.conv.iter().map(|c| flat(c.weight.val()))).collect();
        let weights: Vec<&[f32]> = tensors.iter().map(|t| t.as_slice::<f32>().expect("contiguous")).collect();
        let time = |pruner: &Pruner| {
            // Once untimed: what the call before has left of the heap counts for neither.
            pruner.prune(&mut model.clone(), None).map_err(|error| error.to_string())?;
            let mut model = model.clone();
            let (round, report) = Round::time(&weights, || pruner.prune(&mut model, None));
            report.map(|_| round.reads()).map_err(|error| error.to_string())
        };
        for (pruner, added) in criteria.iter().zip(&mut added) {
            let alone = time(&nothing)?;
            added.push(time(pruner)? - alone);
        }
    }
    for (criterion, added) in CRITERIA.iter().zip(added) {
        let added = median(added.into_iter());
        if options.json {
            println!(
                r#"{{"bench": "score", "what": "weight", "case": "{case}", "criterion": "{criterion}", "added_reads": {added:.3}}}"#
            );
        } else {
            println!("{case:14} {criterion:12} adds {added:>6.2} reads (bar {READS_BAR})");
        }
    }
    Ok(())
}

#[derive(Module, Debug)]
struct Lenet {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Lenet {
    fn new(device: &Device) -> Self {
        let linear = |i, o| LinearConfig::new(i, o).init(device);
        Self { fc1: linear(784, 300), fc2: linear(300, 100), fc3: linear(100, 10) }
    }

    fn loss(&self, x: &Tensor<2>) -> Tensor<1> {
        self.fc3.forward(relu(self.fc2.forward(relu(self.fc1.forward(x.clone()))))).square().mean()
    }
}

#[derive(Module, Debug)]
struct Convnet {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    head: Linear,
}

impl Convnet {
    fn new(device: &Device) -> Self {
        let conv = |i, o| Conv2dConfig::new([i, o], [3, 3]).with_stride([2, 2]).init(device);
        let norm = |n| BatchNormConfig::new(n).init(device);
        let head = LinearConfig::new(64 * 7 * 7, 10).init(device);
        Self { conv1: conv(3, 32), norm1: norm(32), conv2: conv(32, 64), norm2: norm(64), head }
    }

    fn loss(&self, x: &Tensor<4>) -> Tensor<1> {
        let x = relu(self.norm1.forward(self.conv1.forward(x.clone())));
        let x = relu(self.norm2.forward(self.conv2.forward(x)));
        self.head.forward(x.flatten::<2>(1, 3)).square().mean()
    }
}

/// Time of collecting over time of the bare passes.
fn gradients<M: Module, B>(
    options: &Options,
    case: &str,
    batch: usize,
    model: &M,
    batches: &[B],
    loss: impl Fn(&M, &B) -> Tensor<1>,
) -> Result<(), String> {
    let mut ratios = Vec::new();
    let mut bare = Vec::new();
    // The first round warms up.
    for round in 0..=options.rounds {
        let passes = || batches.iter().for_each(|batch| drop(loss(model, batch).backward()));
        let collect = || CriterionInputs::new().with_gradients(model, Need::GRADIENT, batches, &loss);
        let passes = seconds(passes).0;
        let (collect, inputs) = seconds(collect);
        inputs.map_err(|error| error.to_string())?;
        if round > 0 {
            ratios.push(collect / passes);
            bare.push(passes);
        }
    }
    let (ratio, bare) = (median(ratios.into_iter()), median(bare.into_iter()));
    if options.json {
        println!(
            r#"{{"bench": "score", "what": "gradient", "model": "{case}", "batch": {batch}, "batches": {BATCHES}, "ratio": {ratio:.4}, "bare_seconds": {bare:.6}}}"#
        );
    } else {
        println!("{case:14} gradients take {ratio:.3} of the bare passes, {:.2} ms (bar {RATIO_BAR})", 1e3 * bare);
    }
    Ok(())
}

fn images<const D: usize>(shape: [usize; D], device: &Device) -> Vec<Tensor<D>> {
    (0..BATCHES).map(|_| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)).collect()
}

fn run() -> Result<(), String> {
    let options = Options::read(&CASES, 21)?;
    let device = Device::flex().autodiff();
    for (case, model) in [("linear_4096", Layers::linear_4096 as fn() -> Layers), ("conv_512", Layers::conv_512)] {
        if options.wants(case) {
            weights(&options, case, &model())?;
        }
    }
    if options.wants("lenet_300_100") {
        let batches = images([128, 784], &device);
        gradients(&options, "lenet_300_100", 128, &Lenet::new(&device), &batches, Lenet::loss)?;
    }
    if options.wants("convnet") {
        let batches = images([32, 3, 32, 32], &device);
        gradients(&options, "convnet", 32, &Convnet::new(&device), &batches, Convnet::loss)?;
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
