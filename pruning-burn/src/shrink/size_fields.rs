//! The fields of a user's structs that may hold a changing size: [`size_fields`].

use burn::module::Module;
use pruning_core::graph::ShrinkPlan;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// A field whose value equals a size that a plan changes, by design or by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeField {
    /// The path of the field.
    pub path: String,
    /// The current value of the field.
    pub value: usize,
    /// The new value of the size.
    pub becomes: usize,
}

impl fmt::Display for SizeField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, as was a size that becomes {}", self.path, self.value, self.becomes)
    }
}

/// Lists the fields of a model that may hold a size which the plan changes.
///
/// These are the numbers in the structs around each cut parameter that equal its old size, or a number of heads, groups or
/// channels that changes with it. They come from the module's `Debug`, which shows private fields as well. A field that equals a
/// size by chance is listed too, so these are candidates, unlike [`ShrinkPlan::fields`], which must be set.
///
/// ```
/// use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use pruning_burn::shrink::{Shrinker, size_fields};
/// use pruning_burn::trace::{Scope, Trace};
/// use pruning_burn::plugin::Plugins;
/// use pruning_burn::Pruner;
/// # use {pruning_allocation as _, pruning_magnitude as _};
///
/// #[derive(Module, Debug)]
/// struct Mlp { fc1: Linear, fc2: Linear, hidden: usize }
///
/// let device = Device::flex();
/// let (fc1, fc2) = (LinearConfig::new(8, 16).init(&device), LinearConfig::new(16, 4).init(&device));
/// let model = Mlp { fc1, fc2, hidden: 16 };
/// let x = Tensor::<2>::ones([1, 8], &device);
/// let trace = Trace::record(&model, |model: &Mlp, scope: &mut Scope| {
///     let x = model.fc1.forward(scope.input(&x)) / (model.hidden as f32).sqrt();
///     scope.output(model.fc2.forward(x));
/// })?;
/// let recipe = "criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5";
/// let plan = Shrinker::new(&Pruner::from_toml(recipe, &Plugins::linked())?).plan(&model, &trace, None)?;
/// let fields = size_fields(&model, &plan);
/// assert_eq!(fields[0].to_string(), "hidden is 16, as was a size that becomes 8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn size_fields<M: Module>(model: &M, plan: &ShrinkPlan) -> Vec<SizeField> {
    let mut numbers = Numbers::default();
    // Writing never fails; if the model's own `Debug` does, the numbers so far count.
    let _ = write!(numbers, "{model:?}");
    let sizes = sizes(plan);
    let mut found = BTreeMap::new();
    for (path, value) in numbers.found.into_iter().filter(|(path, _)| plan.fields.iter().all(|f| f.path != *path)) {
        let inside = path.rsplit_once('.').map_or("", |(owner, _)| owner);
        let around =
            |param: &str| inside.is_empty() || param.strip_prefix(inside).is_some_and(|rest| rest.starts_with('.'));
        let changes = sizes.iter().filter(|size| size.paths().any(&around));
        if let Some(becomes) = changes.filter_map(|size| size.becomes(value)).next() {
            found.insert(path.clone(), SizeField { path, value, becomes });
        }
    }
    found.into_values().collect()
}

/// A cut axis, in units that are removed together.
struct Size<'a> {
    param: &'a str,
    aliases: &'a [String],
    old: usize,
    units: usize,
    kept: usize,
}

impl Size<'_> {
    fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.param).chain(self.aliases.iter().map(String::as_str))
    }

    /// Returns the new value of a number that is the size of the axis or the count of its units, such as heads.
    ///
    /// The number may count several to a unit, such as heads that share one.
    fn becomes(&self, value: usize) -> Option<usize> {
        let counts = value > 0 && value.is_multiple_of(self.units) && self.old.is_multiple_of(value);
        counts.then(|| value / self.units * self.kept)
    }
}

fn sizes(plan: &ShrinkPlan) -> Vec<Size<'_>> {
    let mut sizes = Vec::new();
    for (param, cut) in &plan.parameters {
        for (&axis, keep) in &cut.keep {
            let Some(&old) = cut.shape.get(axis) else { continue };
            let name = format!("{param}[{axis}]");
            let mut groups = plan.groups.iter().filter(|g| g.axes.iter().any(|a| a.split(' ').next() == Some(&name)));
            let (units, kept) = match (groups.next(), groups.next()) {
                (Some(group), None) if group.units > 0 && old.is_multiple_of(group.units) => (group.units, group.kept),
                // Several groups follow each other on the axis.
                _ => (old.max(1), keep.len()),
            };
            sizes.push(Size { param, aliases: &cut.aliases, old, units, kept });
        }
    }
    sizes
}

/// Finds whole numbers in the output of `Debug`, with the paths of their fields, without storing the text.
#[derive(Default)]
struct Numbers {
    found: Vec<(String, usize)>,
    frames: Vec<Frame>,
    text: String,
    /// Within quotes, whether the next character is escaped.
    quoted: Option<bool>,
}

/// An open struct, list or tuple.
struct Frame {
    /// Its field or index in the frame around it; `None` if it has no name of its own, as in `Some(..)`.
    at: Option<String>,
    is_list: bool,
    /// The current field.
    field: Option<String>,
    index: usize,
}

impl Numbers {
    fn path(&self, last: &str) -> String {
        let outer = self.frames.iter().filter_map(|f| f.at.as_deref());
        outer.chain([last]).collect::<Vec<_>>().join(".")
    }

    fn open(&mut self, bracket: char) {
        let name = std::mem::take(&mut self.text);
        let at = self.frames.last_mut().and_then(|f| match f.is_list {
            true => Some(f.index.to_string()),
            false => f.field.take(),
        });
        let is_list = bracket == '[' || (bracket == '(' && name.trim().is_empty());
        self.frames.push(Frame { at, is_list, field: None, index: 0 });
    }

    fn value(&mut self) {
        let text = std::mem::take(&mut self.text);
        let Some(frame) = self.frames.last_mut() else { return };
        frame.index += 1;
        let field = frame.field.take();
        // Numbers in lists are strides and kernels, not named sizes.
        if let (Some(field), Ok(value)) = (field, text.trim().parse()) {
            let path = self.path(&field);
            self.found.push((path, value));
        }
    }

    fn take(&mut self, c: char) {
        if let Some(escaped) = self.quoted {
            self.quoted = if escaped || c != '"' { Some(!escaped && c == '\\') } else { None };
            return;
        }
        match c {
            '"' => self.quoted = Some(false),
            '{' | '[' | '(' => self.open(c),
            '}' | ']' | ')' => {
                self.value();
                self.frames.pop();
            }
            ',' => self.value(),
            ':' => match self.frames.last_mut() {
                Some(frame) if !frame.is_list && frame.field.is_none() => {
                    frame.field = Some(std::mem::take(&mut self.text).trim().to_string());
                }
                _ => self.text.push(c),
            },
            // A longer text is neither a name nor a number.
            c if self.text.len() < 256 => self.text.push(c),
            _ => {}
        }
    }
}

impl Write for Numbers {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().for_each(|c| self.take(c));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_are() {
        let mut numbers = Numbers::default();
        let text = r#"Net { name: "a, { b: 3 \"", layers: [Layer { heads: 4, stride: [2, 2], scale: 0.5 }, Layer { heads: 8, next: Some(Inner { size: 16 }) }], weight: Param: 12 - ParamMapper { load: false }, pair: (Inner { size: 5 }, 6), width: 32 }"#;
        numbers.write_str(text).unwrap();
        let found: Vec<_> = numbers.found.iter().map(|(path, value)| (path.as_str(), *value)).collect();
        let expected = [
            ("layers.0.heads", 4),
            ("layers.1.heads", 8),
            ("layers.1.next.size", 16),
            ("pair.0.size", 5),
            ("width", 32),
        ];
        assert_eq!(found, expected);
    }
}
