//! What a command may write: [`spare`], [`named`].

use crate::error::CommandError;
use std::path::Path;

/// An error if an output would replace a file that the command reads, whatever path leads to it. The hint says what would help.
pub(crate) fn spare(inputs: &[impl AsRef<Path>], outputs: &[impl AsRef<Path>], hint: &str) -> Result<(), CommandError> {
    let replaced = |output: &&Path| inputs.iter().any(|input| same(input.as_ref(), output));
    match outputs.iter().map(AsRef::as_ref).find(replaced) {
        Some(output) => Err(CommandError::Usage(format!("{}: is the input; {hint}", output.display()))),
        None => Ok(()),
    }
}

/// What to do about an output that would replace an input.
pub(crate) const RENAME: &str = "give -o another name";

/// An error if the name of an output is that of another container than the one in which it is written, `safetensors` or `burnpack`.
pub(crate) fn named(output: &Path, written: &str) -> Result<(), CommandError> {
    let end = output.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    let other = if written == "burnpack" { "safetensors" } else { "bpk" };
    if [other, "pt", "pth", "bin", "json"].contains(&end.as_str()) {
        let output = output.display();
        return Err(CommandError::Usage(format!("{output}: is written as {written}; give that another name")));
    }
    Ok(())
}

/// Whether two paths lead to one file.
fn same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (one.canonicalize(), other.canonicalize()) else { return false };
    #[cfg(unix)]
    if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
        use std::os::unix::fs::MetadataExt;
        return (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    one == other
}
