//! The selection of parameters that are pruned: [`Pattern`] and [`Targets`].

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A pattern over parameter paths: `*` stands for any text, `?` for one character.
///
/// A pattern matches a parameter by its whole path, or every parameter under a module by the path of the module: `encoder`, `layers.?`,
/// `*.attention`. A pattern *names* parameters only if its last segment is plain text and equals the last segment of the parameter's path
/// (`fc1.bias`, `*.gamma`); otherwise it means the weights that are targets by default.
///
/// ```
/// use pruning_core::recipe::{Match, Pattern};
/// let pattern = Pattern::new("encoder.*.bias");
/// assert_eq!(pattern.matches("encoder.fc1.bias"), Some(Match::Named));
/// assert_eq!(Pattern::new("encoder").matches("encoder.fc1.bias"), Some(Match::Covered));
/// assert_eq!(Pattern::new("decoder").matches("encoder.fc1.bias"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

/// The way in which a pattern matches a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The pattern matches the parameter among others, by a wildcard or through its module.
    Covered,
    /// The pattern names the parameter.
    Named,
}

impl Pattern {
    /// Creates a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether and how the pattern matches the parameter at `path`.
    #[must_use]
    pub fn matches(&self, path: &str) -> Option<Match> {
        let last = |text: &str| text.rsplit('.').next().map(String::from);
        if glob(self.0.as_bytes(), path.as_bytes()) {
            return Some(if last(&self.0) == last(path) { Match::Named } else { Match::Covered });
        }
        let modules = path.match_indices('.').map(|(dot, _)| &path[..dot]);
        modules.into_iter().any(|module| glob(self.0.as_bytes(), module.as_bytes())).then_some(Match::Covered)
    }
}

/// An index of patterns, which tests a path against all of them at once.
///
/// Patterns without wildcards are looked up, so the time for each path does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct PatternIndex<'a> {
    plain: HashMap<&'a str, Vec<usize>>,
    wild: Vec<(usize, &'a Pattern)>,
}

impl<'a> PatternIndex<'a> {
    /// Creates an index of a list of patterns.
    pub fn new(patterns: impl IntoIterator<Item = &'a Pattern>) -> Self {
        let mut index = Self::default();
        for (place, pattern) in patterns.into_iter().enumerate() {
            if pattern.0.contains(['*', '?']) {
                index.wild.push((place, pattern));
            } else {
                index.plain.entry(pattern.as_str()).or_default().push(place);
            }
        }
        index
    }

    /// Returns the patterns that match the parameter at `path`, by their places in the list, and how each matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> Vec<(usize, Match)> {
        let mut found: Vec<_> = self.wild.iter().filter_map(|(place, p)| Some((*place, p.matches(path)?))).collect();
        if !self.plain.is_empty() {
            let modules = path.match_indices('.').map(|(dot, _)| (&path[..dot], Match::Covered));
            for (text, how) in modules.chain([(path, Match::Named)]) {
                found.extend(self.plain.get(text).into_iter().flatten().map(|&place| (place, how)));
            }
        }
        found.sort_unstable();
        found
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Matches text against a pattern in linear time: only the last star ever needs a second try.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// The parameters that a recipe prunes.
///
/// ```
/// use pruning_core::recipe::Targets;
/// let targets = Targets::new(["encoder"]).with_exclude(["encoder.head"]);
/// assert!(targets.contains("encoder.fc1.weight", true));
/// assert!(!targets.contains("encoder.head.weight", true));
/// // Biases are no weights by default: a pattern has to name them.
/// assert!(!targets.contains("encoder.fc1.bias", false));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Targets {
    /// Patterns of which at least one must match; `["*"]` by default.
    pub include: Vec<Pattern>,
    /// Patterns of which none may match.
    pub exclude: Vec<Pattern>,
    /// Other names of modules and parameters, each with the path that it stands for; no part of a recipe as text.
    #[serde(skip)]
    pub names: Vec<(String, String)>,
}

impl Default for Targets {
    fn default() -> Self {
        Self::new(["*"])
    }
}

impl Targets {
    /// Creates targets from the parameters that one of the patterns matches.
    pub fn new<S: Into<String>>(include: impl IntoIterator<Item = S>) -> Self {
        Self { include: include.into_iter().map(Pattern::new).collect(), exclude: Vec::new(), names: Vec::new() }
    }

    /// Adds other names of modules and parameters, each with the path that it stands for: patterns match either.
    #[must_use]
    pub fn with_names<N: Into<String>, P: Into<String>>(mut self, names: impl IntoIterator<Item = (N, P)>) -> Self {
        self.names.extend(names.into_iter().map(|(name, path)| (name.into(), path.into())));
        self
    }

    /// Returns the other names of the parameter at `path`, each with the index of what gives it in [`names`](Self::names).
    ///
    /// ```
    /// use pruning_core::recipe::Targets;
    /// let targets = Targets::default().with_names([("features.0", "conv1"), ("classifier.3", "fc2")]);
    /// assert_eq!(targets.names_of("conv1.weight").collect::<Vec<_>>(), [(0, "features.0.weight".to_string())]);
    /// assert_eq!(targets.names_of("conv10.weight").count(), 0);
    /// ```
    pub fn names_of(&self, path: &str) -> impl Iterator<Item = (usize, String)> {
        self.names.iter().enumerate().filter_map(move |(place, (name, module))| {
            let rest = path.strip_prefix(module.as_str())?;
            (rest.is_empty() || rest.starts_with('.')).then(|| (place, format!("{name}{rest}")))
        })
    }

    /// Excludes the parameters that one of these patterns matches.
    #[must_use]
    pub fn with_exclude<S: Into<String>>(mut self, exclude: impl IntoIterator<Item = S>) -> Self {
        self.exclude.extend(exclude.into_iter().map(Pattern::new));
        self
    }

    /// Returns whether the parameter at `path` is a target; `by_default` is true for weights that need not be named.
    #[must_use]
    pub fn contains(&self, path: &str, by_default: bool) -> bool {
        let wanted = self.include.iter().filter_map(|p| p.matches(path)).any(|m| by_default || m == Match::Named);
        wanted && self.excluded(path).is_none()
    }

    /// Returns the pattern that excludes the parameter at `path`, if there is one.
    #[must_use]
    pub fn excluded(&self, path: &str) -> Option<&Pattern> {
        self.exclude.iter().find(|p| p.matches(path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_finds_what_each_pattern_matches() {
        let texts = ["*", "a", "a.b", "a.b.weight", "a.?", "*.weight", "b", "a.b.weight", "c*", "", "a.", "weight"];
        let patterns = texts.map(Pattern::new);
        let index = PatternIndex::new(&patterns);
        for path in ["a.b.weight", "a.c.weight", "a", "b.bias", "weight", "a.b.weights", "c.b.a.weight", ""] {
            let each = patterns.iter().enumerate().filter_map(|(place, p)| Some((place, p.matches(path)?)));
            assert_eq!(index.matches(path), each.collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn patterns_match_paths_and_modules() {
        let how = |pattern: &str, path: &str| Pattern::new(pattern).matches(path);
        assert_eq!(how("*", "fc1.bias"), Some(Match::Covered));
        assert_eq!(how("fc1", "fc1.weight"), Some(Match::Covered));
        assert_eq!(how("fc1", "fc10.weight"), None);
        assert_eq!(how("fc1.bias", "fc1.bias"), Some(Match::Named));
        assert_eq!(how("*.bias", "a.b.bias"), Some(Match::Named));
        assert_eq!(how("layers.?.ff", "layers.3.ff.inner.weight"), Some(Match::Covered));
        assert_eq!(how("layers.*.weight", "layers.3.ff.weight"), Some(Match::Named));
        assert_eq!(how("*a*b*c", "xxaxxbxxbxxc"), Some(Match::Covered));
        assert_eq!(how("", "fc1.weight"), None);
    }

    #[test]
    fn biases_are_targets_only_when_named() {
        let targets = |include: &[&str], exclude: &[&str]| {
            Targets::new(include.iter().copied()).with_exclude(exclude.iter().copied())
        };
        assert!(targets(&["*"], &[]).contains("fc1.weight", true));
        assert!(!targets(&["*"], &[]).contains("fc1.bias", false));
        assert!(!targets(&["fc1"], &[]).contains("fc1.bias", false));
        assert!(targets(&["fc1.bias"], &[]).contains("fc1.bias", false));
        assert!(!targets(&["*"], &["fc1"]).contains("fc1.weight", true));
    }
}
