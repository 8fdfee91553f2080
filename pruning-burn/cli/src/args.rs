//! The arguments of the command: [`Cli`].

use crate::checkpoint::{Layout, Options};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Prunes checkpoints: safetensors (single or sharded), PyTorch and burnpack files.
///
/// Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 interrupted. After a failure no output is left, and no input has changed.
#[derive(Debug, Parser)]
#[command(name = "burn-prune", version, arg_required_else_help = true)]
pub struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Show the tensors of a file: types, shapes, layers, zeros, norms, histograms, and which of them are pruned
    Inspect(InspectArgs),
    /// Prune a file
    Prune(PruneArgs),
    /// Tell what a recipe would do to a file, without doing it
    Check(CheckArgs),
    /// Compare two files, tensor by tensor
    Diff(DiffArgs),
    /// Write a file in sparse formats, as small as they make it
    Compact(OutArgs),
    /// Make the checkpoint again that a compact file was made of, byte for byte
    Expand(ExpandArgs),
    /// Take the masks out of a file, or put them on another one
    #[command(subcommand)]
    Masks(MasksCommand),
    /// Make a page of HTML of what `prune --json`, `compact --json` or a program wrote
    Report(ReportArgs),
    /// List the criteria, allocators, curves and reconstructions
    Plugins,
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Masks of files.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum MasksCommand {
    /// Write which weights of a file are not zero, as booleans under the names of the tensors
    Extract(ExtractArgs),
    /// Set to zero in a file what the masks of another one do not keep
    Apply(ApplyArgs),
}

/// A checkpoint, and how to read it.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// A safetensors, PyTorch or burnpack file, an index of shards, or a folder with one of these
    pub file: PathBuf,
    /// The order of the axes of linear weights; told by the file otherwise
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// The type of the layers that match a pattern, in Burn's words: `h.*.c_attn=Linear`
    #[arg(long = "kind", value_name = "PATTERN=TYPE", value_parser = kind)]
    pub kinds: Vec<(String, String)>,
}

impl FileArgs {
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        (options.layout, options.kinds) = (self.layout, self.kinds.clone());
        options
    }
}

fn kind(text: &str) -> Result<(String, String), String> {
    let parts = text.rsplit_once('=').filter(|(pattern, kind)| !pattern.is_empty() && !kind.is_empty());
    parts.map(|(pattern, kind)| (pattern.to_string(), kind.to_string())).ok_or("expected PATTERN=TYPE".to_string())
}

/// A recipe, as a file or in short forms, which replace the keys of the file.
#[derive(Debug, Default, Args)]
pub struct RecipeArgs {
    /// A recipe in TOML
    #[arg(long)]
    pub recipe: Option<PathBuf>,
    /// The fraction of weights to remove
    #[arg(long)]
    pub sparsity: Option<f64>,
    /// The criterion, a name or a table in TOML: `{ name = "magnitude", p = 2 }`
    #[arg(long)]
    pub criterion: Option<String>,
    /// The allocator, a name or a table in TOML
    #[arg(long)]
    pub allocator: Option<String>,
    /// The granularity: `element`, `2:4`, `channel`, or a table in TOML
    #[arg(long)]
    pub granularity: Option<String>,
    /// A pattern of parameters to prune
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// A pattern of parameters to leave alone
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
}

/// Where the result goes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhereArgs {
    /// The file to write; a folder for a checkpoint in shards
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Replace the input
    #[arg(long)]
    pub in_place: bool,
}

/// Arguments of `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The checkpoint.
    #[command(flatten)]
    pub file: FileArgs,
    /// The recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The output.
    #[command(flatten)]
    pub place: WhereArgs,
    /// What the layers see, as saved from a `Calibration`, for criteria and reconstructions that look at it
    #[arg(long)]
    pub calibration: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A recipe in TOML
    pub recipe: PathBuf,
    /// The checkpoint.
    #[command(flatten)]
    pub file: FileArgs,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The checkpoint.
    #[command(flatten)]
    pub file: FileArgs,
    /// A recipe in TOML, whose targets are shown
    #[arg(long)]
    pub recipe: Option<PathBuf>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The first file
    pub before: PathBuf,
    /// The second file
    pub after: PathBuf,
}

/// Arguments of commands that make a file of a file.
#[derive(Debug, Args)]
pub struct OutArgs {
    /// The checkpoint.
    #[command(flatten)]
    pub file: FileArgs,
    /// The file to write
    #[arg(short, long)]
    pub output: PathBuf,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What `--json` printed, or a page that a program saved as JSON
    #[arg(value_name = "JSON")]
    pub json_file: PathBuf,
    /// The page to write
    #[arg(short, long)]
    pub output: PathBuf,
    /// Show the distribution of scores too; reads the file that was pruned, which must be as it was
    #[arg(long)]
    pub scores: bool,
}

/// Arguments of `expand`.
#[derive(Debug, Args)]
pub struct ExpandArgs {
    /// The compact file
    pub file: PathBuf,
    /// The file to write; a folder for a checkpoint in shards
    #[arg(short, long)]
    pub output: PathBuf,
}

/// Arguments of `masks extract`.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// The checkpoint.
    #[command(flatten)]
    pub file: FileArgs,
    /// The file of masks to write, in safetensors format
    #[arg(short, long)]
    pub output: PathBuf,
    /// Patterns of the tensors; all weights of linear and convolution layers by default
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
}

/// Arguments of `masks apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The file of masks
    pub masks: PathBuf,
    /// The checkpoint.
    #[command(flatten)]
    pub file: FileArgs,
    /// The output.
    #[command(flatten)]
    pub place: WhereArgs,
}
