//! The main job: trains LeNet-300-100 on MNIST, prunes it by a recipe while training goes on, and shows what that cost.

use burn::module::Module;
use burn::tensor::Device;
use clap::Parser;
use flate2::{Compression, write::GzEncoder};
use pruning_burn::Pruner;
use pruning_burn::budget::Sparsity;
use pruning_burn::mask::{finish, undo};
use pruning_burn::report::Report;
use pruning_burn::rounds::{IterativePruning, Round};
use pruning_burn::schedule::Initialization;
use pruning_burn::store::{Compact, StoreError, save};
use pruning_examples::lenet::Lenet300;
use pruning_examples::mnist::{Mnist, Split, default_dir};
use pruning_examples::output::Output;
use pruning_examples::picture::{LayerLine, Point, draw};
use pruning_examples::training::{Classifier, Rate, Trainer, Training};
use pruning_examples::{Failed, device, exit};
use pruning_report::Page;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DENSE: Training = Training::new(15, Rate::Cosine(2e-3));
/// After each pruning; for as many epochs where it is the only one.
const RETRAIN: Training = Training::new(10, Rate::Cosine(1e-3));

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
    /// Epochs before the first pruning; 15, or as many as the schedule of the recipe begins after.
    #[arg(long)]
    epochs: Option<usize>,
    /// Folder for the models and the picture.
    #[arg(long, value_name = "DIR", default_value = "out/lenet")]
    out: PathBuf,
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
    let start = Instant::now();
    // Everything that can be wrong with the input is found before the first epoch.
    let pruner = pruner(options)?;
    let begin = pruner.recipe().schedule.next(0, target(&pruner)).filter(|&begin| begin > 0);
    let first_epochs = options.epochs.or(begin).unwrap_or(DENSE.epochs);
    let job = Job::new(options)?;
    for folder in [Some(options.out.as_path()), options.report.as_deref().and_then(Path::parent)].into_iter().flatten()
    {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut model = Lenet300::new(&job.device);
    let mut random = StdRng::seed_from_u64(options.seed);
    let (mut files, mut points) = (Vec::new(), Vec::new());
    let validation = Cell::new(0.0);
    // By which the last pruning ranked, and those after the training that followed it.
    let (mut ranked, mut scores) = (Vec::new(), Vec::new());

    let train = |model: Lenet300, round: &mut Round| -> Result<Lenet300, Failed> {
        let (how, name) = match round.number() {
            0 => (DENSE.with_epochs(first_epochs), "dense".to_string()),
            number => (retrain(&pruner, round.report()), format!("round {number}")),
        };
        let trainer = Trainer::new(how, &job.train, &job.device, &mut random).with_bar(job.output.bar(&name));
        // A recipe may rewind to one of the first epochs.
        let model = trainer.with_after_epoch(|epoch, model| round.reached(epoch, model)).run(model);
        if round.number() == 0 {
            let mut dense = model.clone();
            undo(&mut dense)?;
            files.push(write_file(&options.out, "dense.bpk", |path| save(&dense, path))?);
        }
        if options.report.is_some() {
            ranked = std::mem::replace(&mut scores, pruner.scores(&model, None)?);
        }
        Ok(model)
    };
    let evaluate = |model: &Lenet300| {
        validation.set(model.error(&job.validation, &job.device));
        model.error(&job.test, &job.device)
    };
    let parameters = model.num_params();
    let history = IterativePruning::new(&pruner)
        .with_observer(|round| {
            let point = Point { sparsity: round.sparsity(), test: round.evaluation, validation: validation.get() };
            match round.number {
                0 => job.tell_dense(&point, first_epochs, parameters),
                _ => job.tell_round(&round.pruning, &point),
            }
            points.push(point);
        })
        .run(&mut model, train, evaluate)?;

    let last = &history.rounds[history.rounds.len() - 1];
    files.push(write_file(&options.out, "masked.bpk", |path| save(&model, path))?);
    finish(&mut model)?;
    let pruned_error = model.error(&job.test, &job.device);
    assert!((pruned_error - last.evaluation).abs() < 1e-9, "folding masks in changed the model");
    files.push(write_file(&options.out, "finished.bpk", |path| save(&model, path))?);
    let picture = options.out.join("lenet.svg");
    let layers: Vec<LayerLine> =
        last.pruning.layers.iter().map(|l| LayerLine { path: l.path.clone(), sparsity: l.sparsity() }).collect();
    draw(&picture, &points, &layers)?;
    job.summary(&last.pruning, &points, &files, &picture, start.elapsed().as_secs_f64());
    if let Some(file) = &options.report {
        let compact = save(Compact(&model), options.out.join("compact.safetensors"))?;
        Page::new("LeNet-300-100 on MNIST")
            .with_fact("Test error, dense", format!("{:.2} %", points[0].test))
            .with_fact("Test error, pruned", format!("{pruned_error:.2} %"))
            .with_measure("test error, %")
            .with_report(&last.pruning)
            .with_scores(&ranked)
            .with_rounds(&history)
            .with_compact(&compact)
            .save(file)?;
    }
    Ok(())
}

fn pruner(options: &Options) -> Result<Pruner, Failed> {
    let text = match &options.recipe {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => include_str!("recipes/lenet.toml").to_string(),
    };
    let pruner = Pruner::from_toml(&text, &pruning_plugins::all())?;
    match pruner.needs() {
        needs if needs.is_empty() => Ok(pruner),
        needs => Err(format!("the criterion of the recipe needs: {needs}; this example scores weights alone").into()),
    }
}

fn target(pruner: &Pruner) -> Sparsity {
    pruner.recipe().sparsity().unwrap_or(Sparsity::ZERO)
}

/// Trains from a pruning to the next one. Weights that went back train as they did the first time, at the same rate; otherwise the last round
/// gets twice as many epochs as the one before it.
fn retrain(pruner: &Pruner, report: &Report) -> Training {
    let rewinds =
        matches!(pruner.recipe().initialization, Initialization::Rewind { .. } | Initialization::RewindRate { .. });
    let (how, last) = if rewinds { (DENSE, 1) } else { (RETRAIN, 2) };
    let (schedule, target) = (&pruner.recipe().schedule, target(pruner));
    let now = report.step.unwrap_or(0);
    let before = || now.checked_sub(1).and_then(|step| schedule.latest(step, target));
    how.with_epochs(match schedule.next(now + 1, target) {
        Some(next) => next - now,
        None => before().map_or(RETRAIN.epochs, |before| last * (now - before)),
    })
}

/// A file, its bytes, and its bytes when zipped.
type Written = (String, u64, usize);

/// The data of one run, and what it prints.
struct Job {
    train: Split,
    validation: Split,
    test: Split,
    device: Device,
    output: Output,
}

impl Job {
    fn new(options: &Options) -> Result<Self, Failed> {
        let device = device::by_name(&options.device)?;
        device.seed(options.seed);
        let data = Mnist::load(options.data.as_deref().unwrap_or(&default_dir()))?;
        let (train, validation, test) = data.hold_out();
        Ok(Self { train, validation, test, device: device.autodiff(), output: Output::new(options.json) })
    }

    fn tell_dense(&self, point: &Point, epochs: usize, parameters: usize) {
        self.output.say(&format!("dense: test error {:.2} %, {parameters} parameters\n", point.test));
        self.output
            .line(&json!({ "dense": { "error": point.test, "validation_error": point.validation, "epochs": epochs,
            "parameters": parameters } }));
    }

    fn tell_round(&self, report: &Report, point: &Point) {
        let (round, rounds) = report.round.unwrap_or((1, 1));
        self.output.say(&format!(
            "round {round} of {rounds}: sparsity {:.2} %, compression {:.2}x, test error {:.2} %",
            100.0 * report.sparsity(),
            report.compression(),
            point.test
        ));
        self.output.line(&json!({ "round": { "round": round, "rounds": rounds, "step": report.step,
            "sparsity": report.sparsity(), "asked": report.asked(), "compression": report.compression(),
            "error": point.test, "validation_error": point.validation } }));
    }

    fn summary(&self, report: &Report, points: &[Point], files: &[Written], picture: &Path, seconds: f64) {
        let (dense, pruned) = (points[0].test, points[points.len() - 1].test);
        self.output.say(&format!("\n{report}\n"));
        for layer in &report.layers {
            self.output.line(&json!({ "layer": { "path": layer.path, "weights": layer.weights, "kept": layer.kept,
                "kept_percent": 100.0 * (1.0 - layer.sparsity()) } }));
        }
        self.output.say("file            bytes    gzip'd");
        for (name, bytes, zipped) in files {
            self.output.say(&format!("{name:13} {bytes:>7} {zipped:>9}"));
            self.output.line(&json!({ "file": { "name": name, "bytes": bytes, "gzip_bytes": zipped } }));
        }
        self.output.say(&format!(
            "\ndense error   {dense:.2} %\npruned error  {pruned:.2} %\ncompression   {:.2}x\npicture       {}\n\
             time          {seconds:.0} s\n\nThe zeros make the finished file no smaller and the model no faster by themselves: Burn stores and multiplies \
             them like any number.",
            report.compression(),
            picture.display()
        ));
        self.output.line(&json!({ "summary": { "dense_error": dense, "pruned_error": pruned,
            "compression": report.compression(), "seconds": seconds } }));
    }
}

/// Writes a file into the folder, and tells its name, its size, and its size when zipped.
fn write_file(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<Written, Failed> {
    let path = folder.join(name);
    write(&path)?;
    let bytes = std::fs::read(&path)?;
    let mut zip = GzEncoder::new(Vec::new(), Compression::best());
    zip.write_all(&bytes)?;
    Ok((name.to_string(), bytes.len() as u64, zip.finish()?.len()))
}
