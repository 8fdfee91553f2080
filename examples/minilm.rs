//! How much of a sentence encoder is free: prunes all-MiniLM-L6-v2 without any training after that, and measures on STS-B how well its
//! vectors still say which sentences are alike.

use burn::tensor::{Device, Tensor};
use clap::{Parser, ValueEnum};
use pruning_burn::Pruner;
use pruning_burn::calibrate::Calibration;
use pruning_burn::mask::finish;
use pruning_burn::score::{CriterionInputs, Needs};
use pruning_burn::shrink::{self, Fields, Shrinker};
use pruning_burn::sparse::{Options as Compile, SparseModel};
use pruning_burn::store::{Compact, save};
use pruning_burn::trace::{Scope, Trace, Values};
use pruning_examples::bert::{Bert, BertConfig, Sentences};
use pruning_examples::made_up;
use pruning_examples::output::Output;
use pruning_examples::regimes_picture::{Regimes, draw};
use pruning_examples::sts::{Batches, Pairs, Task, Words};
use pruning_examples::variants::{Settings, VARIANTS, Variant, What};
use pruning_examples::{Failed, exit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

// The system's allocator gives every large buffer back at once, which makes forward passes slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lines of the picture: a variant, and what it is called there.
const PICTURE: [(&str, &str); 7] = [
    ("magnitude_layer", "magnitude, each layer alone"),
    ("magnitude_global", "magnitude, over all layers"),
    ("random_layer", "random"),
    ("wanda_row", "Wanda, in rows"),
    ("sparsegpt", "SparseGPT"),
    ("wanda_obs", "Wanda + OBS"),
    ("owl", "OWL"),
];
/// Differences up to so many points are taken for noise.
const FREE: f64 = 0.5;

/// Prunes a sentence encoder in many ways, and measures each on STS-B.
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the encoder: config.json, model.safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR", required_unless_present = "quick")]
    model: Option<PathBuf>,
    /// Folder of STS-B: stsb-en-train.csv for the calibration, and that of the split.
    #[arg(long, value_name = "DIR", required_unless_present = "quick")]
    data: Option<PathBuf>,
    /// What is measured.
    #[arg(long, value_enum, default_value = "dev")]
    split: Split,
    /// Only these ways of pruning; may be repeated. All by default.
    #[arg(long, value_name = "VARIANT", value_parser = clap::builder::PossibleValuesParser::new(VARIANTS.map(|v| v.name)))]
    only: Vec<String>,
    /// Fraction removed; may be several, with commas. By default 0.3 to 0.9 for single weights, 0.25 and 0.5 for heads and units.
    #[arg(long, value_delimiter = ',')]
    sparsity: Vec<f64>,
    /// Sentences of the training split, in the order of the file, that criteria and reconstructions look at.
    #[arg(long, default_value_t = 4096)]
    calibration: usize,
    #[command(flatten)]
    settings: Settings,
    /// Also the sparsity of each layer, the sizes of files, and what a compiled model computes and takes.
    #[arg(long)]
    details: bool,
    /// File of rows, one JSON object a line: those in it are not measured again, and new ones are added.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// File for a picture of all rows, those of --rows included.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// A tiny random encoder and made-up sentences: shows that it runs, in seconds.
    #[arg(long)]
    quick: bool,
    /// Print JSON lines and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    Dev,
    Test,
}

impl Split {
    const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let mut job = Job::new(options)?;
    job.output.say(&format!("{:43}{:6.2}", "dense", job.dense));
    job.output.say(&format!("{:43}{:6.2}", "without any block", job.words_alone));
    let wanted = |v: &&Variant| options.only.is_empty() || options.only.iter().any(|name| name == v.name);
    for variant in VARIANTS.iter().filter(wanted) {
        let sparsities = match variant.what {
            What::Pattern => variant.what.sparsities(),
            _ if options.sparsity.is_empty() => variant.what.sparsities(),
            _ => &options.sparsity,
        };
        for &sparsity in sparsities {
            if !job.rows.iter().any(|row| row.of(options) && row.variant == variant.name && row.sparsity == sparsity) {
                job.row(variant, sparsity)?;
            }
        }
    }
    if let Some(path) = &options.picture {
        let lines = PICTURE.map(|(name, shown)| {
            let rows = job.rows.iter().filter(|row| row.of(options) && row.variant == name);
            let mut points: Vec<_> = rows.map(|row| (row.sparsity, row.spearman)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (shown.to_string(), points)
        });
        let regimes = Regimes {
            measure: format!("Spearman x 100, STS-B {}", options.split.name()),
            dense: job.dense,
            free: job.dense - FREE,
            broken: job.words_alone,
            low: job.words_alone - 14.0,
            lines: lines.into_iter().filter(|(_, points)| !points.is_empty()).collect(),
        };
        draw(path, &regimes)?;
        job.output.say(&format!("picture  {}", path.display()));
    }
    Ok(())
}

/// A measurement, as in the file of rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    variant: String,
    sparsity: f64,
    split: String,
    spearman: f64,
    dense: f64,
    prune_seconds: f64,
    collect_seconds: f64,
    forward_seconds: f64,
    calibration: usize,
    seed: u64,
    damp: f64,
    sequential: bool,
}

impl Row {
    /// Whether these options would measure the same.
    fn of(&self, options: &Options) -> bool {
        let Settings { seed, damp, sequential } = options.settings;
        (self.split.as_str(), self.calibration) == (options.split.name(), options.calibration)
            && (self.seed, self.damp, self.sequential) == (seed, damp, sequential)
    }
}

struct Job<'a> {
    options: &'a Options,
    model: Bert,
    task: Task,
    /// What criteria and reconstructions look at.
    calibration: Batches,
    /// What was collected of it, and the seconds that took, for each set of needs.
    collected: Vec<(Needs, CriterionInputs, f64)>,
    /// The seconds of the forward passes alone.
    forward_seconds: f64,
    /// Spearman of the whole model.
    dense: f64,
    /// Spearman without any block: of the means of the words' own vectors.
    words_alone: f64,
    /// What is measured already.
    rows: Vec<Row>,
    output: Output,
}

impl<'a> Job<'a> {
    fn new(options: &'a Options) -> Result<Self, Failed> {
        let device = Device::flex();
        let (model, words, train, split) = match (&options.model, &options.data) {
            (Some(folder), Some(data)) => {
                let model = Bert::load(folder, &device)?;
                let words = Words::load(&folder.join("tokenizer.json"), model.longest())?;
                let read = |name: &str| Pairs::read(&data.join(format!("stsb-en-{name}.csv")));
                (model, words, read("train")?, read(options.split.name())?)
            }
            _ => {
                device.seed(options.settings.seed);
                let model = BertConfig::tiny(made_up::TOKENS).init(&device);
                let (words, pairs) = made_up::sentences(60, model.longest())?;
                (model, words, pairs.clone(), pairs)
            }
        };
        let task = Task::new(&split, &words, &device)?;
        let calibration = words.batches(train.sentences().take(options.calibration), &device)?;
        let dense = spearman(&task, &model);
        let start = Instant::now();
        for batch in &calibration.batches {
            drop(model.forward(batch).into_data());
        }
        let forward_seconds = start.elapsed().as_secs_f64();
        let mut words_alone = model.clone();
        words_alone.encoder.layers.clear();
        let words_alone = spearman(&task, &words_alone);
        let rows = options.rows.as_deref().map_or(Ok(Vec::new()), rows)?;
        let (output, collected) = (Output::new(options.json), Vec::new());
        Ok(Self { options, model, task, calibration, collected, forward_seconds, dense, words_alone, rows, output })
    }

    /// What a recipe looks at besides the weights, and the seconds of its collection; recipes that look at the same share it.
    fn inputs(&mut self, needs: &Needs) -> Result<Option<(CriterionInputs, f64)>, Failed> {
        if needs.is_empty() {
            return Ok(None);
        }
        if let Some((_, inputs, seconds)) = self.collected.iter().find(|(held, _, _)| held == needs) {
            return Ok(Some((inputs.clone(), *seconds)));
        }
        let (bar, start) = (self.output.bar("calibration"), Instant::now());
        let calibration =
            Calibration::collect_with(&self.model, needs.clone(), &self.calibration.batches, see, |progress| {
                bar.set_length(progress.total.unwrap_or(0) as u64);
                bar.set_position(progress.done as u64);
            })?;
        bar.finish_and_clear();
        let (inputs, seconds) = (CriterionInputs::from(&calibration), start.elapsed().as_secs_f64());
        self.collected.push((needs.clone(), inputs.clone(), seconds));
        Ok(Some((inputs, seconds)))
    }

    /// Prunes a copy of the model in one way, and tells how good it still is.
    fn row(&mut self, variant: &Variant, sparsity: f64) -> Result<(), Failed> {
        let recipe = variant.recipe(sparsity, self.model.encoder.layers.len(), self.options.settings);
        let pruner = Pruner::from_toml(&recipe, &pruning_plugins::all())?;
        // Layer after layer the pruning collects them itself.
        let needs = if pruner.recipe().sequential { Needs::none() } else { pruner.needs() };
        let (inputs, collect_seconds) = self.inputs(&needs)?.unzip();
        let start = Instant::now();
        let (model, told) = self.pruned(&pruner, variant.what, inputs.as_ref())?;
        let prune_seconds = start.elapsed().as_secs_f64();
        let spearman = spearman(&self.task, &model);
        let collect_seconds = collect_seconds.unwrap_or(0.0);
        self.output.say(&format!(
            "{:20} {:4.0} % removed       {spearman:6.2}   pruned in {prune_seconds:.1} s, after {collect_seconds:.1} s of calibration",
            variant.name,
            100.0 * sparsity
        ));
        let row = Row {
            variant: variant.name.to_string(),
            sparsity,
            split: self.options.split.name().to_string(),
            spearman,
            dense: self.dense,
            prune_seconds,
            collect_seconds,
            forward_seconds: self.forward_seconds,
            calibration: self.options.calibration,
            seed: self.options.settings.seed,
            damp: self.options.settings.damp,
            sequential: self.options.settings.sequential,
        };
        let line = serde_json::to_value(&row)?;
        self.output.line(&line);
        if let Some(file) = &self.options.rows {
            writeln!(File::options().create(true).append(true).open(file)?, "{line}")?;
        }
        self.rows.push(row);
        if self.options.details {
            self.output.say(&told);
            self.details(variant.name, sparsity, &model)?;
        }
        Ok(())
    }

    /// A pruned copy of the model, and what the pruning tells of it.
    fn pruned(&self, pruner: &Pruner, what: What, inputs: Option<&CriterionInputs>) -> Result<(Bert, String), Failed> {
        let mut model = self.model.clone();
        if matches!(what, What::Weights | What::Pattern) {
            let report = match pruner.recipe().sequential {
                true => pruner.prune_with(&mut model, &self.calibration.batches, see)?,
                false => pruner.prune(&mut model, inputs)?,
            };
            finish(&mut model)?;
            return Ok((model, report.to_string()));
        }
        let example = &self.calibration.batches[0];
        let forward = |model: &Bert, scope: &mut Scope| see(model, example, scope);
        let trace = Trace::record(&model, forward)?;
        let plan = Shrinker::new(pruner).plan(&model, &trace, inputs)?;
        if let (Some(_), Some(inputs)) = (&pruner.recipe().reconstruct, inputs) {
            shrink::reconstruct(&plan, &mut model, pruner, inputs)?;
        }
        shrink::apply(&plan, &mut model, |_: &mut Bert, _: &mut Fields| {}, forward)?;
        Ok((model, plan.to_string()))
    }

    /// The size of the model in a file, and what it is compiled: its Spearman and its time.
    fn details(&self, name: &str, sparsity: f64, model: &Bert) -> Result<(), Failed> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("model.safetensors");
        let files = save(Compact(model), &file)?;
        let mut shapes = HashSet::new();
        let batches = self.task.sentences.batches.iter().filter(|batch| shapes.insert(batch.tokens.dims()));
        let traces: Vec<Trace> = batches
            .map(|batch| Trace::record(model, |model, scope| see(model, batch, scope)))
            .collect::<Result<_, _>>()?;
        let compile = Compile::new().with_budget(Duration::from_millis(500));
        let compiled = SparseModel::compile(&traces, model, &compile)?;
        let start = Instant::now();
        spearman(&self.task, model);
        let dense_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let found = self.task.spearman(|batch| -> Result<Tensor<2>, Failed> {
            Ok(compiled.run(Values::new().with(batch.tokens.clone()).with(batch.padding.clone()))?.get(0)?)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        self.output.say(&format!(
            "{} bytes dense, {} in a compact file ({:.1} %)\ncompiled: Spearman {found:.2}, {seconds:.1} s instead of {dense_seconds:.1} s\n",
            files.dense(),
            files.file,
            100.0 * files.ratio()
        ));
        self.output.line(&json!({ "details": name, "sparsity": sparsity, "dense_bytes": files.dense(),
            "compact_bytes": files.file, "compiled_spearman": found, "compiled_seconds": seconds,
            "forward_seconds": dense_seconds }));
        Ok(())
    }
}

/// The rows of a file, which need not exist.
fn rows(file: &Path) -> Result<Vec<Row>, Failed> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let failed = |reason: String| format!("{}: {reason}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let rows: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    Ok(rows.map_err(|error| failed(error.to_string()))?)
}

/// What is traced: the vectors of a batch, of which padding does not count.
fn see(model: &Bert, batch: &Sentences, scope: &mut Scope) {
    let seen = Sentences { tokens: scope.input(&batch.tokens), padding: scope.input(&batch.padding) };
    scope.count_positions(&batch.padding.clone().bool_not());
    scope.output(model.forward(&seen));
}

fn spearman(task: &Task, model: &Bert) -> f64 {
    let Ok(found) = task.spearman(|batch| Ok::<Tensor<2>, Infallible>(model.forward(batch)));
    found
}
