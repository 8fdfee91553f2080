//! Groups of layers that a configuration names by patterns.

use pruning_core::budget::{AllocationError, LayerUnits};
use pruning_core::recipe::Pattern;

/// Returns the group of each layer: the first pattern that matches it; `None` where none does.
///
/// # Errors
/// A pattern is the first for no layer.
pub(crate) fn of(by: &[Pattern], layers: &[LayerUnits<'_>]) -> Result<Vec<Option<usize>>, AllocationError> {
    let groups: Vec<_> = layers.iter().map(|l| by.iter().position(|p| p.matches(l.path).is_some())).collect();
    match by.iter().enumerate().find(|(group, _)| !groups.contains(&Some(*group))) {
        None => Ok(groups),
        Some((_, pattern)) => {
            let paths = layers.iter().map(|l| l.path.to_string()).collect();
            Err(AllocationError::Unmatched { pattern: pattern.to_string(), paths })
        }
    }
}
