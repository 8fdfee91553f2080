//! What each layer of a trained network can lose, and whether sparsities chosen by it beat the same sparsity everywhere, and one
//! threshold for all layers.

use burn::module::Module;
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use pruning_burn::Pruner;
use pruning_burn::analyze::distillation::Distillation;
use pruning_burn::analyze::sensitivity::{Basis, Scan, Sensitivity, Suggestion};
use pruning_examples::lenet::Lenet300;
use pruning_examples::lenet5::Lenet5;
use pruning_examples::mnist::{Mnist, Split, default_dir};
use pruning_examples::output::Output;
use pruning_examples::resnet::{CHANNELS, ResNet};
use pruning_examples::sensitivity_picture::draw;
use pruning_examples::training::{Batch, Classifier, Rate, Trainer, Training, batch, cross_entropy};
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

const RETRAIN: Training = Training::new(3, Rate::Cosine(1e-3));

/// Scans trained networks layer by layer, and compares sparsities chosen by that with uniform ones and with one global threshold.
#[derive(Debug, Parser)]
struct Options {
    /// One of the networks; may be repeated. All by default.
    #[arg(long)]
    only: Vec<Network>,
    /// Of all weights together, in all recipes; may be several, with commas.
    #[arg(long, value_delimiter = ',', default_values_t = [0.8, 0.9, 0.95])]
    sparsity: Vec<f64>,
    /// Networks of a kind: one for each of so many seeds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from_seed: u64,
    /// Epochs of training, if not as many as the network has by default.
    #[arg(long)]
    epochs: Option<usize>,
    /// Epochs of training after the pruning: 3 for LeNet-300-100 by default, 0 for the others.
    #[arg(long)]
    retrain: Option<usize>,
    /// Threads that evaluate during the scan.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Train after the pruning with the dense network as teacher.
    #[arg(long)]
    distill: bool,
    /// One seed, few images, one epoch, LeNet-300-100 unless others are named: shows that it runs, in seconds.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Network {
    #[value(name = "lenet_300_100")]
    Lenet300,
    #[value(name = "lenet_5")]
    Lenet5,
    #[value(name = "resnet")]
    ResNet,
}

/// How a network is trained and scanned: convolutions take long, so they see fewer images.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    epochs: usize,
    /// Images that are trained on.
    images: usize,
    rate: f64,
    retrain: usize,
    /// Images held out that a scan evaluates.
    scanned: usize,
}

impl Network {
    const ALL: [Self; 3] = [Self::Lenet300, Self::Lenet5, Self::ResNet];

    fn plan(self) -> Plan {
        match self {
            Self::Lenet300 => Plan {
                name: "lenet_300_100",
                epochs: 6,
                images: 55_000,
                rate: 2e-3,
                retrain: RETRAIN.epochs,
                scanned: 5000,
            },
            Self::Lenet5 => Plan { name: "lenet_5", epochs: 1, images: 25_600, rate: 2e-3, retrain: 0, scanned: 2000 },
            Self::ResNet => Plan { name: "resnet", epochs: 1, images: 12_800, rate: 3e-3, retrain: 0, scanned: 500 },
        }
    }
}

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let data = Mnist::load(options.data.as_deref().unwrap_or(&default_dir()))?;
    let (mut train, mut validation, test) = data.hold_out();
    if options.quick {
        (train, validation) = (train.split_at(6000).0, validation.split_at(1000).0);
    }
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    let networks = match &options.only[..] {
        [] if options.quick => vec![Network::Lenet300],
        [] => Network::ALL.to_vec(),
        only => only.to_vec(),
    };
    for network in networks {
        let mut plan = network.plan();
        plan.epochs = options.epochs.unwrap_or(if options.quick { 1 } else { plan.epochs });
        plan.retrain = options.retrain.unwrap_or(if options.quick { plan.retrain.min(1) } else { plan.retrain });
        let train = train.clone().split_at(plan.images.min(train.len())).0;
        let scanned = validation.clone().split_at(plan.scanned.min(validation.len())).0;
        let (test, device, output) = (test.clone(), Device::flex().autodiff(), Output::new(options.json));
        let job = Job { options, plan, train, scanned, test, device, output };
        match network {
            Network::Lenet300 => job.run(Lenet300::new)?,
            Network::Lenet5 => job.run(Lenet5::new)?,
            Network::ResNet => job.run(|device| ResNet::new(&CHANNELS, device))?,
        }
    }
    Ok(())
}

struct Job<'a> {
    options: &'a Options,
    plan: Plan,
    train: Split,
    scanned: Split,
    test: Split,
    device: Device,
    output: Output,
}

/// One recipe on one network: test errors in percent, right after the pruning and after the training that may follow.
#[derive(Clone, Copy, Debug)]
struct Row {
    recipe: &'static str,
    /// What was asked for, by which rows are compared.
    sparsity: f64,
    total: f64,
    dense: f64,
    pruned: f64,
    retrained: Option<f64>,
}

impl Job<'_> {
    /// Trains, scans and prunes a network for each seed.
    fn run<M: Classifier + Sync>(&self, make: impl Fn(&Device) -> M) -> Result<(), Failed> {
        let start = Instant::now();
        let seeds = if self.options.quick { 1 } else { self.options.seeds };
        let mut rows = Vec::new();
        for seed in (self.options.from_seed..).take(seeds as usize) {
            self.device.seed(seed);
            rows.extend(self.seed(make(&self.device), seed)?);
        }
        for &sparsity in &self.options.sparsity {
            self.summary(&rows, sparsity, seeds, start.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn seed<M: Classifier + Sync>(&self, model: M, seed: u64) -> Result<Vec<Row>, Failed> {
        let Plan { name, epochs, rate, .. } = self.plan;
        let dense = self.train(model, Training::new(epochs, Rate::Cosine(rate)), seed, None);
        let error = dense.error(&self.test, &self.device);
        self.output.say(&format!("{name}, seed {seed}: dense, test error {error:.2} %\n"));

        let found = self.scan(&dense)?;
        self.output.say(&format!("cross entropy of {} images held out\n{found}\n", self.scanned.len()));
        for layer in &found.layers {
            for point in &layer.points {
                self.output.line(&json!({ "sensitivity": layer.path, "sparsity": point.sparsity, "value": point.value,
                    "dense": found.dense, "seed": seed, "network": name }));
            }
        }
        let mut rows = Vec::new();
        for &sparsity in &self.options.sparsity {
            let [uniform, global] = [pruner("uniform", sparsity)?, pruner("global", sparsity)?];
            let suggested = found.suggest_for(sparsity)?;
            let basis = if suggested.basis == Basis::Curves { "curves" } else { "recipe" };
            let picture = self.write(seed, sparsity, &found, &suggested)?;
            self.output.say(&format!(
                "suggested for {sparsity} of all weights\n{suggested}\npicture  {}\n",
                picture.display()
            ));
            // Where the curves do not tell, one threshold is what the recipe falls back to.
            let recipes = [("suggested", suggested.apply(&global)), ("uniform", uniform), ("global", global)];
            for (recipe, pruner) in recipes {
                let (pruned, retrained, total) = self.pruned(&pruner, &dense, seed)?;
                let row = Row { recipe, sparsity, total, dense: error, pruned, retrained };
                if (total - sparsity).abs() > 1e-3 {
                    return Err(
                        format!("{recipe} removes {total} of the weights, not {sparsity}: no comparison").into()
                    );
                }
                let again = retrained.map_or(String::new(), |error| format!("  {error:.2} % trained again"));
                self.output.say(&format!("{recipe:9}  {pruned:.2} % pruned{again}"));
                self.output.line(
                    &json!({ "recipe": recipe, "seed": seed, "total_sparsity": total, "dense_error": error,
                    "pruned_error": pruned, "retrained_error": retrained, "network": name, "sparsity": sparsity,
                    "basis": basis }),
                );
                rows.push(row);
            }
            self.output.say("");
        }
        Ok(rows)
    }

    fn scan<M: Classifier + Sync>(&self, model: &M) -> Result<Sensitivity, Failed> {
        let plain = self.device.clone().without_autodiff();
        let starts = (0..self.scanned.len()).step_by(1000);
        let batches: Vec<Batch> = starts
            .map(|start| {
                let indices: Vec<usize> = (start..(start + 1000).min(self.scanned.len())).collect();
                batch(&self.scanned, &indices, &plain)
            })
            .collect();
        let loss = |model: &M| {
            let model = model.valid();
            let of = |batch: &Batch| cross_entropy(&model, batch).into_scalar::<f64>() * batch.1.dims()[0] as f64;
            batches.iter().map(of).sum::<f64>() / self.scanned.len() as f64
        };
        let bar = self.output.bar("scan");
        let pruner = pruner("uniform", 0.5)?;
        let mut scan = Scan::new(&pruner).with_threads(self.options.threads).with_observer(|progress| {
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

    fn write(&self, seed: u64, sparsity: f64, found: &Sensitivity, suggested: &Suggestion) -> Result<PathBuf, Failed> {
        let name = format!("{}-{seed}", self.plan.name);
        let data = self.options.out.join(format!("{name}.json"));
        std::fs::write(&data, serde_json::to_string_pretty(found)?)
            .map_err(|error| format!("{}: {error}", data.display()))?;
        let picture = self.options.out.join(format!("{name}-{sparsity}.svg"));
        draw(&picture, found, suggested, "cross entropy")?;
        Ok(picture)
    }

    /// Errors before and after the training that follows, and the sparsity.
    fn pruned<M: Classifier>(&self, pruner: &Pruner, dense: &M, seed: u64) -> Result<(f64, Option<f64>, f64), Failed> {
        let mut model = dense.clone();
        let report = pruner.prune(&mut model, None)?;
        let pruned = model.error(&self.test, &self.device);
        if self.plan.retrain == 0 {
            return Ok((pruned, None, report.sparsity()));
        }
        let teacher = self.options.distill.then_some(dense);
        let model = self.train(model, RETRAIN.with_epochs(self.plan.retrain), seed, teacher);
        Ok((pruned, Some(model.error(&self.test, &self.device)), report.sparsity()))
    }

    fn train<M: Classifier>(&self, model: M, how: Training, seed: u64, teacher: Option<&M>) -> M {
        let mut random = StdRng::seed_from_u64(seed);
        let trainer = Trainer::new(how, &self.train, &self.device, &mut random).with_bar(self.output.bar("training"));
        let Some(teacher) = teacher.map(Module::valid) else { return trainer.run(model) };
        let distillation = Distillation::default();
        let loss = |model: &M, (images, labels): &Batch| {
            let wanted = teacher.forward(images.clone().without_autodiff());
            let found = model.forward(images.clone());
            distillation.loss(found, wanted, labels.clone()).expect("one shape, and a temperature above 0")
        };
        trainer.with_loss(loss).run(model)
    }

    fn summary(&self, rows: &[Row], sparsity: f64, seeds: u64, seconds: f64) {
        let mean = |recipe: &str, value: &dyn Fn(&Row) -> Option<f64>| {
            let of = rows.iter().filter(|row| row.recipe == recipe && row.sparsity == sparsity);
            let values: Option<Vec<f64>> = of.map(value).collect();
            values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
        };
        let name = self.plan.name;
        let total = mean("suggested", &|row| Some(row.total));
        let dense = mean("suggested", &|row| Some(row.dense));
        let recipes = ["suggested", "uniform", "global"];
        let pruned = recipes.map(|recipe| mean(recipe, &|row| Some(row.pruned)));
        let retrained = recipes.map(|recipe| mean(recipe, &|row| row.retrained));
        let percent = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.2} %"));
        self.output.say(&format!(
            "{name}: mean over {seeds} seeds, {sparsity} of the weights removed, dense {}",
            percent(dense)
        ));
        for (i, recipe) in recipes.iter().enumerate() {
            self.output.say(&format!(
                "{recipe:9}  {} pruned  {} trained again",
                percent(pruned[i]),
                percent(retrained[i])
            ));
        }
        self.output.say(&format!("time       {seconds:.0} s\n"));
        self.output.line(
            &json!({ "summary": { "total_sparsity": total, "dense_error": dense, "suggested_error": pruned[0],
            "uniform_error": pruned[1], "global_error": pruned[2], "suggested_retrained_error": retrained[0],
            "uniform_retrained_error": retrained[1], "global_retrained_error": retrained[2], "seeds": seeds,
            "distilled": self.options.distill, "seconds": seconds, "network": name, "sparsity": sparsity } }),
        );
    }
}

/// By magnitude.
fn pruner(allocator: &str, sparsity: f64) -> Result<Pruner, Failed> {
    let text = format!("criterion = \"magnitude\"\nallocator = \"{allocator}\"\nsparsity = {sparsity}");
    Ok(Pruner::from_toml(&text, &pruning_plugins::all())?)
}
