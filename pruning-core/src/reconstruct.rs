//! New values for the weights that stay: the [`Reconstruction`] plugin and its contract.
//!
//! A pruning removes weights, and what the layer puts out changes. A reconstruction gives the weights that stay new values, so that the
//! output changes as little as possible on the inputs of a calibration. It works on one layer at a time, on the host, in `f64`: from the
//! weights before the pruning, the mask, and the Gram matrix of the inputs. [`output_error`] measures what is left of the difference.

mod error;
mod gram;
mod problem;

pub use error::ReconstructionError;
pub use gram::{dead_columns, output_error, output_power};
pub use problem::LayerProblem;

use crate::caught::{caught, printed};
use crate::mask::Bits;
use crate::plugin::PluginKind;
use std::fmt::Debug;

/// A plugin that gives the weights that stay new values: see [`register_reconstruction`](crate::register_reconstruction).
///
/// Its contract, which [`reconstruct()`] checks: it returns as many finite weights as it was given, exact zeros where the mask removes, and
/// biases only if it [`corrects_bias`](Self::corrects_bias) and was given some. A reconstruction that [`chooses`](Self::chooses) returns
/// its own mask, which keeps as many weights as the given one. The conformance kit also checks that outputs come nearer to what they were
/// than with the mask alone, that a mask which removes nothing changes nothing, and that the scale of the inputs does not matter.
pub trait Reconstruction: Debug + Send + Sync {
    /// Returns whether it chooses itself which weights stay. Then it keeps as many as the given mask, or as its N:M pattern says.
    fn chooses(&self) -> bool {
        false
    }

    /// Returns whether it reads the means of the inputs and changes the biases.
    fn corrects_bias(&self) -> bool {
        false
    }

    /// Returns the new weights of a layer.
    ///
    /// # Errors
    /// The layer does not suit it, or its equations have no unique solution.
    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError>;
}

impl PluginKind for dyn Reconstruction {
    const KIND: &'static str = "reconstruction";

    fn declare(&self) {
        let _ = (self.chooses(), self.corrects_bias());
    }
}

/// The new values of a layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reconstructed {
    /// The weights `[rows, cols]`, row by row, zero where they are removed.
    pub weight: Vec<f64>,
    /// The biases `[rows]`; `None` leaves them as they are.
    pub bias: Option<Vec<f64>>,
    /// The mask `[rows, cols]` of a reconstruction that chooses, and of no other.
    pub keep: Option<Bits>,
}

impl Reconstructed {
    /// Creates new weights `[rows, cols]` for the given mask, with unchanged biases.
    #[must_use]
    pub fn new(weight: Vec<f64>) -> Self {
        Self { weight, bias: None, keep: None }
    }

    /// Sets the biases `[rows]`.
    #[must_use]
    pub fn with_bias(mut self, bias: Vec<f64>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Sets the mask `[rows, cols]` that the reconstruction chose.
    #[must_use]
    pub fn with_keep(mut self, keep: Bits) -> Self {
        self.keep = Some(keep);
        self
    }
}

/// Runs a reconstruction on a layer and checks its contract.
///
/// ```
/// use pruning_core::mask::Bits;
/// use pruning_core::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError, reconstruct};
///
/// /// The removed weight of two equal inputs moves to the other one.
/// #[derive(Debug)]
/// struct Twins;
///
/// impl Reconstruction for Twins {
///     fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
///         let new = |i: usize| if layer.keep.get(i) { layer.weight[i] + layer.weight[i ^ 1] } else { 0.0 };
///         Ok(Reconstructed::new((0..layer.weight.len()).map(new).collect()))
///     }
/// }
///
/// let keep = Bits::from_bools(&[true, false]);
/// let layer = LayerProblem::new("fc.weight", 1, 2, &[0.5, 0.25], &keep, &[1.0, 1.0, 1.0, 1.0]);
/// assert_eq!(reconstruct(&Twins, &layer)?.weight, [0.75, 0.0]);
/// # Ok::<(), ReconstructionError>(())
/// ```
///
/// # Errors
/// The layer's lengths or numbers are wrong, the reconstruction fails or panics, or it broke its contract.
pub fn reconstruct(
    reconstruction: &dyn Reconstruction,
    layer: &LayerProblem<'_>,
) -> Result<Reconstructed, ReconstructionError> {
    layer.check()?;
    let path = || layer.path.to_string();
    // A plugin of somebody else's: its panic is an error like any other.
    let panicked =
        |message| ReconstructionError::Panicked { path: path(), reconstruction: printed(reconstruction), message };
    let declared = caught(|| (reconstruction.chooses(), reconstruction.corrects_bias())).map_err(panicked)?;
    let new = caught(|| reconstruction.reconstruct(layer)).map_err(panicked)??;
    match broken(layer, &new, declared) {
        None => Ok(new),
        Some(problem) => {
            Err(ReconstructionError::Contract { path: path(), reconstruction: printed(reconstruction), problem })
        }
    }
}

/// Says how new values break the contract.
fn broken(layer: &LayerProblem<'_>, new: &Reconstructed, (chooses, corrects_bias): (bool, bool)) -> Option<String> {
    let (rows, cols) = (layer.rows, layer.cols);
    let len = rows * cols;
    if new.weight.len() != len {
        return Some(format!("{} weights instead of {rows} x {cols}", new.weight.len()));
    }
    let at = |i: usize| format!("at row {}, column {}", i / cols, i % cols);
    if let Some(i) = new.weight.iter().position(|w| !w.is_finite()) {
        return Some(format!("the weight {} {}", new.weight[i], at(i)));
    }
    let keep = match (&new.keep, chooses) {
        (None, false) => layer.keep,
        (Some(keep), true) if keep.len() == len => keep,
        (Some(keep), true) => return Some(format!("a mask of {} for {rows} x {cols} weights", keep.len())),
        (None, true) => return Some("it chooses, but returned no mask".to_string()),
        (Some(_), false) => return Some("it returned a mask, but does not say that it chooses".to_string()),
    };
    if let Some(i) = (0..len).find(|&i| !keep.get(i) && new.weight[i] != 0.0) {
        return Some(format!("the removed weight {} is {}", at(i), new.weight[i]));
    }
    if let Some(i) = layer.alive.and_then(|alive| (0..len).find(|&i| keep.get(i) && !alive.get(i))) {
        return Some(format!("it keeps a weight that was pruned before, {}", at(i)));
    }
    let bias = match (&new.bias, layer.bias) {
        (None, _) => None,
        (Some(_), None) => Some("biases for a layer that has none".to_string()),
        (Some(_), Some(_)) if !corrects_bias => {
            Some("it returned biases, but does not say that it corrects them".to_string())
        }
        (Some(new), Some(_)) if new.len() != rows => Some(format!("{} biases for {rows} rows", new.len())),
        (Some(new), Some(_)) => new.iter().find(|b| !b.is_finite()).map(|b| format!("the bias {b}")),
    };
    bias.or_else(|| if chooses { miscounted(layer, keep) } else { None })
}

/// Says where a chosen mask keeps more or fewer weights than it must.
fn miscounted(layer: &LayerProblem<'_>, keep: &Bits) -> Option<String> {
    let Some((n, m)) = layer.pattern else {
        let (kept, asked) = (keep.count_ones(), layer.keep.count_ones());
        return (kept != asked).then(|| format!("it keeps {kept} weights instead of {asked}"));
    };
    // `m` divides the columns, so no group goes over the end of a row.
    (0..keep.len()).step_by(m).find_map(|start| {
        let kept = (start..start + m).filter(|&i| keep.get(i)).count();
        let asked = layer.alive.map_or(m, |alive| (start..start + m).filter(|&i| alive.get(i)).count()).min(n);
        let place = (start / layer.cols, start % layer.cols);
        (kept != asked).then(|| {
            format!("it keeps {kept} of {m} weights from row {}, column {} on, instead of {asked}", place.0, place.1)
        })
    })
}

/// Registers a [`Reconstruction`](crate::reconstruct::Reconstruction): write `register_reconstruction!(MyReconstruction);` beside its
/// definition.
#[macro_export]
macro_rules! register_reconstruction {
    ($plugin:ty) => {
        $crate::register_plugin!($plugin, dyn $crate::reconstruct::Reconstruction);
    };
}

#[cfg(test)]
mod tests;
