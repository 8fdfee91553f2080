//! Published experiments with pruning on MNIST, with several seeds: how close this library comes to them.

use clap::Parser;
use pruning_examples::mnist::{Mnist, default_dir};
use pruning_examples::{Failed, exit};
use pruning_reproduce::{EXPERIMENTS, Experiment, Log, Run, Runner, check, draw, fill, table};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

// The system's allocator gives every large buffer back at once, which makes training up to three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Published experiments with pruning on MNIST, and how close this library comes to them.
#[derive(Debug, Parser)]
struct Options {
    /// Only these experiments; all by default.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(EXPERIMENTS.iter().map(|e| e.name)))]
    only: Vec<String>,
    /// Seeds 1 to N.
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Seeds that run at the same time, each on a thread; by default as many as there are cores.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// File of finished rows, as JSON lines; what it holds is not run again.
    #[arg(long, value_name = "FILE", default_value = "out/reproduce.jsonl")]
    out: PathBuf,
    /// Folder for a picture of each experiment with several sparsities.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Text file in which the tables between `<!-- rows: NAME -->` and `<!-- end of rows -->` are made anew.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Few images and epochs, one seed, no file: checks in less than a minute the orderings that are robust.
    #[arg(long)]
    quick: bool,
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
    let start = Instant::now();
    let log = if options.quick { Log::in_memory(options.json) } else { Log::open(&options.out, options.json)? };
    let runner = Runner::new(Mnist::load(options.data.as_deref().unwrap_or(&default_dir()))?, options.quick);
    let asked = |e: &&Experiment| options.only.is_empty() || options.only.iter().any(|name| name == e.name);
    let chosen: Vec<_> = EXPERIMENTS.iter().filter(asked).collect();
    for experiment in &chosen {
        seeds(experiment, options, &runner, &log)?;
    }
    let rows = log.rows();
    if !options.json {
        for experiment in &chosen {
            println!("\n{}: {}\n\n{}", experiment.name, experiment.about, table(experiment.name, &rows));
        }
        println!("\n{:.0} s", start.elapsed().as_secs_f64());
    }
    if let Some(folder) = &options.pictures {
        std::fs::create_dir_all(folder)?;
        for experiment in &chosen {
            draw(&folder.join(format!("{}.svg", experiment.name)), experiment.name, experiment.about, &rows)?;
        }
    }
    if let Some(path) = &options.results {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        std::fs::write(path, fill(&text, &rows))?;
    }
    if options.quick && options.only.is_empty() { check(&rows) } else { Ok(()) }
}

/// One experiment with every seed, `jobs` of them at a time.
fn seeds(experiment: &Experiment, options: &Options, runner: &Runner, log: &Log) -> Result<(), Failed> {
    let last = if options.quick { 1 } else { options.seeds };
    let next = AtomicU64::new(1);
    let work = || -> Result<(), Failed> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return Ok(());
            }
            (experiment.run)(&Run { runner, log, experiment: experiment.name, seed })?;
        }
    };
    std::thread::scope(|scope| {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = options.jobs.unwrap_or_else(cores).max(1);
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a seed panicked".into())))
    })
}
