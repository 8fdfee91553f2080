//! What is removed from which axis of which parameter, as data: [`ShrinkPlan`].

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the form in which plans are stored.
const VERSION: u32 = 1;

/// A plan to remove channels for good: for each parameter the positions kept along each axis.
///
/// It is data: it can be printed, stored as JSON, and applied to any model of the same shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShrinkPlan {
    version: u32,
    /// Parameters that lose something, by their first path.
    pub parameters: BTreeMap<String, Cut>,
    /// Sizes that the module keeps outside of its parameters.
    pub fields: Vec<FieldChange>,
    /// The groups of channels, and how many of each are kept.
    pub groups: Vec<GroupCut>,
    /// Cost of the model as it is.
    pub before: Totals,
    /// Cost of what is left.
    pub after: Totals,
    /// Products of what is left, in the order of the forward pass, by which a later trace knows the plan again.
    pub products: Vec<Product>,
    /// Samples in the batch that was traced: the leading dimension of all inputs, where they agree.
    #[serde(default)]
    pub batch: Option<u64>,
    /// Rules of the user that the channels were followed by, by the name of the operation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Rule>,
}

/// What an operation does to axes, for operations that have no rule of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Every entry of the result comes from the entries of the operands at the same place.
    Elementwise {
        /// Whether zeros in, zeros out.
        keeps_zero: bool,
    },
    /// It mixes positions of all axes, so nothing of its operands can be removed.
    Fixed,
}

/// A matrix product or convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Path of the weight; empty where there is none, as in attention.
    pub weight: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Entries of the result.
    pub outputs: u64,
}

/// What a parameter keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Its shape before.
    pub shape: Vec<usize>,
    /// Other paths of the same parameter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Kept positions by axis, ascending; axes that are not here keep all.
    pub keep: BTreeMap<usize, Vec<usize>>,
}

/// A size that is no parameter, such as the number of groups of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Path of the field.
    pub path: String,
    /// What it must become.
    pub value: usize,
}

/// Channels that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCut {
    /// The first weight whose outputs they are.
    pub path: String,
    /// The axes they lie on, readable.
    pub axes: Vec<String>,
    /// Units in all.
    pub units: usize,
    /// Units kept.
    pub kept: usize,
    /// Channels of one unit along the axis of `path`.
    pub size: usize,
}

/// What a model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Float parameters, each once, without running statistics.
    pub parameters: u64,
    /// Multiply-accumulates for the inputs that were traced.
    pub macs: u64,
}

impl Totals {
    /// Multiply-accumulates of one sample of a batch of so many; `None` where they do not divide, since not all of them belong to samples.
    #[must_use]
    pub fn macs_of_one(&self, batch: u64) -> Option<u64> {
        self.macs.checked_rem(batch).filter(|rest| *rest == 0).map(|_| self.macs / batch)
    }
}

/// A plan that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is no plan, or of another version.
    #[error("the plan cannot be read: {reason}")]
    Form {
        /// Why.
        reason: String,
    },
    /// An axis that the parameter does not have.
    #[error("{path}: the plan cuts axis {axis} of a parameter of {rank} axes")]
    Axis {
        /// The parameter.
        path: String,
        /// The axis.
        axis: usize,
        /// How many there are.
        rank: usize,
    },
    /// No parameter has so many elements.
    #[error("{path}: the plan is for a parameter of shape {shape:?}, which has more elements than can be counted")]
    TooLarge {
        /// The parameter.
        path: String,
        /// Its shape in the plan.
        shape: Vec<usize>,
    },
    /// A position past the end.
    #[error("{path}: the plan keeps position {position} of axis {axis}, which has {size}")]
    Range {
        /// The parameter.
        path: String,
        /// The axis.
        axis: usize,
        /// The position.
        position: usize,
        /// Positions of the axis.
        size: usize,
    },
    /// Positions twice, or not in order.
    #[error("{path}: the positions kept of axis {axis} are not ascending")]
    Order {
        /// The parameter.
        path: String,
        /// The axis.
        axis: usize,
    },
    /// Nothing is kept.
    #[error("{path}: the plan keeps nothing of axis {axis}")]
    Empty {
        /// The parameter.
        path: String,
        /// The axis.
        axis: usize,
    },
}

impl ShrinkPlan {
    /// A plan of these parts.
    ///
    /// # Errors
    /// A cut that does not fit its own shape.
    pub fn new(
        parameters: BTreeMap<String, Cut>,
        fields: Vec<FieldChange>,
        groups: Vec<GroupCut>,
        before: Totals,
        after: Totals,
        products: Vec<Product>,
    ) -> Result<Self, PlanError> {
        let (batch, rules) = (None, BTreeMap::new());
        let plan = Self { version: VERSION, parameters, fields, groups, before, after, products, batch, rules };
        plan.check()?;
        Ok(plan)
    }

    /// The same plan, whose costs are those of a batch of so many samples, if that is known.
    #[must_use]
    pub fn with_batch(self, batch: Option<u64>) -> Self {
        Self { batch, ..self }
    }

    /// Whether nothing is removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A cut that does not fit its own shape.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.version != VERSION {
            let reason = format!("its version is {}, and this library reads {VERSION}", self.version);
            return Err(PlanError::Form { reason });
        }
        for (path, cut) in &self.parameters {
            if cut.shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).is_none() {
                return Err(PlanError::TooLarge { path: path.clone(), shape: cut.shape.clone() });
            }
            for (&axis, keep) in &cut.keep {
                let path = || path.clone();
                let size = *cut.shape.get(axis).ok_or(PlanError::Axis { path: path(), axis, rank: cut.shape.len() })?;
                if keep.is_empty() {
                    return Err(PlanError::Empty { path: path(), axis });
                }
                if let Some(&position) = keep.iter().find(|&&p| p >= size) {
                    return Err(PlanError::Range { path: path(), axis, position, size });
                }
                if keep.windows(2).any(|w| w[0] >= w[1]) {
                    return Err(PlanError::Order { path: path(), axis });
                }
            }
        }
        Ok(())
    }

    /// The plan as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A plan from JSON.
    ///
    /// # Errors
    /// It is no plan, or one that does not fit its own shapes.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text).map_err(|error| PlanError::Form { reason: error.to_string() })?;
        plan.check()?;
        Ok(plan)
    }

    /// Shape of a parameter after the cut; `None` for one that loses nothing.
    #[must_use]
    pub fn shape_after(&self, path: &str) -> Option<Vec<usize>> {
        let cut = self.parameters.get(path)?;
        let sizes = cut.shape.iter().enumerate();
        Some(sizes.map(|(axis, &size)| cut.keep.get(&axis).map_or(size, Vec::len)).collect())
    }
}

impl fmt::Display for ShrinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["channels of", "go with", "units", "kept"]);
        for g in &self.groups {
            let size = if g.size > 1 { format!("{} x {}", g.units, g.size) } else { g.units.to_string() };
            table.add_row([g.path.clone(), g.axes.join("\n"), size, g.kept.to_string()]);
        }
        for column in 2..4 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "{table}")?;
        for field in &self.fields {
            writeln!(f, "{} becomes {}", field.path, field.value)?;
        }
        let ratio = |a: u64, b: u64| 100.0 * a as f64 / b.max(1) as f64;
        let (b, a) = (self.before, self.after);
        write!(
            f,
            "parameters {} -> {} ({:.1} %), MACs {} -> {} ({:.1} %)",
            b.parameters,
            a.parameters,
            ratio(a.parameters, b.parameters),
            b.macs,
            a.macs,
            ratio(a.macs, b.macs),
        )?;
        let of_one = |batch: u64| Some((batch, b.macs_of_one(batch)?, a.macs_of_one(batch)?));
        match self.batch.filter(|&batch| batch > 1).and_then(of_one) {
            Some((batch, before, after)) => write!(f, "; of one of the {batch} samples {before} -> {after}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(keep: &[usize]) -> Result<ShrinkPlan, PlanError> {
        let cut = Cut { shape: vec![4, 3], aliases: Vec::new(), keep: [(0, keep.to_vec())].into() };
        let totals = Totals::default();
        ShrinkPlan::new([("fc.weight".to_string(), cut)].into(), Vec::new(), Vec::new(), totals, totals, Vec::new())
    }

    #[test]
    fn plans_survive_json_and_bad_ones_are_named() {
        let good = plan(&[0, 2]).unwrap();
        assert_eq!(ShrinkPlan::from_json(&good.to_json()).unwrap(), good);
        assert_eq!(good.shape_after("fc.weight"), Some(vec![2, 3]));
        let says = |keep: &[usize]| plan(keep).unwrap_err().to_string();
        assert_eq!(says(&[0, 4]), "fc.weight: the plan keeps position 4 of axis 0, which has 4");
        assert_eq!(says(&[2, 1]), "fc.weight: the positions kept of axis 0 are not ascending");
        assert_eq!(says(&[]), "fc.weight: the plan keeps nothing of axis 0");
        let endless = good.to_json().replace("[4,3]", "[4,18446744073709551615]");
        assert!(matches!(ShrinkPlan::from_json(&endless), Err(PlanError::TooLarge { .. })), "{endless}");
        let other = good.to_json().replace("\"version\":1", "\"version\":9");
        assert!(ShrinkPlan::from_json(&other).unwrap_err().to_string().contains("version is 9"));
        // A plan of before batches were known.
        let old = good.to_json().replace(",\"batch\":null", "");
        assert_eq!(ShrinkPlan::from_json(&old).unwrap(), good);
        assert!(matches!(ShrinkPlan::from_json("{}"), Err(PlanError::Form { .. })));
    }
}
