//! Recipes from files and from the short forms of arguments: [`pruner`].

use crate::args::RecipeArgs;
use crate::checkpoint::Checkpoint;
use crate::error::CommandError;
use pruning_burn::Pruner;
use pruning_burn::report::Report;
use pruning_core::schedule::Initialization;
use pruning_core::score::Granularity;
use std::path::Path;
use toml::{Table, Value};

/// The pruner of a recipe. Short forms replace what a file says.
pub(crate) fn pruner(args: &RecipeArgs) -> Result<Pruner, CommandError> {
    let (mut recipe, mut file) = (Table::new(), "the options".to_string());
    if let Some(path) = &args.recipe {
        let text = std::fs::read_to_string(path).map_err(|error| CommandError::file(path, error))?;
        recipe = text.parse().map_err(|error: toml::de::Error| CommandError::file(path, error))?;
        file = path.display().to_string();
    } else {
        recipe.insert("criterion".to_string(), "magnitude".into());
    }
    let given =
        [args.criterion.is_some(), args.allocator.is_some(), args.granularity.is_some(), args.sparsity.is_some()];
    if args.recipe.is_some() && given.contains(&true) {
        file += " with the options";
    }
    // An option replaces the keys of the file that cannot stand beside it; what conflicts with another option is still an error.
    if args.granularity.as_deref().is_some_and(is_pattern) {
        for key in ["sparsity", "count", "allocator"] {
            recipe.remove(key);
        }
    }
    if let Some(sparsity) = args.sparsity {
        recipe.remove("count");
        recipe.insert("sparsity".to_string(), sparsity.into());
    }
    let plugins = [("criterion", &args.criterion), ("allocator", &args.allocator), ("granularity", &args.granularity)];
    for (key, text) in plugins {
        if let Some(text) = text {
            recipe.insert(key.to_string(), value(key, text)?);
        }
    }
    for (key, patterns) in [("include", &args.include), ("exclude", &args.exclude)] {
        if patterns.is_empty() {
            continue;
        }
        let target = recipe.entry("target").or_insert_with(|| Table::new().into());
        let wrong = || CommandError::Usage(format!("{file}: target is not a table, so --{key} cannot change it"));
        let patterns: Vec<Value> = patterns.iter().map(|pattern| pattern.as_str().into()).collect();
        target.as_table_mut().ok_or_else(wrong)?.insert(key.to_string(), patterns.into());
    }
    let text = toml::to_string(&recipe).map_err(|error| CommandError::Usage(error.to_string()))?;
    Pruner::from_toml(&text, &pruning_plugins::all()).map_err(|source| CommandError::Recipe { file, source })
}

/// The pruner of a file.
pub(crate) fn of_file(path: &Path) -> Result<Pruner, CommandError> {
    pruner(&RecipeArgs { recipe: Some(path.to_path_buf()), ..RecipeArgs::default() })
}

/// What a recipe does to a checkpoint, as far as can be told without writing. The weights are read unless the recipe needs more than those.
pub(crate) fn outcome(pruner: &Pruner, checkpoint: &Checkpoint) -> Result<Report, CommandError> {
    let alone = pruner.needs().is_empty() && pruner.recipe().reconstruct.is_none() && !pruner.recipe().sequential;
    let report = match alone {
        true => pruner.choose(checkpoint, None).and_then(|choices| choices.report()),
        false => pruner.report(checkpoint),
    };
    checkpoint.sound()?;
    report.map_err(|error| CommandError::prune(checkpoint.file(), error))
}

/// The keys of a recipe that say something about a training, which a file has not.
pub(crate) fn ignored(pruner: &Pruner) -> Vec<&'static str> {
    let recipe = pruner.recipe();
    let keys = [("initialization", recipe.initialization != Initialization::Keep), ("grow", recipe.grow.is_some())];
    keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
}

/// The same as a line of text, or nothing.
pub(crate) fn shown_ignored(keys: &[&str]) -> String {
    let keys = keys.join(" and ");
    if keys.is_empty() { keys } else { format!("{keys}: for trainings; the weights of a file stay as they are\n") }
}

/// Whether a granularity is a pattern of N in M.
fn is_pattern(text: &str) -> bool {
    text.parse::<Granularity>().is_ok_and(|granularity| matches!(granularity, Granularity::Nm { .. }))
}

/// A name, or a table in TOML.
fn value(key: &str, text: &str) -> Result<Value, CommandError> {
    if !text.trim_start().starts_with('{') {
        return Ok(text.into());
    }
    let wrong = |error: toml::de::Error| CommandError::Usage(format!("--{key} {text}: {}", error.message()));
    let mut table: Table = format!("value = {text}").parse().map_err(wrong)?;
    Ok(table.remove("value").unwrap_or_else(|| text.into()))
}
