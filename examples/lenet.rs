//! The main job: trains LeNet-300-100 on MNIST, prunes it by a recipe while training goes on, and shows what that cost.

use burn::module::Module;
use burn::tensor::Device;
use clap::Parser;
use flate2::{Compression, write::GzEncoder};
use indicatif::{ProgressBar, ProgressStyle};
use pruning_burn::mask::finish;
use pruning_burn::report::Report;
use pruning_burn::score::Needs;
use pruning_burn::store::save;
use pruning_burn::{Pruner, Session};
use pruning_examples::device;
use pruning_examples::exit;
use pruning_examples::lenet::Lenet300;
use pruning_examples::mnist::{Mnist, Split, default_dir};
use pruning_examples::picture::{LayerLine, Point, draw};
use pruning_examples::training::{Classifier, Training};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Images at the end of the training set that nothing is trained on: recipes are chosen by them.
const VALIDATION: usize = 5000;
const DENSE: Training = Training { batch: 128, rate: 2e-3, decay: 0.05 };
const RETRAIN: Training = Training { batch: 128, rate: 1e-3, decay: 0.05 };

/// Trains LeNet-300-100 on MNIST, prunes it by a recipe, and shows what that cost.
#[derive(Debug, Parser)]
struct Options {
    /// The recipe, a TOML file; its schedule counts epochs.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// flex, ndarray or wgpu; the latter two need the feature of that name.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Of the weights at the start and the order of the images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Epochs before the first pruning.
    #[arg(long, default_value_t = 15)]
    epochs: usize,
    /// Folder for the models and the picture.
    #[arg(long, value_name = "DIR", default_value = "out/lenet")]
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
    // Everything that can be wrong with the input is found before the first epoch.
    let pruner = pruner(options)?;
    let mut job = Job::new(options)?;
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;

    let mut model = Lenet300::new(&job.device);
    // A dry run on a clone: a recipe that does not fit the model fails here and not after the training.
    pruner.start(&mut model.clone())?;
    model = job.train(model, &DENSE, options.epochs, "dense");
    let dense = job.measure(&model, 0.0);
    job.say(&format!("dense: test error {:.2} %, {} parameters\n", dense.test, model.num_params()));
    job.line(&json!({ "dense": { "error": dense.test, "validation_error": dense.validation, "epochs": options.epochs,
        "parameters": model.num_params() } }));
    job.files.push(write_file(&options.out, "dense.bpk", |path| save(&model, path))?);

    let mut points = vec![dense];
    let mut session = pruner.start(&mut model)?;
    let mut last = None;
    while !session.is_done() {
        let length = phase(&session);
        if let Some(report) = session.step(&mut model, None)? {
            model = job.train(model, &RETRAIN, length, &format!("round {}", points.len()));
            let point = job.measure(&model, report.sparsity());
            job.tell_round(&report, &point);
            points.push(point);
            // The epochs of this round are trained; the schedule catches up.
            for _ in 1..length {
                session.step(&mut model, None)?;
            }
            last = Some(report);
        } else {
            model = job.train(model, &RETRAIN, 1, "before pruning");
        }
    }
    let report = last.ok_or("the schedule of the recipe pruned nothing")?;

    job.files.push(write_file(&options.out, "masked.bpk", |path| save(&model, path))?);
    let masked_error = points[points.len() - 1].test;
    finish(&mut model)?;
    let pruned_error = model.error(&job.data.test, &job.device);
    assert!((pruned_error - masked_error).abs() < 1e-9, "folding masks in changed the model");
    job.files.push(write_file(&options.out, "finished.bpk", |path| save(&model, path))?);
    let picture = options.out.join("lenet.svg");
    let layers: Vec<LayerLine> =
        report.layers.iter().map(|l| LayerLine { path: l.path.clone(), sparsity: l.sparsity() }).collect();
    draw(&picture, &points, &layers)?;
    job.summary(&report, &points, &picture, start.elapsed().as_secs_f64());
    Ok(())
}

fn pruner(options: &Options) -> Result<Pruner, Box<dyn Error>> {
    let text = match &options.recipe {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => include_str!("recipes/lenet.toml").to_string(),
    };
    let pruner = Pruner::from_toml(&text, &pruning_plugins::all())?;
    match pruner.needs() {
        Needs::WEIGHT => Ok(pruner),
        needs => Err(format!("the criterion of the recipe needs: {needs}; this example scores weights alone").into()),
    }
}

/// Epochs from the pruning that is due now to the next one; the last gets twice as many as the one before it.
fn phase(session: &Session) -> usize {
    let recipe = session.pruner().recipe();
    let (schedule, target) = (&recipe.schedule, recipe.sparsity().unwrap_or(pruning_burn::budget::Sparsity::ZERO));
    let now = session.steps();
    let next = (now + 1..=schedule.last(target)).find(|&step| schedule.due(step, target).is_some());
    match next {
        Some(next) => next - now,
        None => {
            let before = (0..now).rev().find(|&step| schedule.due(step, target).is_some());
            2 * before.map_or(5, |before| now - before)
        }
    }
}

/// The files of one run, its data and what it prints.
struct Job {
    data: Mnist,
    validation: Split,
    device: Device,
    random: StdRng,
    json: bool,
    files: Vec<(String, u64, usize)>,
}

impl Job {
    fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        let device = device::by_name(&options.device)?;
        device.seed(options.seed);
        let Mnist { train, test } = Mnist::load(options.data.as_deref().unwrap_or(&default_dir()))?;
        let at = train.len() - VALIDATION;
        let (train, validation) = train.split_at(at);
        let random = StdRng::seed_from_u64(options.seed);
        let data = Mnist { train, test };
        Ok(Self { data, validation, device: device.autodiff(), random, json: options.json, files: Vec::new() })
    }

    fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    fn line(&self, value: &serde_json::Value) {
        if self.json {
            println!("{value}");
        }
    }

    fn train(&mut self, mut model: Lenet300, how: &Training, epochs: usize, name: &str) -> Lenet300 {
        let bar = match std::io::stderr().is_terminal() && !self.json {
            true => ProgressBar::new((epochs * self.data.train.len().div_ceil(how.batch)) as u64),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:14} {bar:40} {percent:>3} % {eta_precise}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        let mut optimizer = how.optimizer();
        for epoch in 0..epochs {
            let tick = || bar.inc(1);
            let at = (epoch, epochs);
            model = how.epoch(model, &mut optimizer, &self.data.train, at, &mut self.random, &self.device, &tick);
        }
        bar.finish_and_clear();
        model
    }

    fn measure(&self, model: &Lenet300, sparsity: f64) -> Point {
        Point {
            sparsity,
            test: model.error(&self.data.test, &self.device),
            validation: model.error(&self.validation, &self.device),
        }
    }

    fn tell_round(&self, report: &Report, point: &Point) {
        let (round, rounds) = report.round.unwrap_or((1, 1));
        self.say(&format!(
            "round {round} of {rounds}: sparsity {:.2} %, compression {:.2}x, test error {:.2} %",
            100.0 * report.sparsity(),
            report.compression(),
            point.test
        ));
        self.line(&json!({ "round": { "round": round, "rounds": rounds, "step": report.step,
            "sparsity": report.sparsity(), "asked": report.asked(), "compression": report.compression(),
            "error": point.test, "validation_error": point.validation } }));
    }

    fn summary(&self, report: &Report, points: &[Point], picture: &Path, seconds: f64) {
        let (dense, pruned) = (points[0].test, points[points.len() - 1].test);
        self.say(&format!("\n{report}\n"));
        for layer in &report.layers {
            self.line(&json!({ "layer": { "path": layer.path, "weights": layer.weights, "kept": layer.kept,
                "kept_percent": 100.0 * (1.0 - layer.sparsity()) } }));
        }
        self.say("file            bytes    gzip'd");
        for (name, bytes, zipped) in &self.files {
            self.say(&format!("{name:13} {bytes:>7} {zipped:>9}"));
            self.line(&json!({ "file": { "name": name, "bytes": bytes, "gzip_bytes": zipped } }));
        }
        self.say(&format!(
            "\ndense error   {dense:.2} %\npruned error  {pruned:.2} %\ncompression   {:.2}x\npicture       {}\n\
             time          {seconds:.0} s\n\nThe zeros make the finished file no smaller and the model no faster by themselves: Burn stores and multiplies \
             them like any number.",
            report.compression(),
            picture.display()
        ));
        self.line(&json!({ "summary": { "dense_error": dense, "pruned_error": pruned,
            "compression": report.compression(), "seconds": seconds } }));
    }
}

/// Writes a file into the folder, and tells its name, its size, and its size when zipped.
fn write_file<E: Error + 'static>(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(String, u64, usize), Box<dyn Error>> {
    let path = folder.join(name);
    write(&path)?;
    let bytes = std::fs::read(&path)?;
    let mut zip = GzEncoder::new(Vec::new(), Compression::best());
    zip.write_all(&bytes)?;
    Ok((name.to_string(), bytes.len() as u64, zip.finish()?.len()))
}
