//! Time and memory from tensors to attached masks, on Flex, in units of RL: one streaming read of the same weights.
//!
//! `cargo bench -p pruning-burn --bench select -- [--json] [--case NAME] [--rounds N]`
//!
//! Single-threaded, as the same cases of `pruning-core` on host slices; what is more here is the way through Burn.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use measure::{Counting, Options, Random, Round};
use pruning_allocation as _;
use pruning_burn::Pruner;
use pruning_burn::plugin::Plugins;
use pruning_magnitude as _;
use std::process::ExitCode;

#[path = "../../pruning-core/sparse/benches/support/measure.rs"]
mod measure;

// The system's allocator gives large buffers back at once, and the page faults would be most of what is measured.
#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

#[derive(Module, Debug)]
struct Model {
    linear: Vec<Linear>,
    conv: Option<Conv2d>,
}

fn param<const D: usize>(random: &mut Random, shape: [usize; D], deviation: f64) -> Param<Tensor<D>> {
    let weights = random.weights(shape.iter().product(), deviation);
    Param::from_tensor(Tensor::from_data(TensorData::new(weights, shape), &Device::flex()))
}

fn linear(random: &mut Random, out: usize, fan_in: usize, deviation: f64) -> Linear {
    let mut linear = LinearConfig::new(fan_in, out).with_bias(false).init(&Device::flex());
    linear.weight = param(random, [fan_in, out], deviation);
    linear
}

fn linear_4096() -> Model {
    Model { linear: vec![linear(&mut Random(1), 4096, 4096, 0.02)], conv: None }
}

fn bert_base() -> Model {
    let mut random = Random(2);
    let shapes = measure::bert_base(&mut random);
    Model { linear: shapes.into_iter().map(|(out, i, d)| linear(&mut random, out, i, d)).collect(), conv: None }
}

fn conv_512() -> Model {
    let mut conv = Conv2dConfig::new([512, 512], [3, 3]).with_bias(false).init(&Device::flex());
    conv.weight = param(&mut Random(3), [512, 512, 3, 3], 0.02);
    Model { linear: Vec::new(), conv: Some(conv) }
}

/// What is measured. Names are an interface: the same as in `pruning-core`, with `_api`.
struct Case {
    name: &'static str,
    model: fn() -> Model,
    recipe: &'static str,
    kept: f64,
    bar: f64,
}

const CASES: [Case; 5] = [
    Case {
        name: "local_4096_50_api",
        model: linear_4096,
        recipe: "criterion = \"magnitude\"\nsparsity = 0.5",
        kept: 0.5,
        bar: 10.0,
    },
    Case {
        name: "local_4096_90_api",
        model: linear_4096,
        recipe: "criterion = \"magnitude\"\nsparsity = 0.9",
        kept: 0.1,
        bar: 10.0,
    },
    Case {
        name: "global_bert_90_api",
        model: bert_base,
        recipe: "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.9",
        kept: 0.1,
        bar: 10.0,
    },
    Case {
        name: "nm_2_4_4096_api",
        model: linear_4096,
        recipe: "criterion = \"magnitude\"\ngranularity = \"2:4\"",
        kept: 0.5,
        bar: 5.0,
    },
    Case {
        name: "channel_l2_conv512_api",
        model: conv_512,
        recipe: "criterion = { name = \"magnitude\", p = 2 }\ngranularity = \"channel\"\nsparsity = 0.5",
        kept: 0.5,
        bar: 10.0,
    },
];

struct Loaded<'a> {
    case: &'a Case,
    model: Model,
    pruner: Pruner,
    rounds: Vec<Round>,
}

impl Loaded<'_> {
    fn round(&mut self) {
        // The weights where they are: the limit reads the same memory.
        let linear = self.model.linear.iter().map(|l| flat(l.weight.val()));
        let tensors: Vec<_> = linear.chain(self.model.conv.iter().map(|c| flat(c.weight.val()))).collect();
        let weights: Vec<&[f32]> = tensors.iter().map(|t| t.as_slice::<f32>().expect("contiguous")).collect();
        let mut model = self.model.clone();
        let (round, report) = Round::time(&weights, || self.pruner.prune(&mut model, None));
        let report = report.expect("the weights are finite and the budget is within reach");
        assert_eq!(report.kept(), (self.case.kept * report.weights() as f64).round_ties_even() as usize);
        self.rounds.push(round);
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> burn::backend::flex::FlexTensor {
    tensor.try_into_primitive::<burn::backend::Flex>().expect("on Flex")
}

fn run() -> Result<(), String> {
    let options = Options::read(&CASES.map(|c| c.name), 21)?;
    let mut loaded = Vec::new();
    for case in CASES.iter().filter(|c| options.wants(c.name)) {
        let pruner = Pruner::from_toml(case.recipe, &Plugins::linked()).map_err(|error| error.to_string())?;
        loaded.push(Loaded { case, model: (case.model)(), pruner, rounds: Vec::new() });
    }
    for _ in 0..options.rounds {
        loaded.iter_mut().for_each(Loaded::round);
    }
    let bytes = |l: &Loaded<'_>| 4 * l.model.num_params();
    let rows: Vec<_> = loaded.iter().map(|l| (l.case.name, l.case.bar, bytes(l), &l.rounds[..])).collect();
    measure::print(&options, 1, &rows);
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
