//! What each layer of LeNet-300-100 can lose, and whether sparsities chosen by it beat the same sparsity everywhere.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use pruning_burn::Pruner;
use pruning_burn::distillation::Distillation;
use pruning_burn::sensitivity::{Scan, Sensitivity, Suggestion};
use pruning_examples::exit;
use pruning_examples::lenet::Lenet300;
use pruning_examples::mnist::{Mnist, PIXELS, Split, default_dir};
use pruning_examples::sensitivity_picture::draw;
use pruning_examples::training::{Classifier, Training};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Images at the end of the training set that nothing is trained on: sensitivities are measured by them.
const VALIDATION: usize = 5000;
const DENSE: Training = Training { batch: 128, rate: 2e-3, decay: 0.05 };
const RETRAIN: Training = Training { batch: 128, rate: 1e-3, decay: 0.05 };

/// Scans LeNet-300-100 layer by layer, and compares sparsities chosen by that with uniform ones.
#[derive(Debug, Parser)]
struct Options {
    /// Of all weights together, in both recipes.
    #[arg(long, default_value_t = 0.95)]
    sparsity: f64,
    /// Networks: one for each seed from 1 on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Epochs of training.
    #[arg(long, default_value_t = 6)]
    epochs: usize,
    /// Epochs of training after the pruning.
    #[arg(long, default_value_t = 3)]
    retrain: usize,
    /// Threads that evaluate during the scan.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Train after the pruning with the dense network as teacher.
    #[arg(long)]
    distill: bool,
    /// One seed, few images, one epoch: shows that it runs, in seconds.
    #[arg(long)]
    quick: bool,
    /// Folder for the pictures and the results of the scans.
    #[arg(long, value_name = "DIR", default_value = "out/sensitivity")]
    out: PathBuf,
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

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let text = format!("criterion = \"magnitude\"\nallocator = \"uniform\"\nsparsity = {}", options.sparsity);
    let uniform = Pruner::from_toml(&text, &pruning_plugins::all())?;
    let Mnist { train, test } = Mnist::load(options.data.as_deref().unwrap_or(&default_dir()))?;
    let at = train.len() - VALIDATION;
    let (mut train, mut validation) = train.split_at(at);
    if options.quick {
        (train, validation) = (train.split_at(6000).0, validation.split_at(1000).0);
    }
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    let job = Job { options, train, validation, test, device: Device::flex().autodiff(), uniform };
    let seeds = if options.quick { 1 } else { options.seeds };
    let compared = (1..=seeds).map(|seed| job.seed(seed)).collect::<Result<Vec<_>, _>>()?;
    job.summary(&compared, start.elapsed().as_secs_f64());
    Ok(())
}

struct Job<'a> {
    options: &'a Options,
    train: Split,
    validation: Split,
    test: Split,
    device: Device,
    uniform: Pruner,
}

/// Test errors in percent, right after the pruning and after the training that follows.
#[derive(Clone, Copy, Debug)]
struct Errors {
    pruned: f64,
    retrained: f64,
}

#[derive(Debug)]
struct Compared {
    dense: f64,
    suggested: Errors,
    uniform: Errors,
    total: f64,
}

impl Job<'_> {
    fn say(&self, text: &str) {
        if !self.options.json {
            println!("{text}");
        }
    }

    fn line(&self, value: &Value) {
        if self.options.json {
            println!("{value}");
        }
    }

    fn seed(&self, seed: u64) -> Result<Compared, Box<dyn Error>> {
        self.device.seed(seed);
        let epochs = if self.options.quick { 1 } else { self.options.epochs };
        let dense = self.train(Lenet300::new(&self.device), &DENSE, epochs, seed, None)?;
        let error = dense.error(&self.test, &self.device);
        self.say(&format!("seed {seed}: dense, test error {error:.2} %\n"));

        let found = self.scan(&dense)?;
        self.say(&format!("cross entropy of the {} images held out\n{found}\n", self.validation.len()));
        for layer in &found.layers {
            for point in &layer.points {
                self.line(&json!({ "sensitivity": layer.path, "sparsity": point.sparsity, "value": point.value,
                    "dense": found.dense, "seed": seed }));
            }
        }
        let suggested = found.suggest_for(self.options.sparsity)?;
        let picture = self.write(seed, &found, &suggested)?;
        self.say(&format!("suggested for {} of all weights\n{}", self.options.sparsity, suggested.to_toml()));
        self.say(&format!("picture  {}\n", picture.display()));

        let (suggested, total) = self.pruned(&suggested.apply(&self.uniform), &dense, seed)?;
        let (uniform, same) = self.pruned(&self.uniform, &dense, seed)?;
        if (total - same).abs() > 1e-4 {
            return Err(format!("the recipes remove {total} and {same} of the weights: no comparison").into());
        }
        for (name, errors) in [("suggested", suggested), ("uniform", uniform)] {
            let Errors { pruned, retrained } = errors;
            self.say(&format!("{name:9}  {pruned:.2} % pruned  {retrained:.2} % trained again"));
            self.line(&json!({ "recipe": name, "seed": seed, "total_sparsity": total, "dense_error": error,
                "pruned_error": pruned, "retrained_error": retrained }));
        }
        self.say("");
        Ok(Compared { dense: error, suggested, uniform, total })
    }

    fn scan(&self, model: &Lenet300) -> Result<Sensitivity, Box<dyn Error>> {
        let plain = self.device.clone().without_autodiff();
        let starts = (0..self.validation.len()).step_by(1000);
        let batches: Vec<_> = starts
            .map(|start| {
                let indices: Vec<usize> = (start..(start + 1000).min(self.validation.len())).collect();
                let (pixels, labels) = self.validation.gather(&indices);
                let images = Tensor::<2>::from_data(TensorData::new(pixels, [indices.len(), PIXELS]), &plain);
                (images, Tensor::<1, Int>::from_data(TensorData::new(labels, [indices.len()]), &plain))
            })
            .collect();
        let cross_entropy = CrossEntropyLossConfig::new().init(&plain);
        let loss = |model: &Lenet300| {
            let model = model.valid();
            let sum: f64 = (batches.iter())
                .map(|(images, labels)| {
                    let loss = cross_entropy.forward(model.forward(images.clone()), labels.clone());
                    loss.into_scalar::<f64>() * labels.dims()[0] as f64
                })
                .sum();
            sum / self.validation.len() as f64
        };
        let bar = self.bar(0, "scan");
        let mut scan = Scan::new(&self.uniform).with_threads(self.options.threads).on_progress(|progress| {
            bar.set_length(progress.total as u64);
            bar.inc(1);
        });
        if self.options.quick {
            scan = scan.with_sparsities([0.5, 0.8, 0.9, 0.95, 0.99]);
        }
        let found = scan.run(model, loss)?;
        bar.finish_and_clear();
        Ok(found)
    }

    fn write(&self, seed: u64, found: &Sensitivity, suggested: &Suggestion) -> Result<PathBuf, Box<dyn Error>> {
        let data = self.options.out.join(format!("sensitivity-{seed}.json"));
        std::fs::write(&data, serde_json::to_string_pretty(found)?)
            .map_err(|error| format!("{}: {error}", data.display()))?;
        let picture = self.options.out.join(format!("sensitivity-{seed}.svg"));
        draw(&picture, found, suggested, "cross entropy")?;
        Ok(picture)
    }

    fn pruned(&self, pruner: &Pruner, dense: &Lenet300, seed: u64) -> Result<(Errors, f64), Box<dyn Error>> {
        let mut model = dense.clone();
        let report = pruner.prune(&mut model)?;
        let pruned = model.error(&self.test, &self.device);
        let epochs = if self.options.quick { 1 } else { self.options.retrain };
        let teacher = self.options.distill.then_some(dense);
        let model = self.train(model, &RETRAIN, epochs, seed, teacher)?;
        Ok((Errors { pruned, retrained: model.error(&self.test, &self.device) }, report.sparsity()))
    }

    fn train(
        &self,
        mut model: Lenet300,
        how: &Training,
        epochs: usize,
        seed: u64,
        teacher: Option<&Lenet300>,
    ) -> Result<Lenet300, Box<dyn Error>> {
        let bar = self.bar(epochs * self.train.len().div_ceil(how.batch), "training");
        let (mut optimizer, mut random) = (how.optimizer(), StdRng::seed_from_u64(seed));
        let tick = || bar.inc(1);
        let teacher = teacher.map(Lenet300::valid);
        let cross_entropy = CrossEntropyLossConfig::new().init(&self.device);
        let distillation = Distillation::default();
        let loss = |model: &Lenet300, images: Tensor<2>, labels: Tensor<1, Int>| match &teacher {
            None => cross_entropy.forward(model.forward(images), labels),
            Some(teacher) => {
                let wanted = teacher.forward(images.clone().without_autodiff());
                distillation.loss(model.forward(images), wanted, labels).expect("one shape, and a temperature above 0")
            }
        };
        for epoch in 0..epochs {
            let at = (epoch, epochs);
            let device = &self.device;
            model = how.epoch_by(model, &mut optimizer, &self.train, at, &mut random, device, &tick, &loss);
        }
        bar.finish_and_clear();
        Ok(model)
    }

    fn bar(&self, length: usize, name: &str) -> ProgressBar {
        let bar = match std::io::stderr().is_terminal() && !self.options.json {
            true => ProgressBar::new(length as u64),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:14} {bar:40} {percent:>3} % {eta_precise}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        bar
    }

    fn summary(&self, compared: &[Compared], seconds: f64) {
        let mean = |value: &dyn Fn(&Compared) -> f64| compared.iter().map(value).sum::<f64>() / compared.len() as f64;
        let total = mean(&|c| c.total);
        let dense = mean(&|c| c.dense);
        let (suggested, uniform) = (mean(&|c| c.suggested.pruned), mean(&|c| c.uniform.pruned));
        let (suggested_again, uniform_again) = (mean(&|c| c.suggested.retrained), mean(&|c| c.uniform.retrained));
        self.say(&format!(
            "mean over {} seeds, {:.2} % of the weights removed, dense {dense:.2} %\n\
             suggested  {suggested:.2} % pruned  {suggested_again:.2} % trained again\n\
             uniform    {uniform:.2} % pruned  {uniform_again:.2} % trained again\ntime       {seconds:.0} s",
            compared.len(),
            100.0 * total
        ));
        self.line(&json!({ "summary": { "total_sparsity": total, "dense_error": dense, "suggested_error": suggested,
            "uniform_error": uniform, "suggested_retrained_error": suggested_again,
            "uniform_retrained_error": uniform_again, "seeds": compared.len(), "distilled": self.options.distill,
            "seconds": seconds } }));
    }
}
