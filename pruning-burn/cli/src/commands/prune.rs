//! `burn-prune prune`.

use crate::args::PruneArgs;
use crate::checkpoint::{self, Alike, Checkpoint, Target, TensorEntry, write};
use crate::error::CommandError;
use crate::output::{Output, shown_path};
use crate::recipe;
use pruning_burn::Pruner;
use pruning_burn::calibrate::Calibration;
use pruning_burn::report::Report;
use pruning_burn::score::CriterionInputs;
use pruning_burn::store::load;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// What came out of a pruning.
struct Done {
    report: Report,
    output: PathBuf,
    zeros: Zeros,
    /// Tensors of a file of PyTorch that hold the same numbers: views of one storage, which are tensors of their own from now on.
    alike: Vec<Vec<String>>,
}

/// Zeros before and after, by tensor. Those that were there before count as kept where nothing asked for their place.
type Zeros = BTreeMap<String, [usize; 2]>;

pub(crate) fn prune(args: &PruneArgs) -> Result<Output, CommandError> {
    let checkpoint = Checkpoint::open_with(&args.file.file, &args.file.options())?;
    let pruner = recipe::pruner(&args.recipe)?;
    let others: Vec<&Path> = args.recipe.recipe.iter().chain(&args.calibration).map(PathBuf::as_path).collect();
    let target = Target::of(&checkpoint, args.place.output.as_deref(), &others)?;
    let calibration = args.calibration.as_deref().map(calibration).transpose()?;
    let inputs = calibration.as_ref().map(CriterionInputs::from);
    let Done { report, output, zeros, alike } = if pruner.recipe().reconstruct.is_some() {
        reconstructed(&checkpoint, &pruner, inputs.as_ref(), target)?
    } else {
        masked(&checkpoint, &pruner, inputs.as_ref(), target)?
    };
    let untouched = untouched(&checkpoint);
    let recipe = pruner.recipe().to_toml();
    let mut text = format!("{report}\n");
    let ignored = recipe::ignored(&pruner);
    text += &recipe::shown_ignored(&ignored);
    let all = zeros.values().fold([0, 0], |all, zeros| [all[0] + zeros[0], all[1] + zeros[1]]);
    text += &checkpoint.note().map(|note| format!("{note}\n")).unwrap_or_default();
    for names in &alike {
        let names = pruning_burn::shown::list(names);
        text += &format!(
            "{names} hold the same numbers: if they share them in PyTorch, they are tensors of their own now\n"
        );
    }
    text += &format!("zeros in these layers: {} before, {} after\n", all[0], all[1]);
    for (element, tensors) in &untouched {
        let names = pruning_burn::shown::list(tensors);
        text += &format!("of type {element}, which is not pruned, and copied as they are: {names}\n");
    }
    text += &format!("{} written\n\n{recipe}", output.display());
    let json = serde_json::json!({
        "file": shown_path(checkpoint.file()), "output": shown_path(&output), "container": checkpoint.container(), "layout": checkpoint.layout(),
        "recipe": recipe, "report": report, "untouched": untouched, "zeros": zeros, "same_numbers": alike, "note": checkpoint.note(),
        "ignored": ignored,
    });
    Ok(Output::new(text, json))
}

/// What layers see, from a file.
fn calibration(file: &Path) -> Result<Calibration, CommandError> {
    if Checkpoint::open(file).is_ok() {
        return Err(CommandError::file(file, "is a checkpoint and no calibration; `Calibration::collect` makes one"));
    }
    Ok(load(file)?.into_calibration()?)
}

/// Prunes, and writes the file with zeros, with the weights of few layers in memory at a time.
fn masked(
    checkpoint: &Checkpoint,
    pruner: &Pruner,
    inputs: Option<&CriterionInputs>,
    target: Target,
) -> Result<Done, CommandError> {
    let failed = |error| CommandError::prune(checkpoint.file(), error);
    // What a shared budget takes: two passes.
    checkpoint.progress().begin("choosing", 2 * bytes_of(checkpoint, |tensor| tensor.is_parameter()));
    let choices = pruner.choose(checkpoint, inputs);
    checkpoint.sound()?;
    let choices = choices.map_err(failed)?;
    let paths: HashSet<&str> = choices.paths().collect();
    let again = bytes_of(checkpoint, |tensor| paths.contains(tensor.name()));
    let (mut zeros, mut alike) = (Zeros::new(), Alike::default());
    let views = checkpoint.container() == "pytorch";
    let output = write(checkpoint, target, again, |index| {
        let tensor = &checkpoint.tensors()[index];
        let mask = choices.mask(tensor.name());
        checkpoint.sound()?;
        let mask = mask.map_err(failed)?;
        let mut bytes = checkpoint.read(index)?;
        if views {
            alike.note(tensor, &bytes);
        }
        if let Some(mask) = mask {
            let before = checkpoint::zeros(&bytes, tensor.element());
            checkpoint::mask(&mut bytes, tensor, mask.bits());
            zeros.insert(tensor.name().to_string(), [before, checkpoint::zeros(&bytes, tensor.element())]);
        }
        Ok(bytes)
    })?;
    Ok(Done { report: choices.report().map_err(failed)?, output, zeros, alike: alike.groups() })
}

fn bytes_of(checkpoint: &Checkpoint, wanted: impl Fn(&TensorEntry) -> bool) -> u64 {
    checkpoint.tensors().iter().filter(|tensor| wanted(tensor)).map(TensorEntry::bytes).sum()
}

/// Prunes and reconstructs in memory, and writes what came out of it.
fn reconstructed(
    checkpoint: &Checkpoint,
    pruner: &Pruner,
    inputs: Option<&CriterionInputs>,
    target: Target,
) -> Result<Done, CommandError> {
    let mut model = checkpoint.clone();
    let pruned = pruner.prune(&mut model, inputs);
    checkpoint.sound()?;
    let failed = |error| CommandError::prune(checkpoint.file(), error);
    let report = pruned.map_err(failed)?;
    let changed: Vec<String> = report.layers.iter().map(|layer| layer.path.clone()).collect();
    pruning_burn::mask::finish(&mut model).map_err(failed)?;
    checkpoint.sound()?;
    let (mut zeros, mut alike) = (Zeros::new(), Alike::default());
    let views = checkpoint.container() == "pytorch";
    let output = write(checkpoint, target, 0, |index| {
        let tensor = &checkpoint.tensors()[index];
        let before = checkpoint.read(index)?;
        if views {
            alike.note(tensor, &before);
        }
        let own = changed.iter().any(|path| path == tensor.name());
        let Some(after) = model.changed(index).filter(|_| own) else { return Ok(before) };
        let after = after?;
        let counts = [&before, &after].map(|bytes| checkpoint::zeros(bytes, tensor.element()));
        zeros.insert(tensor.name().to_string(), counts);
        Ok(after)
    })?;
    Ok(Done { report, output, zeros, alike: alike.groups() })
}

/// Tensors of types that are not pruned, by type.
fn untouched(checkpoint: &Checkpoint) -> BTreeMap<String, Vec<String>> {
    let mut by_type: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for tensor in checkpoint.tensors().iter().filter(|tensor| !tensor.is_parameter()) {
        by_type.entry(tensor.element().name().to_string()).or_default().push(tensor.name().to_string());
    }
    by_type
}
