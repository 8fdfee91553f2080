//! How much of a sentence encoder is free: prunes all-MiniLM-L6-v2 without any training after that, and measures on STS-B how well its
//! vectors still say which sentences are alike.

use burn::tensor::{Device, Tensor};
use clap::{Parser, ValueEnum};
use pruning_burn::Pruner;
use pruning_burn::mask::finish;
use pruning_burn::shrink::{self, Fields, Shrinker};
use pruning_burn::trace::{Scope, Trace};
use pruning_examples::bert::{Bert, BertConfig, Sentences};
use pruning_examples::made_up;
use pruning_examples::output::Output;
use pruning_examples::sts::{Batches, Pairs, Task, Words};
use pruning_examples::{Failed, exit};
use serde_json::json;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes forward passes slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Of the random masks.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also the sparsity of each layer, the sizes of files, and what a compiled model computes and takes.
    #[arg(long)]
    details: bool,
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

/// A way of pruning.
#[derive(Clone, Copy, Debug)]
struct Variant {
    name: &'static str,
    what: What,
    /// The recipe, without its sparsity and its targets.
    recipe: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Masks on the weights of the blocks.
    Weights,
    /// The same, by a pattern that gives the sparsity itself.
    Pattern,
    /// Units of the feed-forward layers, removed.
    Units,
    /// Attention heads, removed.
    Heads,
}

impl What {
    /// The part of the recipe that says what is pruned.
    const fn target(self) -> &'static str {
        match self {
            Self::Weights => "target = { include = [\"encoder\"] }",
            Self::Pattern => "granularity = \"2:4\"\ntarget = { include = [\"encoder\"] }",
            Self::Units => "granularity = \"channel\"\ntarget = { include = [\"encoder.*.linear_inner\"] }",
            Self::Heads => "granularity = \"head\"\ntarget = { include = [\"encoder.*.mha\"] }",
        }
    }

    const fn sparsities(self) -> &'static [f64] {
        match self {
            Self::Weights => &[0.3, 0.5, 0.6, 0.7, 0.8, 0.9],
            Self::Pattern => &[0.5],
            Self::Units | Self::Heads => &[0.25, 0.5],
        }
    }
}

const fn variant(name: &'static str, what: What, recipe: &'static str) -> Variant {
    Variant { name, what, recipe }
}

const VARIANTS: [Variant; 6] = [
    variant("magnitude_layer", What::Weights, "criterion = \"magnitude\""),
    variant("magnitude_global", What::Weights, "criterion = \"magnitude\"\nallocator = \"global\""),
    variant("random_layer", What::Weights, "criterion = { name = \"random\", seed = SEED }"),
    variant("magnitude_2_4", What::Pattern, "criterion = \"magnitude\""),
    variant("ffn_magnitude", What::Units, "criterion = \"magnitude\""),
    variant("heads_magnitude", What::Heads, "criterion = \"magnitude\""),
];

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let job = Job::new(options)?;
    job.output.say(&format!("dense {:46.2}", job.dense));
    let wanted = |v: &&Variant| options.only.is_empty() || options.only.iter().any(|name| name == v.name);
    for variant in VARIANTS.iter().filter(wanted) {
        let sparsities = match variant.what {
            What::Pattern => variant.what.sparsities(),
            _ if options.sparsity.is_empty() => variant.what.sparsities(),
            _ => &options.sparsity,
        };
        for &sparsity in sparsities {
            job.row(variant, sparsity)?;
        }
    }
    Ok(())
}

struct Job<'a> {
    options: &'a Options,
    model: Bert,
    task: Task,
    /// What criteria and reconstructions look at.
    calibration: Batches,
    /// Spearman of the whole model.
    dense: f64,
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
                device.seed(options.seed);
                let model = BertConfig::tiny(made_up::TOKENS).init(&device);
                let (words, pairs) = made_up::sentences(60, model.longest())?;
                (model, words, pairs.clone(), pairs)
            }
        };
        let task = Task::new(&split, &words, &device)?;
        let calibration = words.batches(train.sentences().take(options.calibration), &device)?;
        let dense = spearman(&task, &model);
        Ok(Self { options, model, task, calibration, dense, output: Output::new(options.json) })
    }

    /// Prunes a copy of the model in one way, and tells how good it still is.
    fn row(&self, variant: &Variant, sparsity: f64) -> Result<(), Failed> {
        let amount = if variant.what == What::Pattern { String::new() } else { format!("sparsity = {sparsity}") };
        let recipe = variant.recipe.replace("SEED", &self.options.seed.to_string());
        let recipe = format!("{recipe}\n{amount}\n{}", variant.what.target());
        let pruner = Pruner::from_toml(&recipe, &pruning_plugins::all())?;
        let mut model = self.model.clone();
        let start = Instant::now();
        match variant.what {
            What::Weights | What::Pattern => {
                pruner.prune(&mut model, None)?;
                finish(&mut model)?;
            }
            What::Units | What::Heads => {
                let example = &self.calibration.batches[0];
                let trace = Trace::record(&model, forward(example))?;
                let plan = Shrinker::new(&pruner).plan(&model, &trace, None)?;
                shrink::apply(&plan, &mut model, |_: &mut Bert, _: &mut Fields| {}, forward(example))?;
            }
        }
        let prune_seconds = start.elapsed().as_secs_f64();
        let found = spearman(&self.task, &model);
        let Variant { name, .. } = variant;
        self.output
            .say(&format!("{name:20} {:3.0} % removed {found:16.2}  pruned in {prune_seconds:.1} s", 100.0 * sparsity));
        self.output.line(&json!({ "variant": name, "sparsity": sparsity, "split": self.options.split.name(),
            "spearman": found, "dense": self.dense, "prune_seconds": prune_seconds }));
        Ok(())
    }
}

/// What is traced: the vectors of a batch.
fn forward(batch: &Sentences) -> impl Fn(&Bert, &mut Scope) {
    move |model, scope| {
        let batch = Sentences { tokens: scope.input(&batch.tokens), padding: scope.input(&batch.padding) };
        scope.output(model.forward(&batch));
    }
}

fn spearman(task: &Task, model: &Bert) -> f64 {
    let Ok(found) = task.spearman(|batch| Ok::<Tensor<2>, Infallible>(model.forward(batch)));
    found
}
