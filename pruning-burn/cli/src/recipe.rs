//! Recipes from files and from the short forms of arguments: [`pruner`].

use crate::args::RecipeArgs;
use crate::error::CommandError;
use pruning_burn::Pruner;
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
    if let Some(sparsity) = args.sparsity {
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

/// A name, or a table in TOML.
fn value(key: &str, text: &str) -> Result<Value, CommandError> {
    if !text.trim_start().starts_with('{') {
        return Ok(text.into());
    }
    let wrong = |error: toml::de::Error| CommandError::Usage(format!("--{key} {text}: {}", error.message()));
    let mut table: Table = format!("value = {text}").parse().map_err(wrong)?;
    Ok(table.remove("value").unwrap_or_else(|| text.into()))
}
