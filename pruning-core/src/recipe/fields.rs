//! Reading a table of a recipe so that every problem in it is found, not only the first.

use crate::plugin::nearest;
use crate::shown;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Something wrong at one place of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path, as in `schedule.curve`; empty for the recipe as a whole.
    pub path: String,
    /// What is wrong, with the value.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = shown::text(&self.message);
        if self.path.is_empty() { f.write_str(&message) } else { write!(f, "{}: {message}", shown::list([&self.path])) }
    }
}

/// One table: each field is taken once, and what is left over is a problem.
pub(crate) struct Fields<'p> {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Fields<'p> {
    /// A value that should be a table; anything else is a problem.
    pub(crate) fn new(path: impl Into<String>, value: Value, problems: &'p mut Vec<Problem>) -> Self {
        let path = path.into();
        let map = match value {
            Value::Object(map) => map,
            other => {
                problems.push(Problem { path: path.clone(), message: format!("expected a table, not {other}") });
                Map::new()
            }
        };
        Self { path, map, known: Vec::new(), problems }
    }

    pub(crate) fn path_of(&self, field: &str) -> String {
        // A key may be empty, and the problem with it is still one of a key.
        let field = if field.is_empty() { "(empty)" } else { field };
        if self.path.is_empty() { field.to_string() } else { format!("{}.{field}", self.path) }
    }

    pub(crate) fn problem(&mut self, field: &str, message: impl std::fmt::Display) {
        let path = if field.is_empty() { self.path.clone() } else { self.path_of(field) };
        self.problems.push(Problem { path, message: message.to_string() });
    }

    /// The texts of a list that must say something.
    pub(crate) fn no_empty<T>(&mut self, field: &str, list: &[T], text: impl Fn(&T) -> &str) {
        if list.iter().any(|each| text(each).is_empty()) {
            self.problem(field, "an empty pattern selects nothing: name a parameter or a module, or leave it out");
        }
    }

    pub(crate) fn problems(&mut self) -> &mut Vec<Problem> {
        self.problems
    }

    pub(crate) fn raw(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.map.remove(field)
    }

    /// The field, or nothing if it is absent or wrong.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, field: &'static str) -> Option<T> {
        let value = self.raw(field)?;
        let text = value.to_string();
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = error.to_string();
                // Our own errors show the value already, those of serde mostly do.
                let shown = message.to_lowercase().contains(&text.trim_matches('"').to_lowercase());
                self.problem(field, if shown { message } else { format!("{text}: {message}") });
                None
            }
        }
    }

    /// Ends the table: unknown fields are problems.
    pub(crate) fn finish(mut self) {
        for key in std::mem::take(&mut self.map).keys() {
            let near = nearest(key, self.known.iter().copied());
            let mut known = self.known.clone();
            known.sort_unstable();
            let hint = crate::plugin::did_you_mean(&near);
            let path = self.path_of(key);
            let message = format!("unknown key{hint}; there are: {}", shown::list(known));
            self.problems.push(Problem { path, message });
        }
    }
}
