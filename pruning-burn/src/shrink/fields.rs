//! The sizes of a module outside of its parameters, such as the number of groups of a convolution: [`Fields`].

use crate::shrink::ShrinkError;
use pruning_core::graph::FieldChange;

/// The sizes that a module keeps outside of its parameters, each with its new value.
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

    /// Takes the new value of the field at `path`; `None` if it stays or was taken already.
    pub fn take(&mut self, path: &str) -> Option<usize> {
        let at = self.open.iter().position(|f| f.path == path)?;
        Some(self.open.remove(at).value)
    }

    /// Sets the field at `path` to its new value, if it has one.
    pub fn set(&mut self, path: &str, field: &mut usize) {
        if let Some(value) = self.take(path) {
            *field = value;
        }
    }

    /// Returns the fields that were not taken yet.
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
