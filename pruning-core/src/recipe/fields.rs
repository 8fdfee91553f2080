//! Reading a table of a recipe so that every problem in it is found, not only the first.

use crate::plugin::{did_you_mean, nearest};
use crate::recipe::problem::Problems;
use crate::shown;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A table of a recipe, from which each field is taken once; the fields that are left over are problems.
pub(super) struct Fields<'p> {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'p> Fields<'p> {
    /// Creates a table from a value; a value that is not a table is a problem.
    pub(super) fn new(path: impl Into<String>, value: Value, problems: &'p mut Problems) -> Self {
        let path = path.into();
        let map = match value {
            Value::Object(map) => map,
            other => {
                problems.add(&path, format!("expected a table, not {other}"));
                Map::new()
            }
        };
        Self { path, map, known: Vec::new(), problems }
    }

    fn path_of(&self, field: &str) -> String {
        // A key may be empty, and the problem with it is still one of a key.
        let field = if field.is_empty() { "(empty)" } else { field };
        if self.path.is_empty() { field.to_string() } else { format!("{}.{field}", self.path) }
    }

    pub(super) fn problem(&mut self, field: &str, message: impl std::fmt::Display) {
        self.problems.add(self.path_of(field), message);
    }

    pub(super) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    pub(super) fn raw(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.map.remove(field)
    }

    /// Takes a field; returns `None` if it is absent or wrong.
    pub(super) fn take<T: DeserializeOwned>(&mut self, field: &'static str) -> Option<T> {
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

    /// Ends the table: fields that were not taken are problems.
    pub(super) fn finish(mut self) {
        for key in std::mem::take(&mut self.map).keys() {
            let near = nearest(key, self.known.iter().copied());
            let mut known = self.known.clone();
            known.sort_unstable();
            let hint = did_you_mean(&near);
            self.problem(key, format!("unknown key{hint}; there are: {}", shown::list(known)));
        }
    }
}
