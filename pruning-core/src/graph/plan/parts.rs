//! The parts of a plan: what parameters, fields and groups keep, and what a model costs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The effect of an operation on axes, for operations without a rule of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Every entry of the result comes from the entries of the operands at the same place.
    Elementwise {
        /// Whether zeros in the operands give zeros in the result.
        keeps_zero: bool,
    },
    /// The operation mixes positions of all axes, so nothing of its operands can be removed.
    Fixed,
}

/// A matrix product or convolution of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Product {
    /// The path of the weight; empty where there is none, as in attention.
    pub weight: String,
    /// The number of multiply-accumulates.
    pub macs: u64,
    /// The number of entries of the result.
    pub outputs: u64,
}

impl Product {
    /// Creates a product with the weight at a path, its multiply-accumulates and the entries of its result.
    pub fn new(weight: impl Into<String>, macs: u64, outputs: u64) -> Self {
        Self { weight: weight.into(), macs, outputs }
    }
}

/// The positions that a parameter keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Cut {
    /// The shape of the parameter before.
    pub shape: Vec<usize>,
    /// Other paths of the same parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The kept positions by axis, ascending; axes that are not here keep all.
    pub keep: BTreeMap<usize, Vec<usize>>,
}

impl Cut {
    /// Creates the cut of a parameter of `shape`, with the positions kept along each axis that is cut.
    pub fn new(shape: impl Into<Vec<usize>>, keep: BTreeMap<usize, Vec<usize>>) -> Self {
        Self { shape: shape.into(), aliases: Vec::new(), keep }
    }

    /// Sets other paths of the same parameter.
    #[must_use]
    pub fn with_aliases(self, aliases: Vec<String>) -> Self {
        Self { aliases, ..self }
    }
}

/// A change of a size that is not a parameter, such as the number of groups of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FieldChange {
    /// The path of the field.
    pub path: String,
    /// The new value of the field.
    pub value: usize,
}

impl FieldChange {
    /// Creates the change of the field at `path` to a value.
    pub fn new(path: impl Into<String>, value: usize) -> Self {
        Self { path: path.into(), value }
    }
}

/// A group of channels that belong together, with the number kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupCut {
    /// The path of the first weight whose outputs they are.
    pub path: String,
    /// The axes on which the channels lie, as text.
    pub axes: Vec<String>,
    /// The number of units.
    pub units: usize,
    /// The number of kept units.
    pub kept: usize,
    /// The number of channels of one unit along the axis of `path`.
    pub size: usize,
}

impl GroupCut {
    /// Creates a group of `units` units, `kept` of which stay, with the path that names it and the axes on which it lies.
    ///
    /// A unit is one channel along the axis of `path`.
    pub fn new(path: impl Into<String>, axes: Vec<String>, units: usize, kept: usize) -> Self {
        Self { path: path.into(), axes, units, kept, size: 1 }
    }

    /// Sets the number of channels of one unit along the axis of `path`.
    #[must_use]
    pub fn with_size(self, size: usize) -> Self {
        Self { size, ..self }
    }
}

/// The cost of a model in parameters and multiply-accumulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Totals {
    /// The number of float parameters, each counted once, without running statistics.
    pub parameters: u64,
    /// The multiply-accumulates for the traced inputs.
    pub macs: u64,
}

impl Totals {
    /// Creates totals from a number of parameters and of multiply-accumulates.
    #[must_use]
    pub fn new(parameters: u64, macs: u64) -> Self {
        Self { parameters, macs }
    }

    /// Returns the multiply-accumulates of one sample of a batch; `None` where the batch does not divide them, since not all of them
    /// belong to samples.
    #[must_use]
    pub fn macs_of_one(&self, batch: u64) -> Option<u64> {
        self.macs.checked_rem(batch).filter(|rest| *rest == 0).map(|_| self.macs / batch)
    }
}
