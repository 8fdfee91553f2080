//! Removing channels for good: trains a residual network on MNIST, takes half of its channels away, trains on, and measures
//! how much smaller and faster that made it, and what it cost.

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use pruning_burn::Pruner;
use pruning_burn::shrink;
use pruning_burn::shrink::{Factor, Fields, RoundTo, ShrinkPlan, Shrinker, cut_optimizer, verify};
use pruning_burn::trace::{AxisRules, Scope, Trace};
use pruning_examples::mnist::{Mnist, PIXELS, default_dir};
use pruning_examples::output::Output;
use pruning_examples::resnet::{CHANNELS, ResNet};
use pruning_examples::training::{Classifier, Rate, Trainer, Training};
use pruning_examples::{Failed, device, exit};
use pruning_report::Page;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DENSE: Training = Training::new(1, Rate::Cosine(3e-3));
const RETRAIN: Training = Training::new(1, Rate::Cosine(1e-3));
/// Images to train on, and to test with, in a quick run.
const QUICK: (usize, usize) = (640, 500);
/// Images on which the masked and the smaller model must agree.
const AGREE: usize = 64;
/// Sizes of the batches that are timed.
const TIMED: [usize; 2] = [1, 8];

/// Trains a residual network on MNIST, removes half of its channels, trains on, and measures both.
#[derive(Debug, Parser)]
struct Options {
    /// The recipe, a TOML file of granularity `channel`.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// flex, ndarray or wgpu; the latter two need the feature of that name.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Of the weights at the start and the order of the images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Epochs before channels are removed.
    #[arg(long, default_value_t = DENSE.epochs)]
    epochs: usize,
    /// Epochs after that.
    #[arg(long, default_value_t = RETRAIN.epochs)]
    retrain: usize,
    /// A few batches and images: shows that it runs, and nothing about accuracy.
    #[arg(long)]
    quick: bool,
    /// Folder with the four MNIST files, if not the ones that come with this example.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write a page of what was done to this file, as HTML, or as JSON if its name ends so.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON lines and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let shrinker = shrinker(options)?;
    if let Some(folder) = options.report.as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut job = Job::new(options)?;
    let model = ResNet::new(&CHANNELS, &job.device);
    let one = job.images(1);
    let trace = Trace::record(&model, forward(&one))?;
    // Before the first epoch: a recipe that does not fit the model fails here.
    shrinker.plan(&model, &trace, None)?;

    let mut optimizer = DENSE.optimizer();
    let dense = job.train(model, &mut optimizer, DENSE.with_epochs(options.epochs), "dense");
    let dense_error = dense.error(&job.data.test, &job.device);
    job.tell("dense", dense_error, &trace);

    // The weights are trained: now the plan is made by them.
    let plan = shrinker.plan(&dense, &trace, None)?;
    job.tell_plan(&plan);
    let mut masked = dense.clone();
    shrink::mask(&plan, &mut masked)?;
    let mut optimizer = cut_optimizer(&plan, &dense, &optimizer)?;
    let mut pruned = dense.clone();
    shrink::apply(&plan, &mut pruned, |_: &mut ResNet, _: &mut Fields| {}, forward(&one))?;
    // With masks on, the dense network computes what the smaller one does, which shows that the right channels went.
    let apart = verify(&masked, &pruned, forward(&job.images(AGREE)))?;
    job.output.say(&format!("masked and smaller network differ by {:.1e} at most\n", apart.max_abs));

    let raw_error = pruned.error(&job.data.test, &job.device);
    job.output.say(&format!("half of the channels removed: test error {raw_error:.2} %"));
    job.output.line(&json!({ "removed": { "error": raw_error, "max_abs": apart.max_abs, "max_rel": apart.max_rel } }));
    let pruned = job.train(pruned, &mut optimizer, RETRAIN.with_epochs(options.retrain), "smaller");
    let pruned_error = pruned.error(&job.data.test, &job.device);
    let smaller = Trace::record(&pruned, forward(&one))?;
    job.tell("smaller", pruned_error, &smaller);

    let gains = job.latencies(&dense, &pruned, if options.quick { 5 } else { 60 });
    let ratio = |after: u64, before: u64| after as f64 / before as f64;
    let parameters = ratio(plan.after.parameters, plan.before.parameters);
    let macs = ratio(plan.after.macs, plan.before.macs);
    job.output.say(&format!(
        "\ndense error      {dense_error:.2} %\npruned error     {pruned_error:.2} %\nparameters       {:.1} %\n\
         MACs             {:.1} %, {:.2}x fewer\nlatency          {:.2}x less at batch 1, {:.2}x at batch 8",
        100.0 * parameters,
        100.0 * macs,
        1.0 / macs,
        gains[0],
        gains[1],
    ));
    job.output.line(&json!({ "summary": { "dense_error": dense_error, "pruned_error": pruned_error, "params_ratio": parameters,
        "macs_ratio": macs, "latency_gain_b1": gains[0], "latency_gain_b8": gains[1], "verify_max_abs": apart.max_abs } }));
    if let Some(file) = &options.report {
        let percent = |error: f64| format!("{error:.2} %");
        let page = Page::new("A residual network on MNIST without half of its channels")
            .with_fact("Test error, dense", percent(dense_error))
            .with_fact("Test error, channels removed", percent(raw_error))
            .with_fact("Test error, trained again", percent(pruned_error))
            .with_verify(apart);
        let page = TIMED
            .iter()
            .zip(gains)
            .fold(page, |page, (batch, gain)| page.with_fact(format!("Speed at batch {batch}"), format!("{gain:.2}x")));
        let groups = trace.groups(Factor::Inner, &AxisRules::new())?;
        let (before, after) = (trace.costs(), smaller.costs());
        page.with_plan(&plan).with_groups(&groups).with_costs(&before, &after).save(file)?;
    }
    Ok(())
}

fn shrinker(options: &Options) -> Result<Shrinker, Failed> {
    let text = match &options.recipe {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => include_str!("recipes/shrink.toml").to_string(),
    };
    let pruner = Pruner::from_toml(&text, &pruning_plugins::all())?;
    match pruner.needs() {
        needs if needs.is_empty() => Ok(Shrinker::new(&pruner).with_round_to(RoundTo::Device)),
        needs => Err(format!("the criterion of the recipe needs: {needs}; this example scores weights alone").into()),
    }
}

/// What is traced, and compared: the whole network.
fn forward(images: &Tensor<2>) -> impl Fn(&ResNet, &mut Scope) {
    move |model, scope| {
        let images = scope.input(images);
        scope.output(model.forward(images));
    }
}

/// The data and the device of one run, and what it prints.
struct Job {
    data: Mnist,
    device: Device,
    random: StdRng,
    output: Output,
}

impl Job {
    fn new(options: &Options) -> Result<Self, Failed> {
        let device = device::by_name(&options.device)?;
        device.seed(options.seed);
        let mut data = Mnist::load(options.data.as_deref().unwrap_or(&default_dir()))?;
        if options.quick {
            data = Mnist { train: data.train.split_at(QUICK.0).0, test: data.test.split_at(QUICK.1).0 };
        }
        let random = StdRng::seed_from_u64(options.seed);
        Ok(Self { data, device: device.autodiff(), random, output: Output::new(options.json) })
    }

    /// The first images of the test set, for a forward pass without gradients.
    fn images(&self, count: usize) -> Tensor<2> {
        let pixels = TensorData::new(self.data.test.pixels(0..count), [count, PIXELS]);
        Tensor::from_data(pixels, &self.device.clone().without_autodiff())
    }

    fn train(&mut self, model: ResNet, optimizer: &mut ModuleOptimizer, how: Training, name: &str) -> ResNet {
        Trainer::new(how, &self.data.train, &self.device, &mut self.random)
            .with_optimizer(optimizer)
            .with_bar(self.output.bar(name))
            .run(model)
    }

    fn tell(&self, name: &str, error: f64, trace: &Trace) {
        let costs = trace.costs();
        let (parameters, macs) = (costs.parameters, costs.macs());
        self.output.say(&format!("{name}: test error {error:.2} %, {parameters} parameters, {macs} MACs an image\n"));
        self.output.line(&json!({ name: { "error": error, "parameters": parameters, "macs": macs } }));
    }

    fn tell_plan(&self, plan: &ShrinkPlan) {
        self.output.say(&format!("{plan}\n"));
        for group in &plan.groups {
            self.output.line(&json!({ "group": { "path": group.path, "units": group.units, "kept": group.kept } }));
        }
    }

    /// How many times faster the smaller network is, for each size of a batch: a forward pass of either in turn, medians.
    fn latencies(&self, dense: &ResNet, pruned: &ResNet, rounds: usize) -> [f64; 2] {
        let models = [dense.valid(), pruned.valid()];
        TIMED.map(|batch| {
            let images = self.images(batch);
            let time = |model: &ResNet| {
                let start = Instant::now();
                // Reading the result waits for the device.
                let _ = model.forward(images.clone()).into_data();
                1e3 * start.elapsed().as_secs_f64()
            };
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..rounds + rounds.div_ceil(5) {
                let pair = models.each_ref().map(&time);
                // The first ones find the caches cold.
                if round >= rounds.div_ceil(5) {
                    pair.into_iter().zip(&mut times).for_each(|(time, times)| times.push(time));
                }
            }
            let [dense, pruned] = times.map(median);
            let gain = dense / pruned;
            self.output.say(&format!("batch {batch}: {dense:.2} ms -> {pruned:.2} ms, {gain:.2}x less"));
            self.output
                .line(&json!({ "latency": { "batch": batch, "dense_ms": dense, "pruned_ms": pruned, "gain": gain } }));
            gain
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
