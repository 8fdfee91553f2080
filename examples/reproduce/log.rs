//! Rows of results, kept as JSON lines: [`Log`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What one variant of an experiment came to with one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Name of the experiment.
    pub experiment: String,
    /// Which of its variants.
    pub variant: String,
    /// Of the weights at the start and the order of the images.
    pub seed: u64,
    /// Fraction removed of the pruned layers.
    pub sparsity: f64,
    /// Percentage of test images that are taken for another digit.
    pub test_error: f64,
    /// The same of the images held out of the training set.
    pub validation_error: f64,
    /// How long it took.
    pub seconds: f64,
    /// What else the experiment measures.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Rows in memory and, if there is one, in a file that each is appended to as it comes.
#[derive(Debug)]
pub struct Log {
    rows: Mutex<Vec<Row>>,
    file: Option<Mutex<File>>,
    json: bool,
}

/// A file of rows that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The system says no.
    #[error("{}: cannot be opened or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that is no row.
    #[error("{}, line {line}: is no row of this program", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl Log {
    /// In memory alone; with `json` each row is printed as a line.
    #[must_use]
    pub fn in_memory(json: bool) -> Self {
        Self { rows: Mutex::default(), file: None, json }
    }

    /// With the rows of a file, if it exists, and new ones appended to it. A last line that was cut off is dropped.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn open(path: &Path, json: bool) -> Result<Self, LogError> {
        let io = |source| LogError::Io { path: path.to_path_buf(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let text = if path.exists() { std::fs::read_to_string(path).map_err(io)? } else { String::new() };
        // A run that was stopped while it wrote leaves a line without an end.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut rows = Vec::new();
        for (i, line) in text[..whole].lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            rows.push(serde_json::from_str(line).map_err(|source| LogError::Line {
                path: path.to_path_buf(),
                line: i + 1,
                source,
            })?);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        if whole < text.len() {
            file.set_len(whole as u64).map_err(io)?;
        }
        Ok(Self { rows: Mutex::new(rows), file: Some(Mutex::new(file)), json })
    }

    /// Every row so far.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn has(&self, experiment: &str, variant: &str, seed: u64) -> bool {
        self.rows().iter().any(|r| r.experiment == experiment && r.variant == variant && r.seed == seed)
    }

    pub(crate) fn add(&self, row: Row) -> std::io::Result<()> {
        let mut line = serde_json::to_string(&row)?;
        if self.json {
            println!("{line}");
        } else {
            let Row { experiment, variant, seed, sparsity, test_error, seconds, .. } = &row;
            let sparsity = 100.0 * sparsity;
            println!(
                "{experiment:10} {variant:26} seed {seed}  {sparsity:6.2} %  error {test_error:5.2} %  {seconds:6.1} s"
            );
        }
        if let Some(file) = &self.file {
            line.push('\n');
            file.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write_all(line.as_bytes())?;
        }
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: &str) -> Row {
        let (experiment, variant) = ("e".to_string(), variant.to_string());
        let more = Map::from_iter([("kept".to_string(), 3.into())]);
        Row { experiment, variant, seed: 1, sparsity: 0.5, test_error: 2.0, validation_error: 2.5, seconds: 1.0, more }
    }

    #[test]
    fn a_file_that_was_cut_off_goes_on_after_its_last_whole_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/rows.jsonl");
        let log = Log::open(&path, true).unwrap();
        log.add(row("a")).unwrap();
        log.add(row("b")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let log = Log::open(&path, true).unwrap();
        assert!(log.has("e", "a", 1) && !log.has("e", "b", 1) && !log.has("e", "a", 2));
        log.add(row("b")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_file_of_something_else_is_an_error_that_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "\n{\"x\": 1}\n").unwrap();
        assert!(Log::open(&path, true).unwrap_err().to_string().ends_with("line 2: is no row of this program"));
    }
}
