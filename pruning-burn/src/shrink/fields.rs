//! Sizes that are no parameters, such as the number of groups of a convolution: [`Fields`].

use crate::shrink::ShrinkError;
use pruning_core::graph::FieldChange;

/// The sizes that a module keeps outside of its parameters, and what they must become.
///
/// A visitor cannot reach such fields, so the function given to [`apply`](super::apply()) sets them:
///
/// ```
/// # use burn::nn::conv::Conv2d;
/// # use pruning_burn::shrink::Fields;
/// # struct Net { depthwise: Conv2d }
/// let set = |net: &mut Net, fields: &mut Fields| fields.set("depthwise.groups", &mut net.depthwise.groups);
/// ```
#[derive(Clone, Debug)]
pub struct Fields {
    open: Vec<FieldChange>,
}

impl Fields {
    pub(crate) fn new(fields: &[FieldChange]) -> Self {
        Self { open: fields.to_vec() }
    }

    /// What the field at `path` must become, once; `None` if it stays.
    pub fn take(&mut self, path: &str) -> Option<usize> {
        let at = self.open.iter().position(|f| f.path == path)?;
        Some(self.open.remove(at).value)
    }

    /// Sets a field, if it changes.
    pub fn set(&mut self, path: &str, field: &mut usize) {
        if let Some(value) = self.take(path) {
            *field = value;
        }
    }

    /// Those that no one has taken.
    #[must_use]
    pub fn open(&self) -> &[FieldChange] {
        &self.open
    }

    pub(crate) fn all_set(&self) -> Result<(), ShrinkError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let fields = self.open.iter().map(|f| format!("{} = {}", f.path, f.value)).collect();
        Err(ShrinkError::MissingSetter { fields })
    }
}
