//! What it takes to remove half of the channels of ResNet-18, ResNet-50 and the encoder of BERT-base, on Flex.
//!
//! `cargo bench -p pruning-burn --bench shrink -- [--json] [--case NAME] [--rounds N]`
//!
//! Milliseconds, medians of the rounds. `plan` is what is independent of the number of weights: recording the forward,
//! following its channels, and a plan by the scales of norms (ResNet) or biases (BERT) alone. `score` is what a plan by the
//! weights takes longer. `total` is the whole call: record, plan by the weights, apply with its second record. `forward` is
//! one pass of the dense model, for comparison.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::{Device, Distribution, Tensor};
use measure::{Options, median, seconds};
use pruning_allocation as _;
use pruning_burn::Pruner;
use pruning_burn::plugin::Plugins;
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker};
use pruning_burn::trace::{Scope, Trace};
use pruning_magnitude as _;
use std::process::ExitCode;

#[path = "../../pruning-core/sparse/benches/support/measure.rs"]
#[expect(dead_code, reason = "shared with benches that measure memory too")]
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CASES: [&str; 3] = ["resnet18", "resnet50", "bert_base"];

#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let edge = kernel / 2;
        let conv = Conv2dConfig::new(channels, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(edge, edge, edge, edge))
            .with_bias(false)
            .init(device);
        Self { conv, norm: BatchNormConfig::new(channels[1]).init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
struct Block {
    layers: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            y = layer.forward(if i == 0 { y } else { relu(y) });
        }
        let x = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        relu(y + x)
    }
}

/// He et al. 2016, with the stride of a bottleneck in its middle, as torchvision has it.
#[derive(Module, Debug)]
struct ResNet {
    stem: ConvNorm,
    pool: MaxPool2d,
    blocks: Vec<Block>,
    mean: AdaptiveAvgPool2d,
    head: Linear,
}

impl ResNet {
    fn new(counts: [usize; 4], bottleneck: bool, device: &Device) -> Self {
        let mut blocks = Vec::new();
        let mut channels = 64;
        for (stage, count) in counts.into_iter().enumerate() {
            let width = 64 << stage;
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let (input, output) = (channels, if bottleneck { 4 * width } else { width });
                let layer = |channels, kernel, stride| ConvNorm::new(channels, kernel, stride, device);
                let layers = if bottleneck {
                    vec![layer([input, width], 1, 1), layer([width, width], 3, stride), layer([width, output], 1, 1)]
                } else {
                    vec![layer([input, width], 3, stride), layer([width, width], 3, 1)]
                };
                let shortcut = (input != output || stride > 1).then(|| layer([input, output], 1, stride));
                blocks.push(Block { layers, shortcut });
                channels = output;
            }
        }
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]);
        Self {
            stem: ConvNorm::new([3, 64], 7, 2, device),
            pool: pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(),
            blocks,
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            head: LinearConfig::new(channels, 1000).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.stem.forward(x)));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(self.mean.forward(x).flatten(1, 3))
    }
}

const WIDTH: usize = 768;
const HEADS: usize = 12;

#[derive(Module, Debug)]
struct EncoderLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm1: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    norm2: LayerNorm,
}

impl EncoderLayer {
    fn new(device: &Device) -> Self {
        let linear = |input, output| LinearConfig::new(input, output).init(device);
        let norm = || LayerNormConfig::new(WIDTH).init(device);
        Self {
            query: linear(WIDTH, WIDTH),
            key: linear(WIDTH, WIDTH),
            value: linear(WIDTH, WIDTH),
            output: linear(WIDTH, WIDTH),
            norm1: norm(),
            fc1: linear(WIDTH, 4 * WIDTH),
            fc2: linear(4 * WIDTH, WIDTH),
            norm2: norm(),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let heads = |x: Tensor<3>| {
            let [batch, length, width] = x.dims();
            x.reshape([batch, length, HEADS, width / HEADS]).swap_dims(1, 2)
        };
        let q = heads(self.query.forward(x.clone()));
        let k = heads(self.key.forward(x.clone()));
        let v = heads(self.value.forward(x.clone()));
        // The scale stays when heads become smaller, as the masked model has it.
        let weights = softmax(q.matmul(k.swap_dims(2, 3)).div_scalar(8.0), 3);
        let y = weights.matmul(v).swap_dims(1, 2);
        let [batch, length, _, size] = y.dims();
        let y = self.output.forward(y.reshape([batch, length, HEADS * size]));
        let x = self.norm1.forward(x + y);
        let y = self.fc2.forward(gelu(self.fc1.forward(x.clone())));
        self.norm2.forward(x + y)
    }
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<EncoderLayer>,
}

impl Encoder {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x))
    }
}

/// Milliseconds of one round.
#[derive(Default)]
struct Row {
    forward: Vec<f64>,
    trace: Vec<f64>,
    plan: Vec<f64>,
    score: Vec<f64>,
    apply: Vec<f64>,
    check: Vec<f64>,
    total: Vec<f64>,
    macs: f64,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn shrinker(include: Option<&str>) -> Result<Shrinker, String> {
    let mut recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5".to_string();
    if let Some(include) = include {
        recipe += &format!("\n[target]\ninclude = [\"{include}\"]");
    }
    Ok(Shrinker::new(&Pruner::from_toml(&recipe, &Plugins::linked()).map_err(text)?))
}

/// Times one model; `small` names parameters of one entry for each channel.
fn time<M: Module, const D: usize, const E: usize>(
    model: &M,
    shape: [usize; D],
    small: &str,
    rounds: usize,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> Result<Row, String> {
    let x = Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
    let recorded = |model: &M, scope: &mut Scope| {
        let x = scope.input(&x);
        scope.output(forward(model, x));
    };
    let (by_weights, by_scales) = (shrinker(None)?, shrinker(Some(small))?);
    let ms = |seconds: f64| 1e3 * seconds;
    let mut row = Row::default();
    for round in 0..=rounds {
        let mut smaller = model.clone();
        let forward = seconds(|| forward(model, x.clone()).into_data()).0;
        let (trace, recording) = seconds(|| Trace::record(model, recorded));
        let recording = recording.map_err(text)?;
        let (light, plan) = seconds(|| by_scales.plan(model, &recording, None));
        plan.map_err(text)?;
        let (heavy, plan) = seconds(|| by_weights.plan(model, &recording, None));
        let plan = plan.map_err(text)?;
        let (apply, applied) = seconds(|| shrink::apply(&plan, &mut smaller, |_: &mut M, _: &mut Fields| {}, recorded));
        let check = applied.map_err(text)?.check_time.as_secs_f64();
        let apply = apply - check;
        row.macs = plan.after.macs as f64 / plan.before.macs as f64;
        // The first round finds caches and allocator cold.
        if round > 0 {
            row.forward.push(ms(forward));
            row.trace.push(ms(trace));
            row.plan.push(ms(trace + light));
            row.score.push(ms(heavy - light));
            row.apply.push(ms(apply));
            row.check.push(ms(check));
            row.total.push(ms(trace + heavy + apply));
        }
    }
    Ok(row)
}

fn run() -> Result<(), String> {
    let options = Options::read(&CASES, 9)?;
    let device = Device::flex();
    if !options.json {
        println!(
            "{:<10} {:>8} {:>8} {:>8} {:>5} {:>8} {:>8} {:>8} {:>5} {:>8} {:>6}",
            "model", "forward", "trace", "plan", "bar", "score", "apply", "total", "bar", "check", "MACs"
        );
    }
    for (case, plan_bar, total_bar) in [(CASES[0], 20, 40), (CASES[1], 20, 90), (CASES[2], 50, 260)] {
        if !options.wants(case) {
            continue;
        }
        let picture = [1, 3, 224, 224];
        let resnet = |model: ResNet| time(&model, picture, "*.gamma", options.rounds, ResNet::forward);
        let row = match case {
            "resnet18" => resnet(ResNet::new([2, 2, 2, 2], false, &device)),
            "resnet50" => resnet(ResNet::new([3, 4, 6, 3], true, &device)),
            _ => {
                let model = Encoder { layers: (0..12).map(|_| EncoderLayer::new(&device)).collect() };
                time(&model, [1, 128, WIDTH], "*.bias", options.rounds, Encoder::forward)
            }
        }?;
        let Row { forward, trace, plan, score, apply, check, total, macs } = row;
        let [forward, trace, plan, score, apply, check, total] =
            [forward, trace, plan, score, apply, check, total].map(|v| median(v.into_iter()));
        if options.json {
            println!(
                r#"{{"bench": "shrink", "model": "{case}", "forward_ms": {forward:.3}, "trace_ms": {trace:.3}, "plan_ms": {plan:.3}, "score_ms": {score:.3}, "apply_ms": {apply:.3}, "check_ms": {check:.3}, "total_ms": {total:.3}, "macs_ratio": {macs:.4}}}"#
            );
        } else {
            println!(
                "{case:<10} {forward:>8.2} {trace:>8.2} {plan:>8.2} {plan_bar:>5} {score:>8.2} {apply:>8.2} {total:>8.2} {total_bar:>5} {check:>8.2} {macs:>6.3}"
            );
        }
    }
    if !options.json {
        println!("milliseconds, medians of {} rounds", options.rounds);
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
