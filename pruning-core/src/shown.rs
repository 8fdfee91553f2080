//! Foreign text in error messages: short enough to read, and never empty.
//!
//! Names, values and lists come from recipes, plugins and models, and may have any length. Every error prints them through these
//! functions.

use std::fmt::{Debug, Display};

const NAME: usize = 100;
const LIST: usize = 40;
const TEXT: (usize, usize) = (1500, 500);

/// Formats a name in quotes: a long name is cut, and an empty one becomes `(empty)`.
///
/// ```
/// use pruning_core::shown;
/// assert_eq!(shown::name("fc1"), "\"fc1\"");
/// assert_eq!(shown::name(""), "(empty)");
/// assert!(shown::name(&"x".repeat(5_000_000)).len() < 200);
/// ```
#[must_use]
pub fn name(name: impl AsRef<str>) -> String {
    let name = name.as_ref();
    match name.char_indices().nth(NAME) {
        _ if name.is_empty() => "(empty)".to_string(),
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &name[..end], name.len()),
    }
}

/// Formats a list of names without quotes: the first names, and the number of those left out.
///
/// ```
/// use pruning_core::shown;
/// assert_eq!(shown::list(["fc1.weight", "fc1.bias"]), "fc1.weight, fc1.bias");
/// assert_eq!(shown::list::<&str>([]), "none");
/// assert!(shown::list(vec!["fc.weight"; 1000]).ends_with(", and 960 more"));
/// ```
#[must_use]
pub fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let mut names = names.into_iter();
    let bare = |shown: String| match shown.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(bare) => bare.to_string(),
        None => shown,
    };
    let first: Vec<_> = names.by_ref().take(LIST).map(|each| bare(name(each))).collect();
    match (first.is_empty(), names.count()) {
        (true, _) => "none".to_string(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{}, and {more} more", first.join(", ")),
    }
}

/// Formats a message or value: a long one loses its middle, since the end says what is wrong.
///
/// ```
/// use pruning_core::shown;
/// assert_eq!(shown::text("expected a number"), "expected a number");
/// assert!(shown::text("x".repeat(5_000_000)).len() < 5_000);
/// ```
#[must_use]
pub fn text(text: impl Display) -> String {
    let text = text.to_string();
    let (head, tail) = TEXT;
    let (Some((start, _)), Some((end, _))) = (text.char_indices().nth(head), text.char_indices().nth_back(tail - 1))
    else {
        return text;
    };
    if start >= end {
        return text;
    }
    format!("{}... ({} bytes left out) ...{}", &text[..start], end - start, &text[end..])
}

/// Formats a value by its `Debug`, cut as [`text`] cuts.
#[must_use]
pub fn debug(value: impl Debug) -> String {
    text(format_args!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_its_ends_and_no_character_is_cut() {
        let long = format!("first {} last", "\u{e4}".repeat(100_000));
        let shown = text(&long);
        assert!(shown.len() < 5000 && shown.starts_with("first") && shown.ends_with("last"), "{shown}");
        assert!(shown.contains("bytes left out"));
        assert_eq!(text("short"), "short");
        let fits = "\u{e4}".repeat(2000);
        assert_eq!(text(&fits), fits);
        assert!(name("\u{e4}".repeat(101)).ends_with("... (202 bytes)"));
    }
}
