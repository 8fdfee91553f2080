//! `burn-prune masks`.

use crate::args::{ApplyArgs, ExtractArgs, RecipeArgs};
use crate::checkpoint::{Checkpoint, ElementType, Target, TensorEntry, nonzero, save, write};
use crate::error::CommandError;
use crate::output::{Output, percent, shown_path, table};
use crate::outputs::{RENAME, named, spare};
use crate::recipe;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Row {
    name: String,
    elements: usize,
    kept: usize,
}

fn output(rows: Vec<Row>, written: &Path) -> Output {
    let lines = rows.iter().map(|row| {
        [
            row.name.clone(),
            row.elements.to_string(),
            row.kept.to_string(),
            percent(row.elements - row.kept, row.elements),
        ]
    });
    let text =
        table(["tensor", "elements", "kept", "removed"], 1, lines) + &format!("\n{} written\n", written.display());
    Output::new(text, serde_json::json!({ "output": shown_path(written), "tensors": rows }))
}

pub(crate) fn extract(args: &ExtractArgs) -> Result<Output, CommandError> {
    let checkpoint = Checkpoint::open_with(&args.file.file, &args.file.options())?;
    spare(&checkpoint.files(), &[&args.output], RENAME)?;
    named(&args.output, "safetensors")?;
    // The targets of a pruning with these patterns.
    let recipe = RecipeArgs { sparsity: Some(0.5), include: args.include.clone(), ..RecipeArgs::default() };
    let report = recipe::pruner(&recipe)?.report(&checkpoint);
    let report = report.map_err(|error| CommandError::prune(checkpoint.file(), error))?;
    let mut places: Vec<usize> = report.layers.iter().filter_map(|layer| checkpoint.place(&layer.path)).collect();
    places.sort_unstable();
    let mask = |&place: &usize| {
        let tensor = &checkpoint.tensors()[place];
        TensorEntry::new(
            tensor.name().to_string(),
            ElementType::new("BOOL"),
            tensor.shape().to_vec(),
            tensor.elements() as u64,
        )
    };
    let tensors: Vec<TensorEntry> = places.iter().map(mask).collect();
    let mut rows = Vec::new();
    let read = |i: usize| {
        let tensor = &checkpoint.tensors()[places[i]];
        let keep = nonzero(&checkpoint.read(places[i])?, tensor.element());
        rows.push(Row { name: tensor.name().to_string(), elements: keep.len(), kept: keep.count_ones() });
        Ok(keep.to_bytes())
    };
    let texts = [("format", "pt"), ("masks", "true = keep")].map(|(name, text)| (name.to_string(), text.to_string()));
    save(&tensors, &texts.into(), &args.output, read)?;
    Ok(output(rows, &args.output))
}

pub(crate) fn apply(args: &ApplyArgs) -> Result<Output, CommandError> {
    let (masks, checkpoint) =
        (Checkpoint::open(&args.masks)?, Checkpoint::open_with(&args.file.file, &args.file.options())?);
    if masks.tensors().is_empty() {
        return Err(CommandError::file(masks.file(), "holds no masks; `burn-prune masks extract` makes them"));
    }
    for mask in masks.tensors() {
        let wrong = |reason: String| Err(CommandError::tensor(masks.file(), mask.name(), reason));
        let Some(place) = checkpoint.place(mask.name()) else {
            return wrong(format!("is no tensor of {}", checkpoint.file().display()));
        };
        let tensor = &checkpoint.tensors()[place];
        if tensor.shape() != mask.shape() {
            return wrong(format!("has shape {:?}, the tensor {:?}", mask.shape(), tensor.shape()));
        }
        if !matches!(mask.element().name(), "BOOL" | "U8") {
            return wrong(format!(
                "is no mask: its type is {}; `burn-prune masks extract` makes masks",
                mask.element().name()
            ));
        }
        if !tensor.is_parameter() {
            return wrong(format!("masks a tensor of type {}, which is no float", tensor.element().name()));
        }
    }
    let read = masks.files();
    let others: Vec<&Path> = read.iter().map(PathBuf::as_path).collect();
    let target = Target::of(&checkpoint, args.place.output.as_deref(), &others)?;
    let mut rows = Vec::new();
    let written = write(&checkpoint, target, 0, |index| {
        let tensor = &checkpoint.tensors()[index];
        let mut bytes = checkpoint.read(index)?;
        let Some(place) = masks.place(tensor.name()) else { return Ok(bytes) };
        let keep = masks.read(place)?;
        if let Some(at) = keep.iter().position(|keep| *keep > 1) {
            let reason = format!("element {at} is neither 0 nor 1");
            return Err(CommandError::tensor(masks.file(), tensor.name(), reason));
        }
        let size = (bytes.len() / keep.len().max(1)).max(1);
        bytes.chunks_mut(size).zip(&keep).filter(|(_, keep)| **keep == 0).for_each(|(element, _)| element.fill(0));
        let kept = keep.iter().filter(|keep| **keep == 1).count();
        rows.push(Row { name: tensor.name().to_string(), elements: keep.len(), kept });
        Ok(bytes)
    })?;
    Ok(output(rows, &written))
}
