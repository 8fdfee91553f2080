//! The problems of a recipe: [`Problem`], and all of them together in [`RecipeError`].

use crate::shown;
use std::fmt;

/// A problem at one place of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The dotted path of the place, as in `schedule.curve`; empty for the recipe as a whole.
    pub path: String,
    /// The message, which contains the value.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = shown::text(&self.message);
        if self.path.is_empty() { f.write_str(&message) } else { write!(f, "{}: {message}", shown::list([&self.path])) }
    }
}

/// An error with all problems of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} in the recipe:{}", count(problems.len()), lines(problems))]
#[non_exhaustive]
pub struct RecipeError {
    /// The problems, in the order of the recipe's documentation.
    pub problems: Vec<Problem>,
}

impl RecipeError {
    /// Creates the error of a text that cannot be read at all.
    pub(super) fn of_text(error: impl fmt::Display) -> Self {
        let message = error.to_string().trim_end().to_string();
        Self { problems: vec![Problem { path: String::new(), message }] }
    }
}

/// Formats a line for each problem, up to the number that anyone reads.
fn lines(problems: &[Problem]) -> String {
    const MOST: usize = 50;
    let lines: String = problems.iter().take(MOST).map(|p| format!("\n  {p}")).collect();
    match problems.len().saturating_sub(MOST) {
        0 => lines,
        more => format!("{lines}\n  and {more} more"),
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 problem".to_string() } else { format!("{n} problems") }
}

/// The keys of a recipe and of its tables, in the order in which problems with them are told.
const KEYS: &[&str] = &[
    "sparsity",
    "count",
    "criterion",
    "granularity",
    "compare",
    "allocator",
    "reduction",
    "channel_score",
    "rounding",
    "skip_unfit",
    "allow_empty",
    "reconstruct",
    "sequential",
    "initialization",
    "schedule",
    "target",
    "override",
    "grow",
    "kind",
    "at",
    "begin",
    "rounds",
    "fraction",
    "anneal",
    "every",
    "end",
    "initial",
    "curve",
    "exclude",
    "include",
];

/// The problems that reading and checking have found. Each remembers its place, by which they are sorted in the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Vec<(Vec<usize>, Problem)>);

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl fmt::Display) {
        let path = path.into();
        self.0.push((place(&path), Problem { path, message: message.to_string() }));
    }

    /// Adds the problem of a missing key: it belongs to the table, at the place of the key.
    pub(super) fn missing(&mut self, path: &str, message: impl fmt::Display) {
        let table = path.rsplit_once('.').map_or("", |(table, _)| table);
        self.0.push((place(path), Problem { path: table.to_string(), message: message.to_string() }));
    }

    /// Returns whether there is a problem at the place, or within it.
    pub(super) fn about(&self, path: &str) -> bool {
        let within =
            |found: &str| found.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.0.iter().any(|(_, problem)| within(&problem.path))
    }

    /// Returns the outcome, unless there are problems.
    pub(super) fn or<T>(mut self, outcome: Option<T>) -> Result<T, RecipeError> {
        match outcome {
            Some(outcome) if self.0.is_empty() => Ok(outcome),
            _ => {
                self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
                Err(RecipeError { problems: self.0.into_iter().map(|(_, problem)| problem).collect() })
            }
        }
    }
}

/// Returns where a path stands: keys by their order, entries of a list by their number, unknown keys last.
fn place(path: &str) -> Vec<usize> {
    let of = |key: &str| KEYS.iter().position(|known| *known == key).or(key.parse().ok()).unwrap_or(usize::MAX);
    path.split('.').filter(|_| !path.is_empty()).map(of).collect()
}
