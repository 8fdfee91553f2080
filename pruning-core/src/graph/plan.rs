//! A plan of removal as data: [`ShrinkPlan`].

pub use parts::{Cut, FieldChange, GroupCut, Product, Rule, Totals};

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

mod parts;

/// The version of the form in which plans are stored.
const VERSION: u32 = 1;

/// A plan to remove channels physically: for each parameter, the positions kept along each axis.
///
/// The plan is data: it can be printed, stored as JSON, and applied to any model of the same shapes.
///
/// ```
/// use pruning_core::graph::{Cut, ShrinkPlan, Totals};
/// use std::collections::BTreeMap;
/// // Two of three output units stay: the rows 0 and 2 of the first weight, [3, 2].
/// let cut = Cut::new([3, 2], BTreeMap::from([(0, vec![0, 2])]));
/// let parameters = BTreeMap::from([("fc1.weight".to_string(), cut)]);
/// let (before, after) = (Totals::new(6, 6), Totals::new(4, 4));
/// let plan = ShrinkPlan::new(parameters, vec![], vec![], before, after, vec![])?;
/// assert_eq!(plan.shape_after("fc1.weight"), Some(vec![2, 2]));
/// assert_eq!(ShrinkPlan::from_json(&plan.to_json())?, plan);
/// # Ok::<(), pruning_core::graph::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShrinkPlan {
    version: u32,
    /// The parameters that lose something, by their first path.
    pub parameters: BTreeMap<String, Cut>,
    /// The sizes that the module keeps outside of its parameters.
    pub fields: Vec<FieldChange>,
    /// The groups of channels, with the number kept of each.
    pub groups: Vec<GroupCut>,
    /// The cost of the model as it is.
    pub before: Totals,
    /// The cost of the model that is left.
    pub after: Totals,
    /// The products of the model that is left, in the order of the forward pass, by which a later trace recognizes the plan.
    pub products: Vec<Product>,
    /// The number of samples in the traced batch: the leading dimension of all inputs, where they agree.
    #[serde(default)]
    pub batch: Option<u64>,
    /// The user's rules by which channels were followed, by the name of the operation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Rule>,
}

/// An error for a plan that is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The text is not a plan, or a plan of another version.
    #[error("the plan cannot be read: {reason}")]
    Form {
        /// The reason why it cannot be read.
        reason: String,
    },
    /// The parameter does not have the axis.
    #[error("{path}: the plan cuts axis {axis} of a parameter of {rank} axes")]
    Axis {
        /// The path of the parameter.
        path: String,
        /// The axis.
        axis: usize,
        /// The number of axes of the parameter.
        rank: usize,
    },
    /// The shape has more elements than can be counted.
    #[error("{path}: the plan is for a parameter of shape {shape:?}, which has more elements than can be counted")]
    TooLarge {
        /// The path of the parameter.
        path: String,
        /// The shape of the parameter in the plan.
        shape: Vec<usize>,
    },
    /// A kept position is past the end of the axis.
    #[error("{path}: the plan keeps position {position} of axis {axis}, which has {size}")]
    Range {
        /// The path of the parameter.
        path: String,
        /// The axis.
        axis: usize,
        /// The position.
        position: usize,
        /// The number of positions of the axis.
        size: usize,
    },
    /// Kept positions are repeated or not in order.
    #[error("{path}: the positions kept of axis {axis} are not ascending")]
    Order {
        /// The path of the parameter.
        path: String,
        /// The axis.
        axis: usize,
    },
    /// The plan keeps no position of an axis.
    #[error("{path}: the plan keeps nothing of axis {axis}")]
    Empty {
        /// The path of the parameter.
        path: String,
        /// The axis.
        axis: usize,
    },
}

impl ShrinkPlan {
    /// Creates a plan from its parts.
    ///
    /// # Errors
    /// A cut does not fit its own shape.
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

    /// Sets the number of samples in the batch whose costs the plan has, if it is known.
    #[must_use]
    pub fn with_batch(self, batch: Option<u64>) -> Self {
        Self { batch, ..self }
    }

    /// Returns whether nothing is removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Checks what the types do not ensure.
    ///
    /// # Errors
    /// A cut does not fit its own shape, or the plan has another version.
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

    /// Returns the plan as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a plan from JSON.
    ///
    /// # Errors
    /// The text is not a plan, or the plan does not fit its own shapes.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text).map_err(|error| PlanError::Form { reason: error.to_string() })?;
        plan.check()?;
        Ok(plan)
    }

    /// Returns the shape of a parameter after the cut; `None` for a parameter that loses nothing.
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
