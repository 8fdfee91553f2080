//! A language model of characters: trains a small GPT, prunes it without any training after that, and measures what it still predicts.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use clap::Parser;
use pruning_burn::Pruner;
use pruning_burn::analyze::sensitivity::{Scan, Sensitivity};
use pruning_burn::mask::finish;
use pruning_burn::store::{load, save};
use pruning_examples::gpt::{Gpt, GptSize, GptTraining, windows};
use pruning_examples::output::Output;
use pruning_examples::text::Text;
use pruning_examples::variants::{Settings, VARIANTS, What};
use pruning_examples::{Failed, exit};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The network of nanoGPT's example for a CPU, and its training.
const SIZE: GptSize = GptSize { layers: 4, width: 128, heads: 4, context: 64 };
const STEPS: usize = 2000;
const QUICK_SIZE: GptSize = GptSize { layers: 2, width: 32, heads: 2, context: 16 };
const QUICK_STEPS: usize = 100;
const BATCH: usize = 12;
/// Ways of pruning: a name, and the variant whose recipe it is.
const WAYS: [(&str, &str); 11] = [
    ("magnitude", "magnitude_layer"),
    ("sensitivity", "magnitude_layer"),
    ("wanda", "wanda_row"),
    ("owl", "owl"),
    ("sparsegpt", "sparsegpt"),
    ("wanda_obs", "wanda_obs"),
    ("wanda_exact", "wanda_exact"),
    ("sensitivity_obs", "wanda_obs"),
    ("magnitude_2_4", "magnitude_2_4"),
    ("wanda_2_4", "wanda_2_4"),
    ("sparsegpt_2_4", "sparsegpt_2_4"),
];
/// Sonnet 18 by William Shakespeare, for a run without a file.
const SONNET: &str = include_str!("data/sonnet.txt");

/// Trains a small GPT on a text, or loads what it trained, prunes it, and prints losses and what it writes.
#[derive(Debug, Parser)]
struct Options {
    /// The text, as UTF-8; a sonnet with --quick.
    #[arg(long, value_name = "FILE", required_unless_present = "quick")]
    data: Option<PathBuf>,
    /// File of the trained network: loaded if it is there, otherwise written after the training.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Its seed is also that of the weights at the start, and of the order of the text.
    #[command(flatten)]
    settings: Settings,
    /// Steps of training.
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// Of the weights of the blocks; may be several, with commas.
    #[arg(long, value_delimiter = ',', default_values_t = [0.5, 0.6, 0.7])]
    sparsity: Vec<f64>,
    /// Only these ways of pruning; may be repeated. All by default.
    #[arg(long, value_name = "VARIANT")]
    only: Vec<String>,
    /// Windows of the training text that criteria and reconstructions look at.
    #[arg(long, default_value_t = 512)]
    calibration: usize,
    /// Characters of each sample.
    #[arg(long, default_value_t = 300)]
    sample: usize,
    /// A tiny network and a short training: shows that it runs, in seconds.
    #[arg(long)]
    quick: bool,
    /// Print JSON lines and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let size = if options.quick { QUICK_SIZE } else { SIZE };
    let text = match &options.data {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => SONNET.to_string(),
    };
    let text = Text::new(&text, size.context + 1)?;
    let job = Job::new(options, size, &text);
    let dense = job.model()?;
    let dense_loss = dense.mean_loss(&job.validation);
    job.tell("dense", (0.0, 0.0), dense_loss, dense_loss);
    job.sample(&dense);
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|n| n == name);
    let mut scan = None;
    for (name, variant) in WAYS.into_iter().filter(|(name, _)| wanted(name)) {
        let Some(variant) = VARIANTS.iter().find(|v| v.name == variant) else { continue };
        let sparsities = if variant.what == What::Pattern { variant.what.sparsities() } else { &options.sparsity };
        for &sparsity in sparsities {
            let recipe = variant.recipe(sparsity, size.layers, options.settings);
            let mut pruner = Pruner::from_toml(&recipe, &pruning_plugins::all())?;
            // The sparsity of each layer goes with any criterion and reconstruction.
            if name.starts_with("sensitivity") {
                let found = match &scan {
                    Some(found) => found,
                    None => scan.insert(job.scan(&dense)?),
                };
                pruner = found.suggest_for(sparsity)?.apply(&pruner);
            }
            let mut pruned = dense.clone();
            let achieved = job.prune(&pruner, &mut pruned)?;
            job.tell(name, (sparsity, achieved), pruned.mean_loss(&job.validation), dense_loss);
            job.sample(&pruned);
        }
    }
    Ok(())
}

struct Job<'a> {
    options: &'a Options,
    size: GptSize,
    text: &'a Text,
    device: Device,
    /// The whole validation part, in batches of windows.
    validation: Vec<Tensor<2, Int>>,
    /// Windows of the training part, for all that looks at data.
    calibration: Vec<Tensor<2, Int>>,
    output: Output,
}

impl<'a> Job<'a> {
    fn new(options: &'a Options, size: GptSize, text: &'a Text) -> Self {
        let device = Device::flex();
        let batches = |all: &[&[u8]]| all.chunks(64).map(|some| windows(some.iter().copied(), &device)).collect();
        let validation = batches(&text.validation(size.context + 1));
        // The same windows for every training.
        let count = if options.quick { 16 } else { options.calibration };
        let calibration = batches(&text.draw(count, size.context + 1, &mut StdRng::seed_from_u64(0)));
        Self { options, size, text, device, validation, calibration, output: Output::new(options.json) }
    }

    /// The network of the file, or one that is trained and written to it.
    fn model(&self) -> Result<Gpt, Failed> {
        let training = self.device.clone().autodiff();
        training.seed(self.options.settings.seed);
        let vocabulary = self.text.characters.len();
        let file = self.options.model.as_deref();
        if let Some(file) = file.filter(|file| file.exists()) {
            let mut model = Gpt::new(self.size, vocabulary, &self.device);
            load(file)?.into_model(&mut model)?;
            return Ok(model);
        }
        let steps = if self.options.quick { QUICK_STEPS } else { self.options.steps };
        let start = Instant::now();
        let how = GptTraining { steps, batch: BATCH, seed: self.options.settings.seed };
        let model = Gpt::new(self.size, vocabulary, &training);
        let model = how.run(model, self.text, &training, &self.output.bar("training")).valid();
        let seconds = start.elapsed().as_secs_f64();
        self.output.say(&format!("trained {} parameters in {steps} steps, {seconds:.0} s", model.num_params()));
        if let Some(file) = file {
            save(&model, file)?;
        }
        Ok(model)
    }

    /// Prunes by what the network sees of the training part, if the recipe looks at that. Returns the fraction removed.
    fn prune(&self, pruner: &Pruner, model: &mut Gpt) -> Result<f64, Failed> {
        let report = if pruner.needs().is_empty() {
            pruner.prune(model, None)?
        } else {
            pruner.prune_with(model, &self.calibration, |model, windows, scope| {
                // All but the last character, which the network predicts and does not see.
                let [count, length] = windows.dims();
                let seen = scope.input(&windows.clone().slice([0..count, 0..length - 1]));
                scope.output(model.forward(seen));
            })?
        };
        finish(model)?;
        Ok(report.sparsity())
    }

    /// The loss with each layer pruned alone by magnitude, on windows of the training part.
    fn scan(&self, model: &Gpt) -> Result<Sensitivity, Failed> {
        let recipe = "criterion = \"magnitude\"\nsparsity = 0.5\ntarget = { include = [\"encoder\"] }";
        let pruner = Pruner::from_toml(recipe, &pruning_plugins::all())?;
        let batches = &self.calibration[..self.calibration.len().min(2)];
        let scan = Scan::new(&pruner).with_sparsities([0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]);
        Ok(scan.run(model, |model| model.mean_loss(batches))?)
    }

    fn tell(&self, variant: &str, (sparsity, achieved): (f64, f64), loss: f64, dense_loss: f64) {
        let (seed, perplexity) = (self.options.settings.seed, loss.exp());
        let percent = 100.0 * achieved;
        self.output.say(&format!("{variant:16} {percent:5.1} % removed  {loss:.3} nats  perplexity {perplexity:6.2}"));
        self.output
            .line(&json!({ "variant": variant, "sparsity": sparsity, "achieved": achieved, "seed": seed, "loss": loss,
            "dense_loss": dense_loss, "perplexity": perplexity }));
    }

    fn sample(&self, model: &Gpt) {
        if self.options.json || self.options.sample == 0 {
            return;
        }
        let first = self.text.encode("\n").first().copied().unwrap_or(0);
        let drawn = model.sample(first, self.options.sample, self.options.settings.seed, &self.device);
        let lines = self.text.decode(&drawn).trim().replace('\n', "\n    ");
        self.output.say(&format!("\n    {lines}\n"));
    }
}
