//! Prunes the weights of a file: loads a checkpoint of PyTorch or Burn into a Burn module, prunes it, measures it, and saves it in the layout
//! that it came in.

use burn::tensor::Device;
use clap::Parser;
use pruning_burn::prelude::*;
use pruning_examples::digits::{Digits, NAMES};
use pruning_examples::mnist::{Mnist, default_dir};
use pruning_examples::training::Classifier;
use pruning_examples::{Failed, exit};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Layers by the names of the file: all weights but those of the last layer.
const RECIPE: &str = "
    criterion = \"magnitude\"
    allocator = \"global\"
    sparsity = 0.8
    target = { exclude = [\"classifier.3\"] }
";

/// Prunes a checkpoint of a small network for digits, without any training, and saves it in the layout that it came in.
#[derive(Debug, Parser)]
struct Options {
    /// Files of this network: .safetensors, .pt or .bpk; without any, one of each.
    files: Vec<PathBuf>,
    /// The recipe, a TOML file, whose patterns may use the names of the file or the paths of the module.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Folder for the pruned files.
    #[arg(long, value_name = "DIR", default_value = "out/load_checkpoint")]
    out: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failed> {
    let recipe = options.recipe.as_ref().map_or(Ok(RECIPE.to_string()), std::fs::read_to_string)?;
    let pruner = Pruner::from_toml(&recipe, &pruning_plugins::all())?.with_names(NAMES);
    let device = Device::flex();
    let test = Mnist::load(&default_dir())?.test;
    std::fs::create_dir_all(&options.out)?;
    let files = if options.files.is_empty() { one_of_each(&options.out, &device)? } else { options.files.clone() };
    for file in files {
        let (mut model, applied) = Digits::load(&file, &device)?;
        let dense = model.error(&test, &device);
        let report = pruner.prune(&mut model, None)?;
        finish(&mut model)?;
        let pruned = model.error(&test, &device);

        let saved = options.out.join(name(&file));
        model.save(&saved)?;
        let (back, _) = Digits::load(&saved, &device)?;
        println!("{}", file.display());
        println!("  {} tensors, and no place in the module for: {}", applied.applied.len(), applied.unused.join(", "));
        println!(
            "  {:.1} % of the weights removed: test error {dense:.2} %, then {pruned:.2} %",
            100.0 * report.sparsity()
        );
        println!("  saved as {}, which has {:.2} % when loaded again\n", saved.display(), back.error(&test, &device));
    }
    Ok(())
}

/// The two files that come with this example, and one that Burn makes.
fn one_of_each(out: &Path, device: &Device) -> Result<Vec<PathBuf>, Failed> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits"));
    let (safetensors, pytorch) = (folder.join("model.safetensors"), folder.join("model.pt"));
    let burnpack = out.join("model.bpk");
    Digits::load(&safetensors, device)?.0.save(&burnpack)?;
    Ok(vec![safetensors, pytorch, burnpack])
}

/// The name of the pruned file, which is beside those of other containers: nothing in Rust writes `.pt`.
fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("bpk") => format!("{stem}-pruned.bpk"),
        Some(other) => format!("{stem}-{other}-pruned.safetensors"),
        None => format!("{stem}-pruned.safetensors"),
    }
}
