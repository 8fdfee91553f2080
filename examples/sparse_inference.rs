//! Zeros that pay: prunes LeNet-300-100 and LeNet-5 on MNIST and a stack of BERT-base layers, and measures how much smaller their files
//! are, and how much faster they run on this CPU.

use burn::module::Module;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use pruning_burn::Pruner;
use pruning_burn::mask::finish;
use pruning_burn::rounds::{IterativePruning, Round};
use pruning_burn::sparse::{Options as Compile, SparseModel};
use pruning_burn::store::{Compact, CompactReport, load, save};
use pruning_burn::trace::{Scope, Trace, Values};
use pruning_examples::lenet::Lenet300;
use pruning_examples::lenet5::Lenet5;
use pruning_examples::mnist::{Mnist, PIXELS, default_dir};
use pruning_examples::output::Output;
use pruning_examples::training::{Classifier, Rate, Trainer, Training};
use pruning_examples::{Failed, exit};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DENSE: Training = Training::new(6, Rate::Cosine(2e-3));
const RETRAIN: Training = Training::new(2, Rate::Cosine(1e-3));
/// Images to train on, and to test with, in a quick run.
const QUICK: (usize, usize) = (640, 500);
const BATCHES: [usize; 3] = [1, 8, 32];

/// Prunes networks, saves them in compact files, and runs them with sparse weights beside dense ones.
#[derive(Debug, Parser)]
struct Options {
    /// Only these: lenet_300_100, lenet_5, bert_90, bert_2_4; all by default.
    #[arg(long, value_name = "NAME", value_parser = ["lenet_300_100", "lenet_5", "bert_90", "bert_2_4"])]
    only: Vec<String>,
    /// Layers of the transformer, of width 768 with 12 heads.
    #[arg(long, default_value_t = 2)]
    layers: usize,
    /// Length of its sequences.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Of the weights at the start and the order of the images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Little training, a small transformer, few rounds: shows that it runs, and nothing about accuracy or speed.
    #[arg(long)]
    quick: bool,
    /// Folder for the files; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder with the four MNIST files, if not the ones that come with this example.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON lines and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let temporary = tempfile::tempdir()?;
    let folder = options.out.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let job = Job { options, folder, device: Device::flex(), output: Output::new(options.json) };
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|n| n == name);
    let image =
        |batch: usize, device: &Device| Tensor::random([batch, PIXELS], Distribution::Uniform(0.0, 1.0), device);
    if wanted("lenet_300_100") {
        let model = job.classifier("lenet_300_100", Lenet300::new, DENSE.epochs, (5, RETRAIN.epochs))?;
        job.measure("lenet_300_100", &model, Lenet300::new(&job.device), image, |m, x| m.forward(x))?;
    }
    if wanted("lenet_5") {
        let model = job.classifier("lenet_5", Lenet5::new, 1, (3, 1))?;
        job.measure("lenet_5", &model, Lenet5::new(&job.device), image, |m, x| m.forward(x))?;
    }
    let (layers, tokens) = if options.quick { (1, 8) } else { (options.layers, options.tokens) };
    let bert = |device: &Device| {
        let config = TransformerEncoderConfig::new(768, 3072, 12, layers).with_norm_first(false).with_dropout(0.0);
        config.init(device)
    };
    let text = |batch: usize, device: &Device| Tensor::random([batch, tokens, 768], Distribution::Default, device);
    let forward = |m: &TransformerEncoder, x: Tensor<3>| m.forward(TransformerEncoderInput::new(x));
    for (name, recipe) in [
        ("bert_90", "criterion = \"magnitude\"\nsparsity = 0.9"),
        ("bert_2_4", "criterion = \"magnitude\"\ngranularity = \"2:4\""),
    ] {
        if wanted(name) {
            job.device.seed(options.seed);
            let mut model = bert(&job.device);
            Pruner::from_toml(recipe, &pruning_plugins::all())?.prune(&mut model, None)?;
            job.measure(name, &model, bert(&job.device), text, forward)?;
        }
    }
    Ok(())
}

struct Job<'a> {
    options: &'a Options,
    folder: &'a Path,
    device: Device,
    output: Output,
}

impl Job<'_> {
    /// Trains, prunes 92 % of the weights in rounds of so many epochs, the last of twice as many, and says what it cost.
    fn classifier<M: Classifier>(
        &self,
        name: &str,
        new: impl FnOnce(&Device) -> M,
        epochs: usize,
        (rounds, each): (usize, usize),
    ) -> Result<M, Failed> {
        let device = self.device.clone().autodiff();
        device.seed(self.options.seed);
        let mut data = Mnist::load(self.options.data.as_deref().unwrap_or(&default_dir()))?;
        let (mut epochs, mut rounds, mut each) = (epochs, rounds, each);
        if self.options.quick {
            data = Mnist { train: data.train.split_at(QUICK.0).0, test: data.test.split_at(QUICK.1).0 };
            (epochs, rounds, each) = (1, 2, 1);
        }
        let recipe = format!(
            "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.92\nschedule = {{ kind = \"iterative\", rounds = {rounds} }}"
        );
        let pruner = Pruner::from_toml(&recipe, &pruning_plugins::all())?;
        let mut random = StdRng::seed_from_u64(self.options.seed);
        // One optimizer for all rounds, since no weight is set back.
        let (mut optimizer, mut retrain) = (DENSE.optimizer(), RETRAIN.optimizer());
        let train = |model: M, round: &mut Round| -> Result<M, Failed> {
            let (how, optimizer) = match round.number() {
                0 => (DENSE.with_epochs(epochs), &mut optimizer),
                number if number == round.last() => (RETRAIN.with_epochs(2 * each), &mut retrain),
                _ => (RETRAIN.with_epochs(each), &mut retrain),
            };
            Ok(Trainer::new(how, &data.train, &device, &mut random).with_optimizer(optimizer).run(model))
        };
        let mut model = new(&device);
        let history =
            IterativePruning::new(&pruner).run(&mut model, train, |model: &M| model.error(&data.test, &device))?;
        let dense = history.rounds[0].evaluation;
        let report = finish(&mut model)?;
        let sparse = model.error(&data.test, &device);
        self.output.say(&format!(
            "{name}: test error {dense:.2} % dense, {sparse:.2} % with {:.1} % of the weights removed",
            100.0 * report.sparsity()
        ));
        Ok(model.valid())
    }

    /// Files and latencies of a pruned model; `fresh` is one of the same sizes.
    fn measure<M: Module, const D: usize, const E: usize>(
        &self,
        name: &str,
        model: &M,
        mut fresh: M,
        input: impl Fn(usize, &Device) -> Tensor<D>,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<(), Failed> {
        let compact = self.folder.join(format!("{name}.safetensors"));
        let report = save(Compact(model), &compact)?;
        load(&compact)?.into_model(&mut fresh)?;
        self.files(name, &report, &compact)?;

        let batches = if self.options.quick { &BATCHES[..1] } else { &BATCHES[..] };
        let inputs: Vec<Tensor<D>> = batches.iter().map(|&batch| input(batch, &self.device)).collect();
        let record = |x: &Tensor<D>| {
            Trace::record(model, |m, s: &mut Scope| {
                let x = s.input(x);
                s.output(forward(m, x));
            })
        };
        let traces: Vec<Trace> = inputs.iter().map(record).collect::<Result<_, _>>()?;
        let budget = Duration::from_millis(if self.options.quick { 50 } else { 3000 });
        let compiled = SparseModel::compile(&traces, model, &Compile::new().with_budget(budget))?;
        self.output.say(&format!("{}", compiled.report()));
        // From here on without the module: what a server would load.
        let file = self.folder.join(format!("{name}.sparse.safetensors"));
        save(&compiled, &file)?;
        let sparse = load(&file)?.into_sparse_model()?;
        let sparsity = zeros(&report);
        for (&batch, x) in batches.iter().zip(&inputs) {
            let expected = forward(&fresh, x.clone());
            let found: Tensor<E> = sparse.run(Values::new().with(x.clone()))?.get(0)?;
            let apart = (found - expected).abs().max().into_scalar::<f32>();
            let gain = self.gain(
                || drop(forward(&fresh, x.clone()).into_data()),
                || sparse.run(Values::new().with(x.clone())).map(drop),
            )?;
            self.output.say(&format!(
                "{name}, batch {batch}: {gain:.2}x less time than `forward`, outputs differ by {apart:.1e} at most"
            ));
            let ratio = report.ratio();
            self.output.line(&json!({ "model": name, "batch": batch, "sparsity": sparsity, "bytes_ratio": ratio,
                "latency_gain": gain, "max_abs_diff": apart }));
        }
        self.output.say("");
        Ok(())
    }

    /// The table of bytes: dense, compact, and that compressed.
    fn files(&self, name: &str, report: &CompactReport, file: &Path) -> Result<(), Failed> {
        let compressed = zstd::encode_all(std::fs::read(file)?.as_slice(), 19)?.len();
        let dense = report.dense() as f64;
        self.output.say(&format!("{report}"));
        self.output.say(&format!(
            "{name}: {} bytes dense, {} compact ({:.1} %), {compressed} compact + zstd ({:.1} %)\n",
            report.dense(),
            report.file,
            100.0 * report.ratio(),
            100.0 * compressed as f64 / dense
        ));
        Ok(())
    }

    /// How many times less the second takes: one after the other in every round, medians.
    fn gain<E>(&self, mut dense: impl FnMut(), mut sparse: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
        let budget = Duration::from_millis(if self.options.quick { 50 } else { 4000 });
        let (mut all, start) = ([Vec::new(), Vec::new()], Instant::now());
        // The first runs find the caches cold.
        dense();
        sparse()?;
        for round in 0..2000 {
            if round >= 7 && start.elapsed() > budget {
                break;
            }
            let begin = Instant::now();
            dense();
            let middle = Instant::now();
            sparse()?;
            all[0].push((middle - begin).as_secs_f64());
            all[1].push(middle.elapsed().as_secs_f64());
        }
        let [dense, sparse] = all.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        Ok(dense / sparse)
    }
}

/// Fraction of all elements that are zero.
fn zeros(report: &CompactReport) -> f64 {
    let zeros: f64 = report.tensors.iter().map(|t| t.sparsity * t.dense as f64).sum();
    zeros / report.dense() as f64
}
